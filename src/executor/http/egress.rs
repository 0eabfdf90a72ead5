//! The policy for connections of steps.
//!
//! It checks the address of the connection, not the name: a name's owner can make it resolve to any
//! address, and to another one the next time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use url::{Host, Url};

/// The policy of `RETHREAD_EGRESS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EgressPolicy {
    /// Allows every address.
    Open,
    /// Allows addresses of the public internet only: none that is private, loopback, link-local,
    /// multicast, reserved or a cloud's metadata service.
    Public,
    /// Allows the entries of the list, and nothing else.
    List(Vec<EgressRule>),
}

/// One entry of an [`EgressPolicy::List`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EgressRule {
    /// A host by name, at public addresses (`localhost` also at loopback): its owner may point it
    /// anywhere. Internal addresses must be listed too.
    Host(String),
    /// Every host below a domain (`*.example.org`), but not the domain itself; otherwise like
    /// [`Self::Host`].
    Below(String),
    /// The addresses of a network, whatever name they are reached by.
    Network(IpNet),
}

/// The error of a connection that the policy does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the egress policy does not allow connections to {host}")]
pub struct EgressDenied {
    /// The host as the URL names it.
    pub host: String,
}

impl EgressPolicy {
    /// Reads `open`, `public`, or a list of hosts and CIDRs separated by commas or spaces, such as
    /// `api.example.org, *.example.net, 10.1.0.0/16`.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "open" => Ok(Self::Open),
            "public" => Ok(Self::Public),
            list => {
                let entries = list.split([',', ' ', '\t', '\n']).filter(|entry| !entry.is_empty());
                let rules: Vec<_> = entries.map(EgressRule::parse).collect::<Result<_, _>>()?;
                if rules.is_empty() {
                    return Err("is empty; write open, public, or hosts and CIDRs".to_owned());
                }
                Ok(Self::List(rules))
            }
        }
    }

    /// Returns whether a connection to that address of that host is allowed.
    pub fn allows(&self, host: &str, address: IpAddr) -> bool {
        match self {
            Self::Open => true,
            Self::Public => is_public(address),
            Self::List(rules) => rules.iter().any(|rule| rule.covers(host, address)),
        }
    }

    /// Checks a URL that contains an address: no resolver will be asked for it. If it contains a
    /// name, the client's resolver checks the addresses.
    pub fn judge(&self, url: &Url) -> Result<(), EgressDenied> {
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(name)) => match name.parse() {
                Ok(address) => address,
                Err(_) => return Ok(()),
            },
            None => return Err(EgressDenied { host: String::new() }),
        };
        let host = url.host_str().unwrap_or_default();
        if self.allows(host, address) {
            Ok(())
        } else {
            Err(EgressDenied { host: host.to_owned() })
        }
    }
}

impl EgressRule {
    fn parse(entry: &str) -> Result<Self, String> {
        if let Ok(network) = entry.parse::<IpNet>() {
            return Ok(Self::Network(network.trunc()));
        }
        if let Ok(address) = entry.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(Self::Network(IpNet::from(address)));
        }
        let fault = || format!("{entry:?} is neither a host nor a CIDR such as 10.0.0.0/8");
        let (below, name) =
            entry.strip_prefix("*.").map_or((false, entry), |domain| (true, domain));
        match Host::parse(name) {
            Ok(Host::Domain(domain)) if !domain.contains('*') => {
                let domain = domain.trim_end_matches('.').to_owned();
                Ok(if below { Self::Below(domain) } else { Self::Host(domain) })
            }
            Ok(Host::Domain(_) | Host::Ipv4(_) | Host::Ipv6(_)) | Err(_) => Err(fault()),
        }
    }

    fn covers(&self, host: &str, address: IpAddr) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        match self {
            Self::Host(name) => host == *name && may_be_at(&host, address),
            Self::Below(domain) => {
                let below = host
                    .strip_suffix(domain.as_str())
                    .and_then(|rest| rest.strip_suffix('.'))
                    .is_some_and(|label| !label.is_empty());
                below && may_be_at(&host, address)
            }
            Self::Network(network) => network.contains(&address.to_canonical()),
        }
    }
}

/// Returns whether a listed name may resolve to an unlisted address: only to a public one, or to
/// loopback if the name means loopback (RFC 6761).
fn may_be_at(host: &str, address: IpAddr) -> bool {
    let local = host == "localhost" || host.ends_with(".localhost");
    is_public(address) || (local && address.to_canonical().is_loopback())
}

/// Returns whether an address belongs to the public internet.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// Returns whether an address is neither in the registry of special-purpose IPv4 addresses nor a
/// known metadata service.
#[expect(clippy::unnested_or_patterns, reason = "a line per entry of the registry")]
const fn is_public_v4(address: Ipv4Addr) -> bool {
    let denied = matches!(
        address.octets(),
        [0 | 10 | 127, ..]                // this network, private, loopback
            | [100, 64..=127, ..]         // carrier-grade NAT
            | [169, 254, ..]              // link-local, metadata
            | [172, 16..=31, ..]          // private
            | [192, 0, 0 | 2, _]          // protocol assignments, documentation
            | [192, 88, 99, _]            // 6to4 relays, retired
            | [192, 168, ..]              // private
            | [198, 18 | 19, ..]          // benchmarks
            | [198, 51, 100, _]           // documentation
            | [203, 0, 113, _]            // documentation
            | [168, 63, 129, 16]          // Azure's platform address
            | [224..=255, ..] // multicast, reserved, broadcast
    );
    !denied
}

/// Returns whether an address is global unicast (`2000::/3`) outside of its special blocks. An IPv4
/// address inside it is checked instead.
#[expect(clippy::unnested_or_patterns, reason = "a line per entry of the registry")]
#[expect(clippy::match_same_arms, reason = "two ways to carry an IPv4 address")]
fn is_public_v6(address: Ipv6Addr) -> bool {
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low), // NAT64
        [0x2002, high, low, ..] => embedded(high, low),               // 6to4
        [0x2001, 0..=0x1ff, ..]               // protocol assignments, Teredo, ORCHID
        | [0x2001, 0xdb8, ..]                 // documentation
        | [0x3fff, 0..=0xfff, ..] => false,   // documentation
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(policy: &EgressPolicy, url: &str) -> bool {
        policy.judge(&Url::parse(url).unwrap()).is_ok()
    }

    #[test]
    fn public_denies_every_address_that_is_not_of_the_internet() {
        for denied in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.9",
            "168.63.129.16",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(denied.parse().unwrap()), "{denied}");
        }
        for allowed in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2001:4860:4860::8888",
            "64:ff9b::1.1.1.1",
            "::ffff:1.1.1.1",
            "2002:101:101::",
        ] {
            assert!(is_public(allowed.parse().unwrap()), "{allowed}");
        }
    }

    #[test]
    fn addresses_in_urls_are_judged_in_every_spelling() {
        for url in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://0/",
            "http://169.254.169.254./latest",
            "http://１２７.0.0.1/",
        ] {
            assert!(!judged(&EgressPolicy::Public, url), "{url}");
            assert!(judged(&EgressPolicy::Open, url), "{url}");
        }
        assert!(judged(&EgressPolicy::Public, "http://1.1.1.1/"));
    }

    #[test]
    fn a_list_allows_what_it_names_and_nothing_else() {
        let policy = EgressPolicy::parse("api.Example.org, *.example.net 10.1.0.0/16,::1").unwrap();
        let any: IpAddr = "1.2.3.4".parse().unwrap();
        for (host, allowed) in [
            ("api.example.org", true),
            ("API.example.org.", true),
            ("example.org", false),
            ("x.api.example.org", false),
            ("a.b.example.net", true),
            ("example.net", false),
            ("badexample.net", false),
        ] {
            assert_eq!(policy.allows(host, any), allowed, "{host}");
        }
        assert!(policy.allows("other", "10.1.2.3".parse().unwrap()));
        assert!(policy.allows("other", "::ffff:10.1.2.3".parse().unwrap()));
        assert!(!policy.allows("other", "10.2.2.3".parse().unwrap()));
        assert!(judged(&policy, "http://[::1]:80/"));
    }

    #[test]
    fn a_listed_name_does_not_reach_whatever_it_resolves_to() {
        let names = EgressPolicy::parse("api.example.org *.example.net localhost").unwrap();
        let at = |address: &str| address.parse::<IpAddr>().unwrap();
        for inside in ["127.0.0.1", "169.254.169.254", "10.1.2.3", "::1", "::ffff:127.0.0.1"] {
            for host in ["api.example.org", "a.example.net", "API.example.org."] {
                assert!(!names.allows(host, at(inside)), "{host} at {inside}");
            }
        }
        assert!(names.allows("localhost", at("127.0.0.1")) && names.allows("LOCALHOST", at("::1")));
        assert!(!names.allows("localhost", at("10.1.2.3")));
        let with_network = EgressPolicy::parse("api.example.org 10.1.0.0/16").unwrap();
        for (address, allowed) in [("10.1.2.3", true), ("10.2.2.3", false), ("1.2.3.4", true)] {
            assert_eq!(with_network.allows("api.example.org", at(address)), allowed, "{address}");
        }
    }

    #[test]
    fn policies_that_cannot_be_read_are_refused() {
        for bad in ["", " , ", "a*b.example", "10.0.0.0/33", "http://x/", "x:80", "*."] {
            assert!(EgressPolicy::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(EgressPolicy::parse(" open "), Ok(EgressPolicy::Open));
        assert_eq!(EgressPolicy::parse("public"), Ok(EgressPolicy::Public));
    }
}
