//! The settings of the layers below: plain values, checked once at the start.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::audit::AuditSettings;
use super::database::{self, Database, Fallback};
use super::edge::{self, EdgeSettings};
use super::keys::ApiKey;
use super::log::LogSettings;
use super::oidc::{self, OidcSettings};
use super::parse::{self, Egress, ListenAddress};
use super::programs::{self, ProgramSettings};
use super::quota::{self, QuotaSettings};
use super::reader::{Reader, every};
use super::secret;
use super::{ConfigError, Environment, Notice, Values};
use crate::model::{StaleAction, Timeouts};

/// The range of the lease. Shorter leases expire in the pauses of a busy machine; with longer ones,
/// threads of a lost replica wait too long.
const LEASE: RangeInclusive<Duration> = Duration::from_millis(200)..=Duration::from_mins(10);
/// The range of the silence after which a thread counts as stuck. With less, every step that thinks
/// for a moment looks stuck.
const STALE_AFTER: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);
/// The range of the retention. With less, a client can't read the result of what it started.
const RETENTION: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_hours(3650 * 24);
/// The range of the grace at shutdown. A shutdown of more than an hour is none.
const SHUTDOWN_GRACE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(1);
/// The range of the delay before a shutdown. Whoever has not noticed after five minutes never does.
const SHUTDOWN_DELAY: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_mins(5);
/// The range of the threads driven at once.
const RUNNING: RangeInclusive<u64> = 1..=1_000_000;
/// The range of the threads that may wait; 0 refuses every thread that can't start at once.
const QUEUED: RangeInclusive<u64> = 0..=100_000_000;
/// The range of takeovers; 0 stops a thread at the first.
const RECOVERIES: RangeInclusive<u64> = 0..=1_000;
/// The range of the events between snapshots; 0 takes them only at a pause. Above, no thread is
/// ever long enough.
const SNAPSHOT_EVERY: RangeInclusive<u64> = 0..=1_000_000;

/// All settings of the server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The address to listen on.
    pub addr: ListenAddress,
    /// The database that threads are kept in.
    pub database: Database,
    /// The schema in Postgres.
    pub schema: String,
    /// Whether Postgres is behind a pooler in transaction mode.
    pub pooler: bool,
    /// The store to use if the database can't be reached at start; `None` unless the database is
    /// Postgres.
    pub fallback: Fallback,
    /// The file to fall back to, or to move threads from.
    pub fallback_path: PathBuf,
    /// The API keys of callers. Without any key or issuer, every caller is anonymous.
    pub api_keys: Vec<ApiKey>,
    /// The issuer whose bearer tokens are accepted beside the keys.
    pub oidc: Option<OidcSettings>,
    /// The callers that the server answers, and the number of their connections.
    pub edge: EdgeSettings,
    /// The quotas of each key, and those of each namespace.
    pub quotas: (QuotaSettings, QuotaSettings),
    /// The values of `{secrets.NAME}`, by name.
    pub secrets: BTreeMap<String, SecretString>,
    /// The programs that `exec` steps may start.
    pub exec_allow: Vec<String>,
    /// The environment and the bounds of those programs.
    pub programs: ProgramSettings,
    /// The addresses that steps may connect to.
    pub egress: Egress,
    /// The most threads that this replica drives at once.
    pub max_running: usize,
    /// The most threads that may wait.
    pub max_queued: usize,
    /// The size of the largest request body, in bytes.
    pub max_body: usize,
    /// The size of the largest event, in bytes.
    pub max_event: usize,
    /// The memory beyond which calls are refused, in bytes; `None`: a part of the available memory.
    pub memory_limit: Option<u64>,
    /// The time that a silent replica keeps its threads.
    pub lease: Duration,
    /// The free space, in bytes, that new threads leave on the disk of an `SQLite` file.
    pub storage_reserve: u64,
    /// The first and the longest wait between tries of a call that fails in the database for now.
    pub store_retry: (Duration, Duration),
    /// The silence after which a thread counts as stuck.
    pub stale_after: Duration,
    /// The takeovers without progress before a thread is stopped.
    pub max_recoveries: u32,
    /// The number of events after which a thread's state is worth a snapshot.
    pub snapshot_every: u64,
    /// The time limits of work.
    pub timeouts: Timeouts,
    /// The action on an attempt that has been silent for `stale_after`.
    pub stale_action: StaleAction,
    /// The time that ended threads are kept.
    pub retention: Duration,
    /// The settings of the audit list.
    pub audit: AuditSettings,
    /// The time that running steps get at shutdown.
    pub shutdown_grace: Duration,
    /// The time between SIGTERM and the shutdown, in which the server is not ready but goes on.
    pub shutdown_delay: Duration,
    /// The settings of the log.
    pub log: LogSettings,
}

impl Settings {
    /// Reads the settings; the error names every fault.
    pub fn read(
        values: &Values,
        environment: &Environment,
        notices: &mut Vec<Notice>,
    ) -> Result<Self, ConfigError> {
        let mut reader = Reader { values, faults: Vec::new() };
        let settings = Self::read_with(&mut reader, environment, notices);
        let mut faults = reader.faults;
        for name in environment.unreadable() {
            if name.starts_with("RETHREAD_") || name.starts_with("DATABASE_") {
                faults.push(format!("{name} is not text"));
            }
        }
        match settings {
            Some(settings) if faults.is_empty() => {
                if settings.api_keys.is_empty() && settings.oidc.is_none() {
                    notices.extend(edge::notices_without_keys(&settings.edge));
                }
                Ok(settings)
            }
            _ => Err(ConfigError { faults }),
        }
    }

    /// Reads all settings before it gives up on any, so that all faults are named.
    fn read_with(
        reader: &mut Reader<'_>,
        environment: &Environment,
        notices: &mut Vec<Notice>,
    ) -> Option<Self> {
        let settings = every!(Self {
            addr: reader.read("addr", "host:port, such as 127.0.0.1:8080", parse::address),
            database: reader.read("database_url", database::ALLOWED, database::read_database),
            schema: reader.read(
                "database_schema",
                "small letters, digits and '_', up to 63, not starting with a digit or pg_",
                database::read_schema,
            ),
            pooler: reader.read("pooler", "none, transaction", read_pooler),
            fallback: reader.read("fallback", "none, sqlite, memory", database::read_fallback),
            fallback_path: reader.read("fallback_path", "the path of a file", database::read_path),
            api_keys: reader.api_keys(addr.as_ref(), notices),
            edge: reader.edge(),
            quotas: quota::read(reader),
            oidc: oidc::read(reader).ok(),
            exec_allow: reader
                .read_or_default("exec_allow", "names of programs", |text| Ok(parse::list(text))),
            programs: programs::read(reader),
            egress: reader.egress(addr.as_ref()),
            max_running: reader.count("max_running", &RUNNING),
            max_queued: reader.count("max_queued", &QUEUED),
            max_body: reader.size("max_body"),
            max_event: reader.size("max_event"),
            memory_limit: reader.memory_limit(),
            lease: reader.duration("lease", &LEASE),
            stale_after: reader.duration("stale_after", &STALE_AFTER),
            max_recoveries: reader.count("max_recoveries", &RECOVERIES),
            snapshot_every: reader.count("snapshot_every", &SNAPSHOT_EVERY),
            timeouts: reader.timeouts(),
            stale_action: reader.stale_action(),
            retention: reader.duration("retention", &RETENTION),
            audit: reader.audit(),
            storage_reserve: reader.storage_reserve(),
            store_retry: reader.store_retry(),
            shutdown_grace: reader.duration("shutdown_grace", &SHUTDOWN_GRACE),
            shutdown_delay: reader.duration("shutdown_delay", &SHUTDOWN_DELAY),
            log: reader.log(),
            secrets: Some(reader.secrets(environment)),
        })?;
        let database = secret::with_password(settings.database, environment);
        let fallback = usable_fallback(&database, settings.fallback, notices);
        Some(Self { database, fallback, ..settings })
    }
}

/// Reads the address alone, for a client on the same machine.
pub fn read_address(values: &Values) -> Result<ListenAddress, ConfigError> {
    let mut reader = Reader { values, faults: Vec::new() };
    let addr = reader.read("addr", "host:port, such as 127.0.0.1:8080", parse::address);
    addr.ok_or(ConfigError { faults: reader.faults })
}

fn read_pooler(text: &str) -> Result<bool, String> {
    match text.trim() {
        "none" => Ok(false),
        "transaction" => Ok(true),
        _ => Err("not a way of pooling".to_owned()),
    }
}

/// Returns the fallback store, or none with a warning for a file or memory: they are always within
/// reach.
fn usable_fallback(database: &Database, fallback: Fallback, notices: &mut Vec<Notice>) -> Fallback {
    let away = matches!(database, Database::Postgres(_));
    if !away && fallback != Fallback::None {
        notices.push(Notice::warn(
            "RETHREAD_FALLBACK has no effect: DATABASE_URL names no Postgres database".to_owned(),
        ));
    }
    if away { fallback } else { Fallback::None }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let environment = Environment::of(variables.iter().copied());
        let values = Values::resolve(&BTreeMap::new(), &environment)?;
        Settings::read(&values, &environment, &mut Vec::new())
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.addr.to_string(), "127.0.0.1:8080");
        assert!(
            matches!(&settings.database, Database::Sqlite(path) if path.ends_with("rethread.db"))
        );
        assert_eq!(settings.schema, "rethread");
        assert!(!settings.pooler);
        assert_eq!(settings.fallback, Fallback::None);
        assert!(settings.fallback_path.ends_with("rethread-fallback.db"));
        assert_eq!(settings.egress, Egress::Open);
        assert_eq!((settings.max_running, settings.max_queued), (1024, 100_000));
        let edge = &settings.edge;
        let bounds = (edge.max_connections, edge.max_connections_per_address, edge.wrong_keys);
        assert_eq!(bounds, (10_000, 1_000, std::num::NonZeroU32::new(10)));
        assert_eq!(
            (&edge.hosts, &edge.origins),
            (&Vec::new(), &crate::config::CorsOrigins::Named(Vec::new()))
        );
        assert_eq!((settings.max_body, settings.max_event), (4 << 20, 1 << 20));
        assert_eq!((settings.memory_limit, settings.storage_reserve), (None, 32 << 20));
        assert_eq!(settings.lease, Duration::from_secs(5));
        assert_eq!(settings.stale_after, Duration::from_mins(2));
        assert_eq!(settings.max_recoveries, 5);
        assert_eq!(settings.snapshot_every, 200);
        assert_eq!(settings.retention, Duration::from_hours(7 * 24));
        let retry = (Duration::from_millis(25), Duration::from_secs(1));
        assert_eq!(settings.store_retry, retry);
        assert_eq!(settings.shutdown_grace, Duration::from_secs(10));
        assert_eq!(settings.log.filter, "info");
        let programs = &settings.programs;
        assert_eq!((programs.limits.memory, programs.limits.file_size), (2 << 30, 1 << 30));
        assert_eq!((programs.limits.processes, programs.limits.files), (256, 1024));
    }

    #[test]
    fn every_fault_is_named_with_its_value_and_what_is_allowed() {
        let error = read(&[
            ("RETHREAD_LEASE", "soon"),
            ("RETHREAD_MAX_BODY", "big"),
            ("RETHREAD_MAX_RUNNING", "0"),
            ("RETHREAD_STORE_RETRY_INITIAL", "2s"),
            ("RETHREAD_LOG_FORMAT", "xml"),
            ("RETHREAD_FALLBACK", "cloud"),
            ("RETHREAD_POOLER", "session"),
            ("DATABASE_URL", "mysql://u:hunter2@h/d"),
            ("RETHREAD_API_KEYS", "hunter2"),
            ("RETHREAD_EXEC_ENV", "*"),
            ("RETHREAD_EXEC_MEMORY", "1KiB"),
        ])
        .unwrap_err();
        assert_eq!(error.faults.len(), 11, "{error}");
        let text = error.to_string();
        for part in [
            "RETHREAD_LEASE = \"soon\": not a duration; allowed: a duration from 200ms to 10m",
            "RETHREAD_MAX_BODY = \"big\"",
            "RETHREAD_MAX_RUNNING = \"0\": too small; allowed: a whole number from 1",
            "RETHREAD_FALLBACK = \"cloud\": not a store to fall back to; allowed: none, sqlite, memory",
            "allowed: pretty, json",
            "RETHREAD_EXEC_MEMORY = \"1KiB\": too small; allowed: a size from 16MiB to 1TiB, or 0",
            "RETHREAD_POOLER = \"session\": not a way of pooling; allowed: none, transaction",
            "RETHREAD_STORE_RETRY_INITIAL = \"2s\" is longer than RETHREAD_STORE_RETRY_MAX = \"1s\"",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn only_a_database_elsewhere_has_a_fallback() {
        let read = |url: &str| {
            let variables = [("DATABASE_URL", url), ("RETHREAD_FALLBACK", "sqlite")];
            let environment = Environment::of(variables);
            let values = Values::resolve(&BTreeMap::new(), &environment).unwrap();
            let mut notices = Vec::new();
            let settings = Settings::read(&values, &environment, &mut notices).unwrap();
            (settings.fallback, notices.iter().any(|notice| notice.text.contains("FALLBACK")))
        };
        assert_eq!(read("postgres://h/d"), (Fallback::Sqlite, false));
        assert_eq!(read("sqlite://a.db"), (Fallback::None, true));
        assert_eq!(read("memory:"), (Fallback::None, true));
    }

    #[test]
    fn public_address_wants_keys_and_closes_egress() {
        let error = read(&[("RETHREAD_ADDR", "0.0.0.0:8080")]).unwrap_err().to_string();
        assert!(error.contains("RETHREAD_API_KEYS"), "{error}");
        let settings =
            read(&[("RETHREAD_ADDR", "0.0.0.0:8080"), ("RETHREAD_API_KEYS", "ci:secret")]).unwrap();
        assert_eq!(settings.egress, Egress::Public);
    }

    #[test]
    fn an_issuer_of_tokens_stands_for_keys_and_wants_an_audience() {
        let issuer = ("RETHREAD_OIDC_ISSUER", "https://id.example.com/realms/a");
        let audience = ("RETHREAD_OIDC_AUDIENCE", "rethread");
        let settings = read(&[("RETHREAD_ADDR", "0.0.0.0:8080"), issuer, audience]).unwrap();
        let expected = OidcSettings {
            issuer: issuer.1.to_owned(),
            audience: audience.1.to_owned(),
            role_claim: "rethread_role".to_owned(),
            default_role: None,
            namespace_claim: "rethread_namespace".to_owned(),
        };
        assert_eq!(settings.oidc, Some(expected));
        assert_eq!(read(&[]).unwrap().oidc, None);
        for (variables, told) in [
            (vec![issuer], "RETHREAD_OIDC_AUDIENCE is not set"),
            (vec![audience], "RETHREAD_OIDC_ISSUER is not"),
            (vec![("RETHREAD_OIDC_ISSUER", "http://id.example.com"), audience], "loopback"),
            (vec![issuer, audience, ("RETHREAD_OIDC_DEFAULT_ROLE", "root")], "not a role"),
            (vec![("RETHREAD_OIDC_ISSUER", "https://id.example.com/?a"), audience], "a query"),
        ] {
            let error = read(&variables).unwrap_err();
            assert!(error.faults.len() == 1 && error.to_string().contains(told), "{error}");
        }
    }

    #[test]
    fn secrets_come_by_name_and_stay_out_of_debug() {
        let settings = read(&[("RETHREAD_SECRET_TOKEN", "hunter2")]).unwrap();
        assert_eq!(settings.secrets["TOKEN"].expose_secret(), "hunter2");
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
