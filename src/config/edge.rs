//! Reads what bounds the door: the names that this server goes by, the origins of pages that may
//! call it, and how many connections it takes.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use url::Url;

use super::{Notice, parse};
use crate::model::HostPort;

/// What is allowed as the names of this server, for the message about what is not.
pub(super) const HOSTS: &str =
    "names or addresses separated by commas, such as flows.example.com or 10.0.0.7:8080";
/// What is allowed as origins, for the message about what is not.
pub(super) const ORIGINS: &str =
    "origins separated by commas, such as https://app.example.com or http://localhost:3000; or *";
/// Connections. Not even a probe gets through less; more than a machine has ports for.
pub(super) const CONNECTIONS: RangeInclusive<u64> = 1..=1_000_000;
/// Wrong keys a minute; 0 is off. Above, nobody is slowed down.
pub(super) const WRONG_KEYS: RangeInclusive<u64> = 0..=100_000;
/// Every origin.
const ANY: &str = "*";

/// Whom the server answers, and how many at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeSettings {
    /// Names this server goes by; with keys any, if empty.
    pub hosts: Vec<HostPort>,
    /// Whose pages may call from a browser.
    pub origins: CorsOrigins,
    /// Connections at once.
    pub max_connections: usize,
    /// Connections at once from one address.
    pub max_connections_per_address: usize,
    /// Wrong keys a minute that are looked at from one address; `None`: all of them.
    pub wrong_keys: Option<NonZeroU32>,
}

/// Whose pages may call from a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsOrigins {
    /// These, written as browsers write an origin; perhaps none.
    Named(Vec<String>),
    /// All of them.
    Any,
}

/// Reads the names of this server.
pub(super) fn hosts(text: &str) -> Result<Vec<HostPort>, String> {
    let read = |entry: &String| {
        // A pattern would look like a name and never match one.
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

/// What there is to say of these settings for a server without keys.
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

/// An origin as browsers write it: a scheme, a host and a port unless it is the usual one.
fn origin(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let url = Url::parse(text).ok()?;
    let bare = url.username().is_empty() && url.password().is_none();
    if rest.contains(['/', '?', '#', '*', '@']) || !bare || url.host_str().is_none_or(str::is_empty)
    {
        return None;
    }
    // Pages of programs with schemes of their own (`app://main`) have an origin for the browser,
    // but none for the URL standard.
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
