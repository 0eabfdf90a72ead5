//! Reads settings one by one, and reports all their faults at once.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use secrecy::SecretString;

use super::audit::AuditSettings;
use super::edge::{self, EdgeSettings};
use super::environment::SECRET_PREFIX;
use super::keys::{self, ApiKey};
use super::log::{LogFormat, LogSettings};
use super::parse::{self, Egress, ListenAddress};
use super::{Environment, Notice, Values};
use crate::model::{StaleAction, Timeouts};

/// The range of the bounds of a step; zero is no bound. A bound of more than a year bounds nothing.
const STEP_BOUND: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(366 * 24);
/// The range of the audit list's retention. With less, an entry would be gone before anybody could
/// look at it.
const AUDIT_RETENTION: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_hours(3650 * 24);
/// The range of sizes, in bytes. Below, not even the smallest request fits; above, one request
/// could use up the memory.
const SIZES: RangeInclusive<u64> = 256..=1 << 30;
/// The range of the pauses between calls of the store. A shorter pause is a loop that spins; a
/// longer one leaves a recovered database unused.
const STORE_RETRY: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_mins(1);
/// The range of the reserve on a disk, in bytes. With less, running threads could not write their ends.
const RESERVE: RangeInclusive<u64> = 1 << 20..=1 << 40;
/// The range of the memory limit, in bytes. Below, the server at rest would take all of it; above,
/// no machine has as much.
const MEMORY: RangeInclusive<u64> = 64 << 20..=16 << 40;

/// Makes a struct of values once all are read, so that every fault is reported. A value may look at
/// those before it.
macro_rules! every {
    ($name:ident { $($field:ident: $value:expr,)+ }) => {{
        $(let $field = $value;)+
        Some($name { $($field: $field?,)+ })
    }};
}
pub(super) use every;

/// A value that can't be used; its fault is noted already.
pub(super) struct Faulty;

/// The result of reading a value; `None` if it can't be used and its fault is noted.
type Read<T> = Option<T>;

/// A reader of single values that collects their faults.
pub(super) struct Reader<'a> {
    pub(super) values: &'a Values,
    pub(super) faults: Vec<String>,
}

impl Reader<'_> {
    /// Reads a value that may be absent.
    pub(super) fn read_optional<T>(
        &mut self,
        id: &str,
        allowed: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Faulty> {
        let Some(value) = self.values.get(id) else { return Ok(None) };
        let Some(text) = &value.text else { return Ok(None) };
        read(text).map(Some).map_err(|fault| {
            self.faults.push(format!("{value}: {fault}; allowed: {allowed}"));
            Faulty
        })
    }

    /// Reads a value that is empty, or the least, where it is absent.
    pub(super) fn read_or_default<T: Default>(
        &mut self,
        id: &str,
        allowed: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.read_optional(id, allowed, read).ok().map(Option::unwrap_or_default)
    }

    /// Reads a value that has a default.
    pub(super) fn read<T>(
        &mut self,
        id: &str,
        allowed: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.read_optional(id, allowed, read).ok()?
    }

    pub(super) fn count<T: TryFrom<u64>>(
        &mut self,
        id: &str,
        allowed: &RangeInclusive<u64>,
    ) -> Option<T> {
        let words = format!("a whole number from {} to {}", allowed.start(), allowed.end());
        T::try_from(self.read(id, &words, |text| parse::count(text, allowed))?).ok()
    }

    pub(super) fn size(&mut self, id: &str) -> Option<usize> {
        let words = "a size from 256 bytes to 1GiB, such as 4MiB or 512KiB";
        let bytes = self.read(id, words, |text| parse::size(text, &SIZES))?;
        usize::try_from(bytes).ok()
    }

    pub(super) fn memory_limit(&mut self) -> Read<Option<u64>> {
        let words = "a size from 64MiB to 16TiB, such as 2GiB";
        self.read_optional("memory_limit", words, |text| parse::size(text, &MEMORY)).ok()
    }

    pub(super) fn storage_reserve(&mut self) -> Option<u64> {
        let words = "a size from 1MiB to 1TiB, such as 64MiB";
        self.read("storage_reserve", words, |text| parse::size(text, &RESERVE))
    }

    pub(super) fn duration(
        &mut self,
        id: &str,
        allowed: &RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let words = format!(
            "a duration from {} to {}, such as 500ms, 5s or 2m",
            humantime::format_duration(*allowed.start()),
            humantime::format_duration(*allowed.end())
        );
        self.read(id, &words, |text| parse::duration(text, allowed))
    }

    pub(super) fn edge(&mut self) -> Option<EdgeSettings> {
        every!(EdgeSettings {
            hosts: self.read_or_default("hosts", edge::HOSTS, edge::hosts),
            origins: self.read_or_default("cors_origins", edge::ORIGINS, edge::origins),
            max_connections: self.count("max_connections", &edge::CONNECTIONS),
            max_connections_per_address: self
                .count("max_connections_per_address", &edge::CONNECTIONS),
            wrong_keys: self.count("wrong_keys", &edge::WRONG_KEYS).map(NonZeroU32::new),
        })
    }

    /// Reads where steps may connect to; by default, more is open to a server for this machine alone.
    pub(super) fn egress(&mut self, addr: Option<&ListenAddress>) -> Option<Egress> {
        let here = addr.is_some_and(ListenAddress::is_loopback);
        let given = self.read_optional("egress", parse::EGRESS, parse::egress).ok()?;
        Some(given.unwrap_or(if here { Egress::Open } else { Egress::Public }))
    }

    pub(super) fn stale_action(&mut self) -> Option<StaleAction> {
        self.read("stale_action", "report, retry", |text| {
            StaleAction::parse(text.trim()).ok_or_else(|| "not an action".to_owned())
        })
    }

    pub(super) fn timeouts(&mut self) -> Option<Timeouts> {
        // All are read before any is given up, so that one answer names every fault.
        let unless_zero = |bound: Duration| Some(bound).filter(|bound| !bound.is_zero());
        every!(Timeouts {
            multiplier: self.read(
                "timeout_multiplier",
                "a number from 0.1 to 100",
                parse::multiplier
            ),
            attempt: self.duration("step_timeout", &STEP_BOUND).map(unless_zero),
            warn_after: self.duration("step_warn_after", &STEP_BOUND).map(unless_zero),
        })
    }

    pub(super) fn store_retry(&mut self) -> Option<(Duration, Duration)> {
        // Both are read before either is given up, so that one answer names every fault.
        let initial = self.duration("store_retry_initial", &STORE_RETRY);
        let max = self.duration("store_retry_max", &STORE_RETRY);
        let (initial, max) = (initial?, max?);
        if initial <= max {
            return Some((initial, max));
        }
        self.faults.push(format!(
            "RETHREAD_STORE_RETRY_INITIAL = \"{}\" is longer than RETHREAD_STORE_RETRY_MAX = \"{}\"; \
             allowed: at most as long",
            humantime::format_duration(initial),
            humantime::format_duration(max)
        ));
        None
    }

    pub(super) fn log(&mut self) -> Option<LogSettings> {
        every!(LogSettings {
            filter: self.read(
                "log",
                "off, error, warn, info, debug, trace, or target=level pairs separated by commas",
                parse::log_filter,
            ),
            format: self.log_format(),
            flows: self.switch("log_flows"),
        })
    }

    fn log_format(&mut self) -> Read<Option<LogFormat>> {
        let format = self.read_optional("log_format", "pretty, json", |text| match text.trim() {
            "pretty" => Ok(LogFormat::Pretty),
            "json" => Ok(LogFormat::Json),
            _ => Err("not a format".to_owned()),
        });
        format.ok()
    }

    fn switch(&mut self, id: &str) -> Option<bool> {
        self.read(id, "true, false", |text| {
            super::alias::read_switch(text).ok_or_else(|| "not a switch".to_owned())
        })
    }

    pub(super) fn api_keys(
        &mut self,
        addr: Option<&ListenAddress>,
        notices: &mut Vec<Notice>,
    ) -> Option<Vec<ApiKey>> {
        let read = |text: &str| keys::read_api_keys(text, notices);
        let keys = self.read_optional("api_keys", keys::ALLOWED, read).ok()?;
        if let Some(addr) = addr {
            let issuer = self.values.get("oidc_issuer").is_some_and(|value| value.text.is_some());
            self.require_keys(addr, keys.is_none() && !issuer);
        }
        Some(keys.unwrap_or_default())
    }

    pub(super) fn audit(&mut self) -> Option<AuditSettings> {
        every!(AuditSettings {
            retention: self.duration("audit_retention", &AUDIT_RETENTION),
            reads: self.switch("audit_reads"),
        })
    }

    /// Notes a fault if other machines can reach the address while neither keys nor an issuer of
    /// tokens are set.
    fn require_keys(&mut self, addr: &ListenAddress, missing: bool) {
        if missing && !addr.is_loopback() {
            self.faults.push(format!(
                "RETHREAD_API_KEYS is not set, but RETHREAD_ADDR = \"{addr}\" can be reached from \
                 other machines; set it to {}, or set RETHREAD_OIDC_ISSUER, or listen on a loopback address",
                keys::ALLOWED
            ));
        }
    }

    pub(super) fn secrets(&mut self, environment: &Environment) -> BTreeMap<String, SecretString> {
        let mut secrets = BTreeMap::new();
        for (variable, value) in environment.with_prefix(SECRET_PREFIX) {
            let name = variable.strip_prefix(SECRET_PREFIX).unwrap_or_default();
            let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if plain && !name.is_empty() {
                secrets.insert(name.to_owned(), SecretString::from(value));
            } else {
                self.faults.push(format!(
                    "{variable} = \"***\": not a secret's name; allowed: letters, digits and '_'"
                ));
            }
        }
        secrets
    }
}
