//! Reads single values: addresses, sizes, durations, counts, lists, log filters.
//!
//! Each function returns the value or the fault of the text. The caller adds the name, the text and
//! the allowed values.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use crate::model::{TimeoutMultiplier, parse_duration};

/// The address that the server listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddress {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port; 0 picks a free one.
    pub port: u16,
}

impl ListenAddress {
    /// Returns whether only this machine can connect. A name other than `localhost` counts as
    /// public.
    pub fn is_loopback(&self) -> bool {
        match IpAddr::from_str(&self.host) {
            Ok(ip) => ip.to_canonical().is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }

    /// Returns the host as URLs write it: an IPv6 address in brackets.
    pub fn host_text(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }

    /// Returns the same host with another port.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        Self { host: self.host.clone(), port }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host_text(), self.port)
    }
}

/// Reads `host:port` or `[v6]:port`.
pub(super) fn address(text: &str) -> Result<ListenAddress, String> {
    let (host, port) = text.trim().rsplit_once(':').ok_or("the port is missing")?;
    let port = port.parse().map_err(|_| "the port is not a number from 0 to 65535".to_owned())?;
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => {
            v6.parse::<std::net::Ipv6Addr>().map_err(|error| error.to_string())?.to_string()
        }
        None if host.is_empty() => return Err("the host is missing".to_owned()),
        None if host.contains([':', '/', ' ', '@']) => return Err("not a host".to_owned()),
        None => host.to_owned(),
    };
    Ok(ListenAddress { host, port })
}

/// Reads a number of bytes: `4MiB`, `512KiB`, `1MB`, or plain digits.
pub(super) fn size(text: &str, allowed: &RangeInclusive<u64>) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| "not a size".to_owned())?;
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "kb" => 1_000,
        "m" | "mib" => 1 << 20,
        "mb" => 1_000_000,
        "g" | "gib" => 1 << 30,
        "gb" => 1_000_000_000,
        "t" | "tib" => 1 << 40,
        _ => return Err("not a size".to_owned()),
    };
    let bytes = number.checked_mul(factor).ok_or("too large")?;
    in_range(bytes, allowed)
}

/// Reads a duration within bounds.
pub(super) fn duration(text: &str, allowed: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let text = text.trim();
    let value = match text.parse::<u64>() {
        Ok(millis) => Duration::from_millis(millis),
        Err(_) => parse_duration(text).map_err(|_| "not a duration".to_owned())?,
    };
    in_range(value, allowed)
}

/// Reads a whole number within bounds.
pub(super) fn count(text: &str, allowed: &RangeInclusive<u64>) -> Result<u64, String> {
    let value = text.trim().parse().map_err(|_| "not a whole number".to_owned())?;
    in_range(value, allowed)
}

/// Reads the factor that timeouts are multiplied by.
pub(super) fn multiplier(text: &str) -> Result<TimeoutMultiplier, String> {
    let factor = text.trim().parse().map_err(|_| "not a number".to_owned())?;
    TimeoutMultiplier::new(factor).ok_or_else(|| "out of bounds".to_owned())
}

fn in_range<T: PartialOrd>(value: T, allowed: &RangeInclusive<T>) -> Result<T, String> {
    if allowed.contains(&value) {
        Ok(value)
    } else if value < *allowed.start() {
        Err("too small".to_owned())
    } else {
        Err("too large".to_owned())
    }
}

/// Reads a list separated by commas or blanks.
pub(super) fn list(text: &str) -> Vec<String> {
    text.split([',', ' ', '\t', '\n']).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// The allowed egress policies, for the message that refuses another text.
pub(super) const EGRESS: &str = "open, public, or hosts and CIDRs separated by commas";

/// The addresses that steps may connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Egress {
    /// Any address.
    Open,
    /// Public addresses only.
    Public,
    /// These hosts and CIDRs only.
    Only(Vec<String>),
}

impl fmt::Display for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("open"),
            Self::Public => f.write_str("public"),
            Self::Only(entries) => f.write_str(&entries.join(",")),
        }
    }
}

/// Reads an egress policy.
pub(super) fn egress(text: &str) -> Result<Egress, String> {
    match text.trim() {
        "open" => return Ok(Egress::Open),
        "public" => return Ok(Egress::Public),
        _ => {}
    }
    let entries = list(text);
    for entry in &entries {
        let cidr = ipnet::IpNet::from_str(entry).is_ok() || IpAddr::from_str(entry).is_ok();
        let name = entry.chars().all(|c| c.is_ascii_alphanumeric() || ".-_*".contains(c));
        if matches!(entry.as_str(), "open" | "public") || !(cidr || name) {
            return Err(format!("{entry:?} is neither a host nor a CIDR"));
        }
    }
    Ok(Egress::Only(entries))
}

/// Checks a log filter: a level, or `target=level` pairs.
pub(super) fn log_filter(text: &str) -> Result<String, String> {
    let level = |level: &str| {
        let levels = ["off", "error", "warn", "info", "debug", "trace"];
        levels.iter().any(|known| known.eq_ignore_ascii_case(level.trim()))
    };
    // The library that reads the filter takes each letter for one byte.
    if !text.is_ascii() {
        return Err("allowed: levels and target=level, in ASCII".to_owned());
    }
    for part in text.split(',') {
        let valid = match part.rsplit_once('=') {
            // A word without a level would be read as a target and silence everything else.
            None => level(part),
            Some((target, at)) => !target.trim().is_empty() && level(at),
        };
        if !valid {
            return Err(format!("{part:?} is neither a level nor target=level"));
        }
    }
    tracing_subscriber::EnvFilter::try_new(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_know_whether_they_are_loopback() {
        for (text, loopback) in [
            ("127.0.0.1:8080", true),
            ("[::1]:0", true),
            ("localhost:80", true),
            ("0.0.0.0:8080", false),
            ("[::]:8080", false),
            ("example.com:80", false),
        ] {
            let read = address(text).unwrap();
            assert_eq!(read.is_loopback(), loopback, "{text}");
            assert_eq!(read.to_string(), text);
        }
        for text in ["8080", ":8080", "a:b:1", "host:99999", "http://x:1", "[x]:1"] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_have_units_and_bounds() {
        let any = 1..=u64::MAX;
        for (text, bytes) in
            [("4MiB", 4 << 20), ("1 MB", 1_000_000), ("512k", 512 << 10), ("42", 42)]
        {
            assert_eq!(size(text, &any).unwrap(), bytes, "{text}");
        }
        for text in ["", "MiB", "1.5MiB", "-1", "99999999999GiB", "0"] {
            assert!(size(text, &any).is_err(), "{text}");
        }
    }

    #[test]
    fn log_filter_refuses_what_would_silence_everything() {
        assert!(log_filter("info,rethread::store=debug").is_ok());
        assert!(log_filter("INFO").is_ok());
        for text in ["verbose", "info,loud", "x=loud", ""] {
            assert!(log_filter(text).is_err(), "{text}");
        }
    }

    #[test]
    fn egress_is_a_word_or_a_list() {
        assert_eq!(egress("open").unwrap(), Egress::Open);
        assert_eq!(
            egress("api.example.com, 10.0.0.0/8").unwrap().to_string(),
            "api.example.com,10.0.0.0/8"
        );
        for text in ["http://x", "open,public", "10.0.0.0/99"] {
            assert!(egress(text).is_err(), "{text}");
        }
    }
}
