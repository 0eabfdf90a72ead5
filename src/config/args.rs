//! The one definition of every setting: flag, variable, default and help.
//!
//! `--help`, `.env.example` and the layers of [`super::Values`] are all made from these
//! arguments. Values stay text here; [`super::Settings`] reads them, so that every fault is named
//! in one answer and no secret ends up in a parser's message. Only settings that do something in
//! this version are listed.

use clap::Args;

/// Loopback, so that a first start on a laptop opens nothing to the network.
const ADDR: &str = "127.0.0.1:8080";
/// A file beside the process: durable without any set-up.
const DATABASE_URL: &str = "sqlite://rethread.db";
/// A schema of our own, so that the server can share a database with others.
const DATABASE_SCHEMA: &str = "rethread";
/// A direct connection, which is quicker.
const POOLER: &str = "none";
/// Starting on another store than the one asked for has to be asked for.
const FALLBACK: &str = "none";
/// Beside the process, like the default database, and never mistaken for it.
const FALLBACK_PATH: &str = "rethread-fallback.db";
/// A name of our own, which no issuer has for anything else.
const OIDC_ROLE_CLAIM: &str = "rethread_role";
const OIDC_NAMESPACE_CLAIM: &str = "rethread_namespace";
/// Connections. What readers of streams fill a small machine's memory with.
const MAX_CONNECTIONS: &str = "10000";
/// Connections. Roomy for a proxy or an office behind one address, too few to shut others out.
const MAX_CONNECTIONS_PER_ADDRESS: &str = "1000";
/// Wrong keys a minute. A person mistypes fewer; at this rate nobody guesses a key in a lifetime that is
/// not in a list of common words.
const WRONG_KEYS: &str = "10";
/// Room for a compiler or a model's tokenizer, not for all that a small machine has.
const EXEC_MEMORY: &str = "2GiB";
/// A build with a dozen workers has some fifty.
const EXEC_PROCESSES: &str = "256";
/// The usual soft limit: some programs look at every number below it.
const EXEC_FILES: &str = "1024";
/// A large archive; more fills the disk that the journal is on.
const EXEC_FILE_SIZE: &str = "1GiB";
/// Threads. What two cores drive with room to spare.
const MAX_RUNNING: &str = "1024";
/// Threads. About a minute of work at full speed; beyond it, waiting helps nobody.
const MAX_QUEUED: &str = "100000";
/// Roomy for a workflow with its input, small enough that a few hundred fit in memory at once.
const MAX_BODY: &str = "4MiB";
/// One journal record; larger outputs belong in a blob store with a link in the journal.
const MAX_EVENT: &str = "1MiB";
/// Long enough to ride out a garbage-collecting database, short enough that nobody waits long.
const LEASE: &str = "5s";
/// Longer than any step that reports progress is silent.
const STALE_AFTER: &str = "2m";
/// More takeovers than bad luck explains: the thread itself is likely what kills replicas.
const MAX_RECOVERIES: &str = "5";
/// Events. Few enough to be read in some milliseconds at a load, too many for a small workflow
/// ever to pay for a snapshot.
const SNAPSHOT_EVERY: &str = "200";
/// Bounds as workflows write them: whoever reads `"timeout": "10s"` expects ten seconds.
const TIMEOUT_MULTIPLIER: &str = "1";
/// Longer than calls and programs of ordinary workflows take; what takes longer says so.
const STEP_TIMEOUT: &str = "30m";
/// Early enough that a person can look before the attempt is ended.
const STEP_WARN_AFTER: &str = "20m";
/// Nothing that may still be at work is ended unless that was asked for.
const STALE_ACTION: &str = "report";
/// A week, so that Monday's questions about last Tuesday have answers.
const RETENTION: &str = "7d";
const AUDIT_RETENTION: &str = "90d";
/// A lost connection is replaced within it; a crowd of callers does not come back all at once.
const STORE_RETRY_INITIAL: &str = "25ms";
/// A database that is back is noticed within it, and one that is starting is left to start.
const STORE_RETRY_MAX: &str = "1s";
/// What an operator wants to see without asking.
const LOG: &str = "info";
/// What container runtimes leave between SIGTERM and SIGKILL by default.
const SHUTDOWN_GRACE: &str = "10s";

/// Settings of the server.
#[derive(Debug, Clone, Default, Args)]
pub struct ServerArgs {
    /// Configuration file (TOML); `rethread.toml` is read if it is there
    #[arg(long, env = "RETHREAD_CONFIG", hide_env_values = true, value_name = "FILE")]
    pub config: Option<String>,

    /// Listen address; port 0 picks a free one and prints it
    #[arg(long, env = "RETHREAD_ADDR", hide_env_values = true, value_name = "HOST:PORT")]
    #[arg(default_value = ADDR)]
    pub addr: Option<String>,

    /// Where threads are kept: `postgres://user:password@host/database`, `sqlite://path` or
    /// `memory:` (nothing survives the process)
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    #[arg(default_value = DATABASE_URL)]
    pub database_url: Option<String>,

    /// Schema in Postgres; made if it is not there
    #[arg(long, env = "DATABASE_SCHEMA", hide_env_values = true, value_name = "NAME")]
    #[arg(default_value = DATABASE_SCHEMA)]
    pub database_schema: Option<String>,

    /// `transaction` if Postgres is reached through a pooler in transaction mode (PgBouncer): nothing
    /// is prepared, listened to or locked beyond a transaction then, so that other replicas are
    /// noticed by looking alone; else `none`
    #[arg(long, env = "RETHREAD_POOLER", hide_env_values = true, value_name = "MODE")]
    #[arg(default_value = POOLER)]
    pub pooler: Option<String>,

    /// What to use if a Postgres database can't be reached at start: `none` (wait, then give up),
    /// `sqlite` (a file of this replica, moved to the database at a later start) or `memory`
    /// (nothing survives the process)
    #[arg(long, env = "RETHREAD_FALLBACK", hide_env_values = true, value_name = "STORE")]
    #[arg(default_value = FALLBACK)]
    pub fallback: Option<String>,

    /// The file of `RETHREAD_FALLBACK=sqlite`; if it is there at a start that reaches the database,
    /// its threads are moved there
    #[arg(long, env = "RETHREAD_FALLBACK_PATH", hide_env_values = true, value_name = "FILE")]
    #[arg(default_value = FALLBACK_PATH)]
    pub fallback_path: Option<String>,

    /// API keys as `name:secret` or `name:secret:role[:namespace]`, separated by commas, or `@file`
    /// with one a line; a role is `reader`, `invoker`, `operator` or `admin` (the default); required
    /// unless the address is loopback
    #[arg(long, env = "RETHREAD_API_KEYS", hide_env_values = true, value_name = "KEYS")]
    pub api_keys: Option<String>,

    /// OpenID Connect issuer whose bearer tokens are taken beside API keys: an https URL, exactly as its
    /// tokens name it in `iss` (http on loopback hosts alone); with it every caller needs a key or a token
    #[arg(long, env = "RETHREAD_OIDC_ISSUER", hide_env_values = true, value_name = "URL")]
    pub oidc_issuer: Option<String>,

    /// What tokens must have in `aud`; required with `RETHREAD_OIDC_ISSUER`
    #[arg(long, env = "RETHREAD_OIDC_AUDIENCE", hide_env_values = true, value_name = "NAME")]
    pub oidc_audience: Option<String>,

    /// The claim whose text or list names a role, of which the highest counts: a name, a path such as
    /// `realm_access.roles`, or a JSON pointer
    #[arg(long, env = "RETHREAD_OIDC_ROLE_CLAIM", hide_env_values = true, value_name = "CLAIM")]
    #[arg(default_value = OIDC_ROLE_CLAIM)]
    pub oidc_role_claim: Option<String>,

    /// The role of a token that names none; without it such a token is answered with 403
    #[arg(long, env = "RETHREAD_OIDC_DEFAULT_ROLE", hide_env_values = true, value_name = "ROLE")]
    pub oidc_default_role: Option<String>,

    /// The claim that names the namespace, written as the one for the role; a token without it is one of
    /// `default`
    #[arg(long, env = "RETHREAD_OIDC_NAMESPACE_CLAIM", hide_env_values = true)]
    #[arg(value_name = "CLAIM", default_value = OIDC_NAMESPACE_CLAIM)]
    pub oidc_namespace_claim: Option<String>,

    /// Names this server goes by, separated by commas; a request for another is answered with 421. With
    /// API keys, by default any; without them always loopback names and the address listened on
    #[arg(long, env = "RETHREAD_HOSTS", hide_env_values = true, value_name = "NAMES")]
    pub hosts: Option<String>,

    /// Origins of pages that may call from a browser, separated by commas, or `*` for all, without
    /// cookies; none by default
    #[arg(long, env = "RETHREAD_CORS_ORIGINS", hide_env_values = true, value_name = "ORIGINS")]
    pub cors_origins: Option<String>,

    /// Connections at once; more are not accepted but for health probes. Fewer where the system lets
    /// the process open few files
    #[arg(long, env = "RETHREAD_MAX_CONNECTIONS", hide_env_values = true, value_name = "COUNT")]
    #[arg(default_value = MAX_CONNECTIONS)]
    pub max_connections: Option<String>,

    /// Connections at once from one address (of IPv6, from one network of 64 bits)
    #[arg(long, env = "RETHREAD_MAX_CONNECTIONS_PER_ADDRESS", hide_env_values = true)]
    #[arg(value_name = "COUNT", default_value = MAX_CONNECTIONS_PER_ADDRESS)]
    pub max_connections_per_address: Option<String>,

    /// Wrong API keys a minute that are looked at from one address (of IPv6, one network of 64 bits);
    /// beyond, only keys that were right from there before are, and others are answered with 429; 0:
    /// all are looked at
    #[arg(long, env = "RETHREAD_WRONG_KEYS", hide_env_values = true, value_name = "COUNT")]
    #[arg(default_value = WRONG_KEYS)]
    pub wrong_keys: Option<String>,

    /// Requests a second of each API key on this replica, as `50`, or as `50:200` with how many may come
    /// at once after a pause; beyond, 429; no bound by default
    #[arg(long, env = "RETHREAD_QUOTA_KEY_RATE", hide_env_values = true, value_name = "RATE")]
    pub quota_key_rate: Option<String>,

    /// Requests of each API key that this replica answers at once; an event stream is one until it
    /// ends; no bound by default
    #[arg(long, env = "RETHREAD_QUOTA_KEY_CONCURRENCY", hide_env_values = true)]
    #[arg(value_name = "COUNT")]
    pub quota_key_concurrency: Option<String>,

    /// Bytes of request bodies a second that this replica takes of each API key; as many as the
    /// largest body (`RETHREAD_MAX_BODY`) may come at once; no bound by default
    #[arg(long, env = "RETHREAD_QUOTA_KEY_BYTES", hide_env_values = true, value_name = "SIZE")]
    pub quota_key_bytes: Option<String>,

    /// The same as `RETHREAD_QUOTA_KEY_RATE` for all callers of a namespace together
    #[arg(long, env = "RETHREAD_QUOTA_NAMESPACE_RATE", hide_env_values = true)]
    #[arg(value_name = "RATE")]
    pub quota_namespace_rate: Option<String>,

    /// The same as `RETHREAD_QUOTA_KEY_CONCURRENCY` for all callers of a namespace together
    #[arg(long, env = "RETHREAD_QUOTA_NAMESPACE_CONCURRENCY", hide_env_values = true)]
    #[arg(value_name = "COUNT")]
    pub quota_namespace_concurrency: Option<String>,

    /// The same as `RETHREAD_QUOTA_KEY_BYTES` for all callers of a namespace together
    #[arg(long, env = "RETHREAD_QUOTA_NAMESPACE_BYTES", hide_env_values = true)]
    #[arg(value_name = "SIZE")]
    pub quota_namespace_bytes: Option<String>,

    /// Programs that `exec` steps may start, by name, separated by commas; none by default
    #[arg(long, env = "RETHREAD_EXEC_ALLOW", hide_env_values = true, value_name = "PROGRAMS")]
    pub exec_allow: Option<String>,

    /// Variables that `exec` steps may give their programs beyond ordinary ones, as names or
    /// `PREFIX_*`, separated by commas; what makes programs run other code (`PATH`, `LD_*`,
    /// `PYTHON*`, ...) is refused unless it is named here
    #[arg(long, env = "RETHREAD_EXEC_ENV", hide_env_values = true, value_name = "NAMES")]
    pub exec_env: Option<String>,

    /// Most memory that each process of an `exec` step's program may write to; 0: no bound
    #[arg(long, env = "RETHREAD_EXEC_MEMORY", hide_env_values = true, value_name = "SIZE")]
    #[arg(default_value = EXEC_MEMORY)]
    pub exec_memory: Option<String>,

    /// Most processes of one program at a time; it is killed beyond; 0: no bound
    #[arg(long, env = "RETHREAD_EXEC_PROCESSES", hide_env_values = true, value_name = "COUNT")]
    #[arg(default_value = EXEC_PROCESSES)]
    pub exec_processes: Option<String>,

    /// Most files that each of them may have open; 0: as many as the server
    #[arg(long, env = "RETHREAD_EXEC_FILES", hide_env_values = true, value_name = "COUNT")]
    #[arg(default_value = EXEC_FILES)]
    pub exec_files: Option<String>,

    /// Largest file that programs may write; 0: no bound
    #[arg(long, env = "RETHREAD_EXEC_FILE_SIZE", hide_env_values = true, value_name = "SIZE")]
    #[arg(default_value = EXEC_FILE_SIZE)]
    pub exec_file_size: Option<String>,

    /// Where steps may connect: `open`, `public` (no private, loopback, link-local or metadata
    /// address), or hosts and CIDRs separated by commas; by default `open` on a loopback address,
    /// else `public`
    #[arg(long, env = "RETHREAD_EGRESS", hide_env_values = true, value_name = "POLICY")]
    pub egress: Option<String>,

    /// Threads this replica drives at once; more wait in `queued`
    #[arg(long, env = "RETHREAD_MAX_RUNNING", hide_env_values = true, value_name = "COUNT")]
    #[arg(default_value = MAX_RUNNING)]
    pub max_running: Option<String>,

    /// Threads that may wait; beyond, an invoke is answered with 429
    #[arg(long, env = "RETHREAD_MAX_QUEUED", hide_env_values = true, value_name = "COUNT")]
    #[arg(default_value = MAX_QUEUED)]
    pub max_queued: Option<String>,

    /// Largest request body; a larger one is answered with 413
    #[arg(long, env = "RETHREAD_MAX_BODY", hide_env_values = true, value_name = "SIZE")]
    #[arg(default_value = MAX_BODY)]
    pub max_body: Option<String>,

    /// Largest event; a step with a larger output fails with `payload_too_large`
    #[arg(long, env = "RETHREAD_MAX_EVENT", hide_env_values = true, value_name = "SIZE")]
    #[arg(default_value = MAX_EVENT)]
    pub max_event: Option<String>,

    /// Memory beyond which calls are answered with 503 (`overloaded`) while what runs goes on; by
    /// default 70 % of what the machine, or the cgroup, has
    #[arg(long, env = "RETHREAD_MEMORY_LIMIT", hide_env_values = true, value_name = "SIZE")]
    pub memory_limit: Option<String>,

    /// How long a silent replica keeps its threads
    #[arg(long, env = "RETHREAD_LEASE", hide_env_values = true, value_name = "DURATION")]
    #[arg(default_value = LEASE)]
    pub lease: Option<String>,

    /// Before a call that the database failed for now is made a second time; doubles from then on
    #[arg(long, env = "RETHREAD_STORE_RETRY_INITIAL", hide_env_values = true)]
    #[arg(value_name = "DURATION", default_value = STORE_RETRY_INITIAL)]
    pub store_retry_initial: Option<String>,

    /// Longest wait between two tries of a call that the database fails for now
    #[arg(long, env = "RETHREAD_STORE_RETRY_MAX", hide_env_values = true)]
    #[arg(value_name = "DURATION", default_value = STORE_RETRY_MAX)]
    pub store_retry_max: Option<String>,

    /// What bounds an attempt whose step has no `timeout`; 0: nothing does
    #[arg(long, env = "RETHREAD_STEP_TIMEOUT", hide_env_values = true, value_name = "DURATION")]
    #[arg(default_value = STEP_TIMEOUT)]
    pub step_timeout: Option<String>,

    /// After how long an attempt whose step has no `warnAfter` is worth a `step_timeout_warning`;
    /// 0: never
    #[arg(long, env = "RETHREAD_STEP_WARN_AFTER", hide_env_values = true, value_name = "DURATION")]
    #[arg(default_value = STEP_WARN_AFTER)]
    pub step_warn_after: Option<String>,

    /// `report` tells of an attempt that has been silent for `RETHREAD_STALE_AFTER` and leaves it
    /// alone;
    /// `retry` cancels it as well, and its retry policy decides what follows
    #[arg(long, env = "RETHREAD_STALE_ACTION", hide_env_values = true, value_name = "ACTION")]
    #[arg(default_value = STALE_ACTION)]
    pub stale_action: Option<String>,

    /// A running thread, or an attempt, with no sign of life for this long counts as stuck
    #[arg(long, env = "RETHREAD_STALE_AFTER", hide_env_values = true, value_name = "DURATION")]
    #[arg(default_value = STALE_AFTER)]
    pub stale_after: Option<String>,

    /// How often a thread may be lost with its replica without getting on before it is paused and a
    /// person is asked
    #[arg(long, env = "RETHREAD_MAX_RECOVERIES", hide_env_values = true, value_name = "COUNT")]
    #[arg(default_value = MAX_RECOVERIES)]
    pub max_recoveries: Option<String>,

    /// Events after which a thread's state is stored beside its journal, so that less of it has to
    /// be read; 0 stores it only when a thread is paused
    #[arg(long, env = "RETHREAD_SNAPSHOT_EVERY", hide_env_values = true, value_name = "COUNT")]
    #[arg(default_value = SNAPSHOT_EVERY)]
    pub snapshot_every: Option<String>,

    /// What `timeout`, `warnAfter` and `heartbeatTimeout` of steps and the `timeout` of workflows are
    /// multiplied by on this server, 0.1 to 100; waits for signals and people stay as written
    #[arg(long, env = "RETHREAD_TIMEOUT_MULTIPLIER", hide_env_values = true)]
    #[arg(value_name = "FACTOR", default_value = TIMEOUT_MULTIPLIER)]
    pub timeout_multiplier: Option<String>,

    /// How long ended threads are kept
    #[arg(long, env = "RETHREAD_RETENTION", hide_env_values = true, value_name = "DURATION")]
    #[arg(default_value = RETENTION)]
    pub retention: Option<String>,

    /// How long entries of the audit list are kept, whatever becomes of threads
    #[arg(long, env = "RETHREAD_AUDIT_RETENTION", hide_env_values = true, value_name = "DURATION")]
    #[arg(default_value = AUDIT_RETENTION)]
    pub audit_retention: Option<String>,

    /// `true` tells the audit list of reads of inputs and outputs as well
    #[arg(long, env = "RETHREAD_AUDIT_READS", hide_env_values = true, value_name = "BOOL")]
    #[arg(default_value = "false")]
    pub audit_reads: Option<String>,

    /// Log level, or levels by target such as `info,rethread::store=debug`
    #[arg(long, env = "RETHREAD_LOG", hide_env_values = true, value_name = "FILTER")]
    #[arg(default_value = LOG)]
    pub log: Option<String>,

    /// `pretty` or `json`; by default `pretty` on a terminal, else `json`
    #[arg(long, env = "RETHREAD_LOG_FORMAT", hide_env_values = true, value_name = "FORMAT")]
    pub log_format: Option<String>,

    /// `true` logs the path every thread takes through its steps (target `rethread::flow`)
    #[arg(long, env = "LOG_FLOWS", hide_env_values = true, value_name = "BOOL")]
    #[arg(default_value = "false")]
    pub log_flows: Option<String>,

    /// How long running steps get at SIGTERM and SIGINT; a second signal ends the process at once
    #[arg(long, env = "RETHREAD_SHUTDOWN_GRACE", hide_env_values = true, value_name = "DURATION")]
    #[arg(default_value = SHUTDOWN_GRACE)]
    pub shutdown_grace: Option<String>,
}
