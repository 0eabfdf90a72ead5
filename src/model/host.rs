//! The host of a request or of an origin: a name or an address, and a port.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Longest host, in characters: that of a name in the DNS.
const MAX_NAME: usize = 253;

/// A host as `Host` fields and origins have it: `name[:port]`, `[v6][:port]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// In small letters; an IPv6 address without its brackets, in its shortest form.
    name: String,
    port: Option<u16>,
}

impl HostPort {
    /// Reads a host (RFC 9110, 7.2) strictly; `None` for anything else, such as a user's name or a
    /// path beside it.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, rest) = if let Some(rest) = text.strip_prefix('[') {
            let (address, rest) = rest.split_once(']')?;
            (address.parse::<Ipv6Addr>().ok()?.to_string(), rest)
        } else {
            let end = text.find(':').unwrap_or(text.len());
            let (name, rest) = text.split_at(end);
            let plain =
                |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
            if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(plain) {
                return None;
            }
            (name.to_ascii_lowercase(), rest)
        };
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => None,
            // A port may be left out after its colon.
            Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            _ => return None,
        };
        Some(Self { name, port })
    }

    /// The host of an origin (`scheme://host[:port]`), with the port that its scheme stands for, and
    /// that port.
    pub fn of_origin(origin: &str) -> Option<(Self, u16)> {
        let (scheme, host) = origin.split_once("://")?;
        let usual = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        Some((Self::parse(host)?, usual))
    }

    /// The name or the address, without a port.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port, if it is not left out.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether nobody but this machine answers to it: `localhost` or a loopback address. Names
    /// below `localhost` are left out: not every resolver keeps them on this machine.
    pub fn is_loopback(&self) -> bool {
        if let Ok(address) = self.name.parse::<Ipv6Addr>() {
            return address.to_canonical().is_loopback();
        }
        self.name == "localhost"
            || self.name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
    }

    /// Whether `other` is this host; without a port, on any.
    pub fn covers(&self, other: &Self) -> bool {
        self.name == other.name && (self.port.is_none() || self.port == other.port)
    }

    /// Whether both are the same name and port; `usual` stands for a port that is left out.
    pub fn is_same(&self, other: &Self, usual: u16) -> bool {
        self.name == other.name && self.port.unwrap_or(usual) == other.port.unwrap_or(usual)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]", self.name)?;
        } else {
            f.write_str(&self.name)?;
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses_with_a_port_perhaps() {
        for (text, shown) in [
            ("Example.COM", "example.com"),
            ("a_b.example:8080", "a_b.example:8080"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:8080", "[::1]:8080"),
            ("[0:0::1]", "[::1]"),
            ("example.com:", "example.com"),
        ] {
            assert_eq!(HostPort::parse(text).unwrap().to_string(), shown, "{text}");
        }
        for bad in [
            "",
            ":80",
            "a b",
            "a/c",
            "a?b",
            "a#b",
            "u@a",
            "a:b",
            "a:1:2",
            "a:99999",
            "a:-1",
            "a:+1",
            "[::1",
            "[::1]x",
            "[x]",
            "::1",
            "a,b:x",
            "ü",
            "a\tb",
            &"x".repeat(254),
        ] {
            assert_eq!(HostPort::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn only_this_machine_answers_to_loopback_names() {
        let loopback = |text: &str| HostPort::parse(text).unwrap().is_loopback();
        for own in
            ["localhost", "LOCALHOST:1", "127.0.0.1", "127.9.9.9:80", "[::1]", "[::ffff:127.0.0.1]"]
        {
            assert!(loopback(own), "{own}");
        }
        for other in [
            "localhost.evil.example",
            "evil.localhost",
            "127.0.0.1.evil.example",
            "localhost.",
            "0.0.0.0",
            "128.0.0.1",
            "0x7f.0.0.1",
            "2130706433",
            "127.1",
            "[::]",
            "[fe80::1]",
        ] {
            assert!(!loopback(other), "{other}");
        }
    }

    #[test]
    fn a_host_without_a_port_covers_all_of_them() {
        let host = |text: &str| HostPort::parse(text).unwrap();
        assert!(host("a.example").covers(&host("A.example:81")));
        assert!(host("a.example:81").covers(&host("a.example:81")));
        assert!(!host("a.example:81").covers(&host("a.example")));
        assert!(!host("a.example").covers(&host("b.a.example")));
        let (origin, usual) = HostPort::of_origin("https://a.example").unwrap();
        assert!(origin.is_same(&host("a.example:443"), usual));
        assert!(!origin.is_same(&host("a.example:80"), usual));
        for bad in ["null", "ftp://a", "http://a/", "http://u@a", "a.example", "http//a"] {
            assert_eq!(HostPort::of_origin(bad), None, "{bad}");
        }
    }
}
