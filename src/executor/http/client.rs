//! The HTTP client of steps and webhooks: its policy, its timeouts, its pool.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, ClientBuilder, redirect};

use super::egress::{EgressDenied, EgressPolicy};
use super::names::{self, Names};

/// The longest time to connect, TLS and the look-up of the name included: a host that takes longer
/// counts as down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest silence of a peer that is still connected. Steps have their own `timeout`; this one
/// only keeps an attempt without a timeout from waiting for ever.
const SILENCE_TIMEOUT: Duration = Duration::from_hours(1);

/// The time for which an idle connection is kept: below the 60 s after which common servers close
/// theirs.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// The number of idle connections kept per host.
const POOL_MAX_IDLE_PER_HOST: usize = 32;

/// The silence after which the kernel asks whether the peer is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
/// The time between two such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// The number of unanswered questions after which the connection counts as broken.
const KEEPALIVE_PROBES: u32 = 3;

/// The `User-Agent` of requests whose step sets none.
const USER_AGENT: &str = concat!("rethread/", env!("CARGO_PKG_VERSION"));

/// Makes a client that connects only where `policy` allows, follows no redirects and uses no
/// proxy. URLs must pass [`EgressPolicy::judge`] before they are given to it.
///
/// A process-wide rustls provider must be installed. Without certificates on the machine the
/// client works for `http`, and every `https` request fails.
pub(super) fn egress_client(
    policy: &Arc<EgressPolicy>,
    names: &Arc<Names>,
) -> Result<Client, reqwest::Error> {
    base(policy, names).build().or_else(|fault| {
        tracing::warn!(error = %fault, "no trusted certificates: https steps will fail");
        base(policy, names).tls_certs_only([]).build()
    })
}

fn base(policy: &Arc<EgressPolicy>, names: &Arc<Names>) -> ClientBuilder {
    Client::builder()
        .user_agent(USER_AGENT)
        .no_proxy()
        .redirect(redirect::Policy::none())
        .referer(false)
        .dns_resolver(PolicyResolver(Arc::clone(policy), Arc::clone(names)))
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(SILENCE_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .pool_max_idle_per_host(POOL_MAX_IDLE_PER_HOST)
        .tcp_nodelay(true)
        .tcp_keepalive(KEEPALIVE_IDLE)
        .tcp_keepalive_interval(KEEPALIVE_INTERVAL)
        .tcp_keepalive_retries(KEEPALIVE_PROBES)
}

/// Resolves names to the addresses that the policy allows: the connector is given no other.
struct PolicyResolver(Arc<EgressPolicy>, Arc<Names>);

impl Resolve for PolicyResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, names) = (Arc::clone(&self.0), Arc::clone(&self.1));
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
            Ok::<Addrs, _>(Box::new(allowed.into_iter()))
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
        assert!(first || rustls::crypto::CryptoProvider::get_default().is_some());
        assert!(
            base(&Arc::new(EgressPolicy::Public), &Names::of_the_system())
                .tls_certs_only([])
                .build()
                .is_ok()
        );
    }
}
