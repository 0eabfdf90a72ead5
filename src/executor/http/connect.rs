//! Connections of the HTTP client: names, addresses that the egress policy allows, TLS.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use tower::Service;

use super::egress::{EgressDenied, EgressPolicy};
use super::names::{self, Names};

/// The longest time to connect, TLS and the look-up of the name included: a host that takes longer
/// counts as down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The silence after which the kernel asks whether the peer is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
/// The time between two such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// The number of unanswered questions after which the connection counts as broken.
const KEEPALIVE_PROBES: u32 = 3;

type BoxError = Box<dyn Error + Send + Sync>;
type Secured = HttpsConnector<HttpConnector<PolicyResolver>>;
/// A stream to the other side, with TLS where the URL asks for it.
pub(super) type Stream = <Secured as Service<Uri>>::Response;

/// Makes connections, within a time.
#[derive(Debug, Clone)]
pub(super) struct Connector(Secured);

/// Makes a connector. A process-wide rustls provider must be installed.
pub(super) fn connector(
    policy: &Arc<EgressPolicy>,
    names: &Arc<Names>,
) -> Result<Connector, rustls::Error> {
    let resolver = PolicyResolver { policy: Arc::clone(policy), names: Arc::clone(names) };
    let mut http = HttpConnector::new_with_resolver(resolver);
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_keepalive(Some(KEEPALIVE_IDLE));
    http.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    http.set_keepalive_retries(Some(KEEPALIVE_PROBES));
    http.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let secured = HttpsConnectorBuilder::new().with_tls_config(tls(Verifier::new)?).https_or_http();
    Ok(Connector(secured.enable_http1().enable_http2().wrap_connector(http)))
}

/// Returns the settings of TLS, with a verifier that knows the certificates which the machine trusts.
/// Without any the connector works for `http`, and every `https` request fails.
fn tls(
    verifier: impl FnOnce(Arc<CryptoProvider>) -> Result<Verifier, rustls::Error>,
) -> Result<ClientConfig, rustls::Error> {
    let provider = CryptoProvider::get_default().cloned();
    let provider =
        provider.ok_or_else(|| rustls::Error::General("no provider of cryptography".to_owned()))?;
    let verifier = verifier(Arc::clone(&provider));
    let versions = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)?;
    Ok(match verifier {
        Ok(verifier) => versions
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth(),
        Err(fault) => {
            tracing::warn!(error = %fault, "no trusted certificates: https steps will fail");
            versions.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
        }
    })
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.0.call(uri);
        Box::pin(async move {
            tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or_else(|_| {
                Err(io::Error::new(io::ErrorKind::TimedOut, "nobody answered in time").into())
            })
        })
    }
}

/// Resolves names to the addresses that the policy allows: the connector is given no other.
#[derive(Debug, Clone)]
pub(super) struct PolicyResolver {
    policy: Arc<EgressPolicy>,
    names: Arc<Names>,
}

impl Service<Name> for PolicyResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let Self { policy, names } = self.clone();
        // The connection may be finished by another task than the one that asks for it.
        let namespace = names::caller();
        Box::pin(async move {
            let host = name.as_str();
            let found = names.look_up(&namespace, host).await?;
            let known = !found.is_empty();
            let allowed: Vec<SocketAddr> =
                found.into_iter().filter(|address| policy.allows(host, address.ip())).collect();
            if known && allowed.is_empty() {
                return Err(EgressDenied { host: host.to_owned() }.into());
            }
            Ok(allowed.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_certificates_still_gets_a_client() {
        // The first test installs the provider; for all others it is there already.
        let first = rustls::crypto::ring::default_provider().install_default().is_ok();
        assert!(first || CryptoProvider::get_default().is_some());
        assert!(tls(|_| Err(rustls::Error::General("none".to_owned()))).is_ok());
        assert!(connector(&Arc::new(EgressPolicy::Public), &Names::of_the_system()).is_ok());
    }
}
