//! Reads the settings that bound access to the server: its names, the origins of pages that may
//! call it, and the number of its connections.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use url::Url;

use super::{Notice, parse};
use crate::model::HostPort;

/// The allowed names of this server, for the message that refuses another text.
pub(super) const HOSTS: &str =
    "names or addresses separated by commas, such as flows.example.com or 10.0.0.7:8080";
/// The allowed origins, for the message that refuses another text.
pub(super) const ORIGINS: &str =
    "origins separated by commas, such as https://app.example.com or http://localhost:3000; or *";
/// The range of the number of connections. Below 1, not even a probe gets through; the upper end is
/// more than a machine has ports.
pub(super) const CONNECTIONS: RangeInclusive<u64> = 1..=1_000_000;
/// The range of wrong keys a minute; 0 switches the bound off. Above the range, nobody is slowed
/// down.
pub(super) const WRONG_KEYS: RangeInclusive<u64> = 0..=100_000;
/// The text that allows every origin.
const ANY: &str = "*";

/// The callers that the server answers, and the number of their connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeSettings {
    /// The names that this server goes by. If there are none, a server with keys answers to any
    /// name.
    pub hosts: Vec<HostPort>,
    /// The origins of pages that may call from a browser.
    pub origins: CorsOrigins,
    /// The most connections at once.
    pub max_connections: usize,
    /// The most connections at once from one address.
    pub max_connections_per_address: usize,
    /// The number of wrong keys that are looked up per minute and address; `None`: all of them.
    pub wrong_keys: Option<NonZeroU32>,
}

/// The origins of pages that may call from a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsOrigins {
    /// These origins, written as browsers write them; the list may be empty.
    Named(Vec<String>),
    /// All origins.
    Any,
}

impl Default for CorsOrigins {
    fn default() -> Self {
        Self::Named(Vec::new())
    }
}

/// Reads the names of this server.
pub(super) fn hosts(text: &str) -> Result<Vec<HostPort>, String> {
    let read = |entry: &String| {
        // A pattern would pass for a name and never match one.
        let host = HostPort::parse(entry).filter(|_| !entry.contains('*'));
        host.ok_or_else(|| format!("{entry:?} is neither a name nor an address"))
    };
    some(&parse::list(text))?.iter().map(read).collect()
}

/// Reads origins.
pub(super) fn origins(text: &str) -> Result<CorsOrigins, String> {
    let entries = parse::list(text);
    if entries == [ANY] {
        return Ok(CorsOrigins::Any);
    }
    let read = |entry: &String| origin(entry).ok_or_else(|| format!("{entry:?} is not an origin"));
    some(&entries)?.iter().map(read).collect::<Result<_, _>>().map(CorsOrigins::Named)
}

/// Returns the lines for the log about settings that have no effect on a server without keys.
pub(super) fn notices_without_keys(settings: &EdgeSettings) -> Vec<Notice> {
    let mut notices = Vec::new();
    if !settings.hosts.is_empty() {
        notices.push(Notice::warn(
            "RETHREAD_HOSTS has no effect: without API keys only loopback names and the address \
             listened on are answered"
                .to_owned(),
        ));
    }
    if settings.origins == CorsOrigins::Any {
        notices.push(Notice::warn(
            "RETHREAD_CORS_ORIGINS = \"*\" without API keys: every page that a browser on this \
             machine opens can start and control threads"
                .to_owned(),
        ));
    }
    notices
}

fn some(entries: &[String]) -> Result<&[String], String> {
    if entries.is_empty() { Err("nothing is named".to_owned()) } else { Ok(entries) }
}

/// Returns an origin as browsers write it: the scheme, the host, and the port unless it is the
/// usual one.
fn origin(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let url = Url::parse(text).ok()?;
    let bare = url.username().is_empty() && url.password().is_none();
    if rest.contains(['/', '?', '#', '*', '@']) || !bare || url.host_str().is_none_or(str::is_empty)
    {
        return None;
    }
    // The pages of programs with schemes of their own (`app://main`) have an origin for the
    // browser, but none in the URL standard.
    if matches!(url.scheme(), "http" | "https") {
        Some(url.origin().ascii_serialization())
    } else {
        Some(format!("{}://{}", scheme.to_ascii_lowercase(), rest.to_ascii_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_server_are_hosts() {
        let read = hosts("flows.example.com, 10.0.0.7:8080 [::1]").unwrap();
        let shown: Vec<String> = read.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["flows.example.com", "10.0.0.7:8080", "[::1]"]);
        for bad in ["", " , ", "http://a.example", "a.example/x", "*", "*.a.example", "u@a"] {
            assert!(hosts(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        let read = origins("https://App.example:443, http://localhost:3000 app://Main").unwrap();
        let expected = ["https://app.example", "http://localhost:3000", "app://main"];
        assert_eq!(read, CorsOrigins::Named(expected.map(str::to_owned).to_vec()));
        assert_eq!(origins(" * ").unwrap(), CorsOrigins::Any);
        for bad in [
            "",
            "null",
            "a.example",
            "https://a.example/",
            "https://a.example/x",
            "https://*.a.example",
            "https://u@a.example",
            "http://",
            "*, http://a.example",
            "data:x",
        ] {
            assert!(origins(bad).is_err(), "{bad}");
        }
    }
}
