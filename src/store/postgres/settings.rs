//! The settings of connections: URL, schema, session settings, pools by purpose.

use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use crate::store::OpenError;

use super::pool::{Ask, Pool};

/// Connections that write the journal: two kept two cores busy, four were slower.
pub(super) const WRITERS: u32 = 2;
/// Connections for all else: claims and their loads, messages, snapshots, notifications.
const GENERAL: u32 = 7;
/// Connections for what readers are shown of single threads: however much they read, nothing else waits.
pub(super) const READERS: u32 = 6;
/// Connections for lists and counts that clients ask for: however many ask for however much, the claims,
/// messages and reads of everybody else go on beside them.
const LISTS: u32 = 3;
/// Connections for heartbeats alone: slow reads must not cost a replica its threads. A second one
/// for the next beat while the first waits for an answer that does not come.
const LEASES: u32 = 2;
/// Connections for notifications: one sends them all, in their order.
const HINTS: u32 = 1;
/// Longest wait for a connection, well within the five seconds after which a client gets 503.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest name Postgres keeps without cutting it.
const MAX_SCHEMA: usize = 63;
/// Statements kept prepared per connection; there are about forty.
const STATEMENTS: usize = 128;

/// Settings of every statement: of a session, or where there is none, of its transaction.
const SETTINGS: [(&str, &str); 5] = [
    ("statement_timeout", "10s"),
    ("lock_timeout", "2s"),
    ("idle_in_transaction_session_timeout", "10s"),
    ("synchronous_commit", "on"),
    // "Already exists, skipping" at every start is news to nobody.
    ("client_min_messages", "warning"),
];
/// Settings of lists instead: one that takes longer than its caller waits must not go on without him,
/// and planning a list by eight labels must not take longer than reading it (an exhaustive search for the
/// best of all orders of nine tables took 240 ms, this one 10 ms, and the plans were as good).
const LIST_SETTINGS: [(&str, &str); 2] =
    [("statement_timeout", "3s"), ("join_collapse_limit", "4")];
/// Settings of reads for readers instead: none goes on for long after its reader has gone.
const READER_SETTINGS: [(&str, &str); 1] = [("statement_timeout", "3s")];
/// Settings of heartbeats as well: what looks for room on the disk must not find it in memory.
const LEASE_SETTINGS: [(&str, &str); 1] = [("work_mem", "64kB")];
/// Leaves the planner nothing but indexes.
const BY_INDEX: [(&str, &str); 3] =
    [("enable_seqscan", "off"), ("enable_hashjoin", "off"), ("enable_mergejoin", "off")];

/// The data that is needed to reach a database.
#[derive(Debug, Clone)]
pub struct PostgresSettings {
    /// `postgres://user:password@host:port/database?sslmode=…`.
    pub url: SecretString,
    /// The schema that holds our tables; made if it is missing.
    pub schema: String,
    /// Whether connections go through a pooler in transaction mode, which leaves no session: each
    /// statement is a transaction with its own settings then, and nothing is prepared, listened to
    /// or locked beyond it.
    pub pooler: bool,
}

/// The schema's name, checked, and the way to put it into statements.
#[derive(Debug, Clone)]
pub(super) struct Schema(String);

impl Schema {
    fn parse(name: &str) -> Result<Self, OpenError> {
        let first = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
        let rest = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if first && rest && name.len() <= MAX_SCHEMA && !name.starts_with("pg_") {
            return Ok(Self(name.to_owned()));
        }
        Err(OpenError::Settings(format!(
            "{name:?} can't be the schema's name: it must match [a-z_][a-z0-9_]{{0,62}} \
             and not begin with pg_"
        )))
    }

    /// The name.
    pub(super) fn name(&self) -> &str {
        &self.0
    }

    /// A statement with every `@` replaced by the schema, so that it needs no session setting.
    pub(super) fn sql(&self, text: &str) -> AssertSqlSafe<String> {
        AssertSqlSafe(text.replace('@', &format!("{}.", self.0)))
    }
}

/// Settings that were checked.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) schema: Schema,
    options: PgConnectOptions,
    pooler: bool,
}

impl Target {
    /// Checks settings.
    pub(super) fn parse(settings: &PostgresSettings) -> Result<Self, OpenError> {
        let schema = Schema::parse(&settings.schema)?;
        let options = PgConnectOptions::from_str(settings.url.expose_secret())
            .map_err(|_| OpenError::Settings("the database's URL can't be read".to_owned()))?
            .application_name("rethread");
        Ok(Self { schema, options, pooler: settings.pooler })
    }

    /// The role and database, for messages.
    pub(super) fn names(&self) -> (&str, &str) {
        let user = self.options.get_username();
        (user, self.options.get_database().unwrap_or(user))
    }

    /// Options of a general connection.
    pub(super) fn options(&self) -> PgConnectOptions {
        if self.pooler {
            // A pooler refuses parameters that it does not know at the start.
            return self.options.clone().statement_cache_capacity(0).extra_float_digits(None);
        }
        let lasting = [
            ("search_path", self.schema.name()),
            ("tcp_keepalives_idle", "10"),
            ("tcp_keepalives_interval", "5"),
            ("tcp_keepalives_count", "3"),
            ("tcp_user_timeout", "10s"),
        ];
        let options = self.options.clone().statement_cache_capacity(STATEMENTS);
        options.options(SETTINGS).options(lasting)
    }

    /// The pool that writes the journal. A plan made while the table was small would scan it for
    /// every batch for ever, so that plans other than by index are ruled out.
    pub(super) fn writers(&self) -> Pool {
        let pool = PgPoolOptions::new().max_connections(WRITERS).acquire_timeout(ACQUIRE_TIMEOUT);
        if self.pooler {
            let pool = Pool::new(pool, self.options(), Ask::InDoubt);
            return pool.unnamed(SETTINGS.iter().chain(&BY_INDEX));
        }
        let planned = BY_INDEX.iter().chain(&[("plan_cache_mode", "force_generic_plan")]);
        Pool::new(pool, self.options().options(planned.copied()), Ask::InDoubt)
    }

    /// The pool for heartbeats.
    pub(super) fn leases(&self) -> Pool {
        self.pool(LEASES, &LEASE_SETTINGS)
    }

    /// The pool for all else.
    pub(super) fn general(&self) -> Pool {
        self.pool(GENERAL, &[])
    }

    /// The pool for what readers are shown.
    pub(super) fn readers(&self) -> Pool {
        self.pool(READERS, &READER_SETTINGS)
    }

    /// The pool for lists that clients ask for.
    pub(super) fn lists(&self) -> Pool {
        self.pool(LISTS, &LIST_SETTINGS)
    }

    fn pool(&self, connections: u32, more: &'static [(&'static str, &'static str)]) -> Pool {
        let pool = PgPoolOptions::new().max_connections(connections);
        let pool = pool.acquire_timeout(ACQUIRE_TIMEOUT);
        if self.pooler {
            let pool = Pool::new(pool, self.options(), Ask::Always);
            return pool.unnamed(SETTINGS.iter().chain(more));
        }
        Pool::new(pool, self.options().options(more.iter().copied()), Ask::Always)
    }

    /// The pool for notifications, where there is a session to hear them. They are hints: that
    /// nobody's commit waits for theirs matters more than that none is lost.
    pub(super) fn hints(&self) -> Option<Pool> {
        let pool = PgPoolOptions::new().max_connections(HINTS).acquire_timeout(ACQUIRE_TIMEOUT);
        let options = self.options().options([("synchronous_commit", "off")]);
        (!self.pooler).then(|| Pool::new(pool, options, Ask::InDoubt))
    }

    /// A pool of the driver for one connection that is kept.
    pub(super) fn single(&self) -> PgPool {
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE_TIMEOUT);
        pool.max_lifetime(None).idle_timeout(None).connect_lazy_with(self.options())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schema_names_are_plain_identifiers() {
        for good in ["rethread", "_a1", "t_2"] {
            assert_eq!(Schema::parse(good).unwrap().name(), good);
        }
        for bad in ["", "1a", "a-b", "A", "a b", "a\"; DROP", "pg_x", &"x".repeat(64)] {
            assert!(Schema::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn password_is_in_no_message() {
        let settings = PostgresSettings {
            url: SecretString::from("postgres://u:hunter2@h:notaport/d"),
            schema: "rethread".to_owned(),
            pooler: false,
        };
        let shown = format!("{settings:?} {:?}", Target::parse(&settings).unwrap_err());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
