//! Fetches an issuer's keys: its configuration (OpenID Connect Discovery 1.0), then the key set
//! that it names.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use reqwest::{Client, ClientBuilder, redirect};
use serde::Deserialize;
use url::Url;

use super::keys::SigningKeys;
use crate::model::HostPort;

/// The path of an issuer's configuration, below its own URL.
const WELL_KNOWN: &str = "/.well-known/openid-configuration";
/// The longest time for one document, the connection included: requests wait for it.
pub(super) const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest document, in bytes. Sets with certificates of a dozen keys are some tens of KiB.
const MAX_DOCUMENT: usize = 256 << 10;
/// The `User-Agent` of requests to issuers.
const USER_AGENT: &str = concat!("rethread/", env!("CARGO_PKG_VERSION"));

/// The members of an issuer's configuration that are used.
#[derive(Deserialize)]
struct Configuration {
    issuer: String,
    jwks_uri: String,
}

/// Reads a URL that keys may come from. An attacker who can change its answer can sign anything, so
/// plain `http` is accepted for this machine alone.
pub fn endpoint(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|fault| format!("not a URL: {fault}"))?;
    let bare = url.username().is_empty() && url.password().is_none();
    if !bare || url.query().is_some() || url.fragment().is_some() {
        return Err("it has a user, a query or a fragment".to_owned());
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err("http is taken on loopback hosts alone".to_owned()),
        _ => Err("it is not https".to_owned()),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().and_then(HostPort::parse);
    host.is_some_and(|host| host.is_loopback())
}

/// Makes a client for issuers: no proxy, and no redirect, which could lead to the keys of another
/// issuer.
pub(super) fn client() -> Result<Client, reqwest::Error> {
    base().build().or_else(|fault| {
        tracing::warn!(error = %fault, "no trusted certificates: an issuer's keys cannot be fetched by https");
        base().tls_certs_only([]).build()
    })
}

fn base() -> ClientBuilder {
    Client::builder()
        .user_agent(USER_AGENT)
        .no_proxy()
        .redirect(redirect::Policy::none())
        .referer(false)
        .timeout(FETCH_TIMEOUT)
}

/// Fetches the keys that the issuer has now.
pub(super) async fn fetch(client: &Client, issuer: &str) -> anyhow::Result<SigningKeys> {
    let address = format!("{}{WELL_KNOWN}", issuer.trim_end_matches('/'));
    let text = document(client, &address).await?;
    let configuration: Configuration = serde_json::from_slice(&text)
        .with_context(|| format!("{address}: not the configuration of an issuer"))?;
    if configuration.issuer != issuer {
        bail!(
            "{address}: the configuration is that of {:?}, not of {issuer:?}",
            configuration.issuer
        );
    }
    let address = &configuration.jwks_uri;
    let url = endpoint_of_keys(address, issuer)
        .map_err(|fault| anyhow!("jwks_uri {address:?}: {fault}"))?;
    let text = document(client, url.as_str()).await?;
    SigningKeys::read(&text).map_err(|fault| anyhow!("{address}: {fault}"))
}

/// Reads the URL of the key set. An issuer that is reached over https must not lead to keys that
/// are not.
fn endpoint_of_keys(address: &str, issuer: &str) -> Result<Url, String> {
    // Unlike an issuer's own URL, this one may have a query.
    let bare = address.split_once('?').map_or(address, |(bare, _)| bare);
    let keys = endpoint(bare)?;
    if issuer.starts_with("https:") && keys.scheme() != "https" {
        return Err("the issuer is https, and this is not".to_owned());
    }
    Url::parse(address).map_err(|fault| format!("not a URL: {fault}"))
}

async fn document(client: &Client, address: &str) -> anyhow::Result<Vec<u8>> {
    let told = || format!("{address}: cannot be fetched");
    let mut response = client.get(address).send().await.with_context(told)?;
    ensure!(response.status().is_success(), "{address}: answered {}", response.status());
    let mut text = Vec::new();
    while let Some(chunk) = response.chunk().await.with_context(told)? {
        ensure!(
            text.len() + chunk.len() <= MAX_DOCUMENT,
            "{address}: longer than {MAX_DOCUMENT} bytes"
        );
        text.extend_from_slice(&chunk);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_by_https_or_from_this_machine() {
        for good in [
            "https://id.example.com/realms/a",
            "https://id.example.com/",
            "http://127.0.0.1:8080/a",
            "http://localhost",
            "http://[::1]:1/",
        ] {
            assert!(endpoint(good).is_ok(), "{good}");
        }
        for bad in [
            "http://id.example.com/",
            "http://10.0.0.7/",
            "http://localhost.example.com/",
            "ftp://id.example.com/",
            "https://user:word@id.example.com/",
            "https://id.example.com/?a=b",
            "https://id.example.com/#a",
            "id.example.com",
            "",
        ] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
        let keys = endpoint_of_keys;
        assert!(keys("https://keys.example.com/set?v=1", "https://id.example.com").is_ok());
        assert!(keys("http://127.0.0.1/set", "http://127.0.0.1").is_ok());
        assert!(keys("http://127.0.0.1/set", "https://id.example.com").is_err());
        assert!(keys("http://keys.example.com/?a", "http://127.0.0.1").is_err());
    }
}
