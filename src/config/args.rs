//! The one definition of every setting: flag, variable, default and help.
//!
//! `--help`, `.env.example` and the layers of [`super::Values`] are all made from these
//! arguments. Values stay text here; [`super::Settings`] reads them, so that every fault is named
//! in one answer and no secret ends up in a parser's message. Only settings that do something in
//! this version are listed.

use clap::Args;

/// Defines the settings: help, name, variable, the value's name, and the default with its reason.
macro_rules! settings {
    ($($(#[$help:meta])* $id:ident: $variable:literal, $value:literal $(= $default:literal)?;)*) => {
        /// Settings of the server.
        #[derive(Debug, Clone, Default, Args)]
        pub struct ServerArgs {
            $(
                $(#[$help])*
                #[arg(long, env = $variable, hide_env_values = true, value_name = $value)]
                $(#[arg(default_value = $default)])?
                pub $id: Option<String>,
            )*
        }
    };
}

settings! {
    /// Configuration file (TOML); `rethread.toml` is read if it is there
    config: "RETHREAD_CONFIG", "FILE";

    /// Listen address; port 0 picks a free one and prints it
    // Loopback, so that a first start on a laptop opens nothing to the network.
    addr: "RETHREAD_ADDR", "HOST:PORT" = "127.0.0.1:8080";

    /// Where threads are kept: `postgres://user:password@host/database`, `sqlite://path` or
    /// `memory:` (nothing survives the process)
    // A file beside the process: durable without any set-up.
    database_url: "DATABASE_URL", "URL" = "sqlite://rethread.db";

    /// Schema in Postgres; made if it is not there
    // A schema of our own, so that the server can share a database with others.
    database_schema: "DATABASE_SCHEMA", "NAME" = "rethread";

    /// `transaction` if Postgres is reached through a pooler in transaction mode (PgBouncer): nothing
    /// is prepared, listened to or locked beyond a transaction then, so that other replicas are
    /// noticed by looking alone; else `none`
    // A direct connection, which is quicker.
    pooler: "RETHREAD_POOLER", "MODE" = "none";

    /// What to use if a Postgres database can't be reached at start: `none` (wait, then give up),
    /// `sqlite` (a file of this replica, moved to the database at a later start) or `memory`
    /// (nothing survives the process)
    // Starting on another store than the one asked for has to be asked for.
    fallback: "RETHREAD_FALLBACK", "STORE" = "none";

    /// The file of `RETHREAD_FALLBACK=sqlite`; if it is there at a start that reaches the database,
    /// its threads are moved there
    // Beside the process, like the default database, and never mistaken for it.
    fallback_path: "RETHREAD_FALLBACK_PATH", "FILE" = "rethread-fallback.db";

    /// API keys as `name:secret` or `name:secret:role[:namespace]`, separated by commas, or `@file`
    /// with one a line; a role is `reader`, `invoker`, `operator` or `admin` (the default); required
    /// unless the address is loopback
    api_keys: "RETHREAD_API_KEYS", "KEYS";

    /// OpenID Connect issuer whose bearer tokens are taken beside API keys: an https URL, exactly as its
    /// tokens name it in `iss` (http on loopback hosts alone); with it every caller needs a key or a token
    oidc_issuer: "RETHREAD_OIDC_ISSUER", "URL";

    /// What tokens must have in `aud`; required with `RETHREAD_OIDC_ISSUER`
    oidc_audience: "RETHREAD_OIDC_AUDIENCE", "NAME";

    /// The claim whose text or list names a role, of which the highest counts: a name, a path such as
    /// `realm_access.roles`, or a JSON pointer
    // A name of our own, which no issuer has for anything else.
    oidc_role_claim: "RETHREAD_OIDC_ROLE_CLAIM", "CLAIM" = "rethread_role";

    /// The role of a token that names none; without it such a token is answered with 403
    oidc_default_role: "RETHREAD_OIDC_DEFAULT_ROLE", "ROLE";

    /// The claim that names the namespace, written as the one for the role; a token without it is one of
    /// `default`
    oidc_namespace_claim: "RETHREAD_OIDC_NAMESPACE_CLAIM", "CLAIM" = "rethread_namespace";

    /// Names this server goes by, separated by commas; a request for another is answered with 421. With
    /// API keys, by default any; without them always loopback names and the address listened on
    hosts: "RETHREAD_HOSTS", "NAMES";

    /// Origins of pages that may call from a browser, separated by commas, or `*` for all, without
    /// cookies; none by default
    cors_origins: "RETHREAD_CORS_ORIGINS", "ORIGINS";

    /// Connections at once; more are not accepted but for health probes. Fewer where the system lets
    /// the process open few files
    // Connections. What readers of streams fill a small machine's memory with.
    max_connections: "RETHREAD_MAX_CONNECTIONS", "COUNT" = "10000";

    /// Connections at once from one address (of IPv6, from one network of 64 bits)
    // Connections. Roomy for a proxy or an office behind one address, too few to shut others out.
    max_connections_per_address: "RETHREAD_MAX_CONNECTIONS_PER_ADDRESS", "COUNT" = "1000";

    /// Wrong API keys a minute that are looked at from one address (of IPv6, one network of 64 bits);
    /// beyond, only keys that were right from there before are, and others are answered with 429; 0:
    /// all are looked at
    // Wrong keys a minute. A person mistypes fewer; at this rate nobody guesses a key in a lifetime that is
    // not in a list of common words.
    wrong_keys: "RETHREAD_WRONG_KEYS", "COUNT" = "10";

    /// Requests a second of each API key on this replica, as `50`, or as `50:200` with how many may come
    /// at once after a pause; beyond, 429; no bound by default
    quota_key_rate: "RETHREAD_QUOTA_KEY_RATE", "RATE";

    /// Requests of each API key that this replica answers at once; an event stream is one until it
    /// ends; no bound by default
    quota_key_concurrency: "RETHREAD_QUOTA_KEY_CONCURRENCY", "COUNT";

    /// Bytes of request bodies a second that this replica takes of each API key; as many as the
    /// largest body (`RETHREAD_MAX_BODY`) may come at once; no bound by default
    quota_key_bytes: "RETHREAD_QUOTA_KEY_BYTES", "SIZE";

    /// The same as `RETHREAD_QUOTA_KEY_RATE` for all callers of a namespace together
    quota_namespace_rate: "RETHREAD_QUOTA_NAMESPACE_RATE", "RATE";

    /// The same as `RETHREAD_QUOTA_KEY_CONCURRENCY` for all callers of a namespace together
    quota_namespace_concurrency: "RETHREAD_QUOTA_NAMESPACE_CONCURRENCY", "COUNT";

    /// The same as `RETHREAD_QUOTA_KEY_BYTES` for all callers of a namespace together
    quota_namespace_bytes: "RETHREAD_QUOTA_NAMESPACE_BYTES", "SIZE";

    /// Programs that `exec` steps may start, by name, separated by commas; none by default
    exec_allow: "RETHREAD_EXEC_ALLOW", "PROGRAMS";

    /// Variables that `exec` steps may give their programs beyond ordinary ones, as names or
    /// `PREFIX_*`, separated by commas; what makes programs run other code (`PATH`, `LD_*`,
    /// `PYTHON*`, ...) is refused unless it is named here
    exec_env: "RETHREAD_EXEC_ENV", "NAMES";

    /// Most memory that each process of an `exec` step's program may write to; 0: no bound
    // Room for a compiler or a model's tokenizer, not for all that a small machine has.
    exec_memory: "RETHREAD_EXEC_MEMORY", "SIZE" = "2GiB";

    /// Most processes of one program at a time; it is killed beyond; 0: no bound
    // A build with a dozen workers has some fifty.
    exec_processes: "RETHREAD_EXEC_PROCESSES", "COUNT" = "256";

    /// Most files that each of them may have open; 0: as many as the server
    // The usual soft limit: some programs look at every number below it.
    exec_files: "RETHREAD_EXEC_FILES", "COUNT" = "1024";

    /// Largest file that programs may write; 0: no bound
    // A large archive; more fills the disk that the journal is on.
    exec_file_size: "RETHREAD_EXEC_FILE_SIZE", "SIZE" = "1GiB";

    /// Where steps may connect: `open`, `public` (no private, loopback, link-local or metadata
    /// address), or hosts and CIDRs separated by commas; by default `open` on a loopback address,
    /// else `public`
    egress: "RETHREAD_EGRESS", "POLICY";

    /// Threads this replica drives at once; more wait in `queued`
    // Threads. What two cores drive with room to spare.
    max_running: "RETHREAD_MAX_RUNNING", "COUNT" = "1024";

    /// Threads that may wait; beyond, an invoke is answered with 429
    // Threads. About a minute of work at full speed; beyond it, waiting helps nobody.
    max_queued: "RETHREAD_MAX_QUEUED", "COUNT" = "100000";

    /// Largest request body; a larger one is answered with 413
    // Roomy for a workflow with its input, small enough that a few hundred fit in memory at once.
    max_body: "RETHREAD_MAX_BODY", "SIZE" = "4MiB";

    /// Largest event; a step with a larger output fails with `payload_too_large`
    // One journal record; larger outputs belong in a blob store with a link in the journal.
    max_event: "RETHREAD_MAX_EVENT", "SIZE" = "1MiB";

    /// Memory beyond which calls are answered with 503 (`overloaded`) while what runs goes on; by
    /// default 70 % of what the machine, or the cgroup, has
    memory_limit: "RETHREAD_MEMORY_LIMIT", "SIZE";

    /// How long a silent replica keeps its threads
    // Long enough to ride out a garbage-collecting database, short enough that nobody waits long.
    lease: "RETHREAD_LEASE", "DURATION" = "5s";

    /// Free space that new threads leave on the disk of an SQLite file, so that running ones can write
    /// their ends; below it what would add a thread or a workflow is answered with 507 (`storage_full`)
    // The largest batch of writes, once in the log and once in the database.
    storage_reserve: "RETHREAD_STORAGE_RESERVE", "SIZE" = "32MiB";

    /// Before a call that the database failed for now is made a second time; doubles from then on
    // A lost connection is replaced within it; a crowd of callers does not come back all at once.
    store_retry_initial: "RETHREAD_STORE_RETRY_INITIAL", "DURATION" = "25ms";

    /// Longest wait between two tries of a call that the database fails for now
    // A database that is back is noticed within it, and one that is starting is left to start.
    store_retry_max: "RETHREAD_STORE_RETRY_MAX", "DURATION" = "1s";

    /// What bounds an attempt whose step has no `timeout`; 0: nothing does
    // Longer than calls and programs of ordinary workflows take; what takes longer says so.
    step_timeout: "RETHREAD_STEP_TIMEOUT", "DURATION" = "30m";

    /// After how long an attempt whose step has no `warnAfter` is worth a `step_timeout_warning`;
    /// 0: never
    // Early enough that a person can look before the attempt is ended.
    step_warn_after: "RETHREAD_STEP_WARN_AFTER", "DURATION" = "20m";

    /// `report` tells of an attempt that has been silent for `RETHREAD_STALE_AFTER` and leaves it
    /// alone;
    /// `retry` cancels it as well, and its retry policy decides what follows
    // Nothing that may still be at work is ended unless that was asked for.
    stale_action: "RETHREAD_STALE_ACTION", "ACTION" = "report";

    /// A running thread, or an attempt, with no sign of life for this long counts as stuck
    // Longer than any step that reports progress is silent.
    stale_after: "RETHREAD_STALE_AFTER", "DURATION" = "2m";

    /// How often a thread may be lost with its replica without getting on before it is paused and a
    /// person is asked
    // More takeovers than bad luck explains: the thread itself is likely what kills replicas.
    max_recoveries: "RETHREAD_MAX_RECOVERIES", "COUNT" = "5";

    /// Events after which a thread's state is stored beside its journal, so that less of it has to
    /// be read; 0 stores it only when a thread is paused
    // Events. Few enough to be read in some milliseconds at a load, too many for a small workflow
    // ever to pay for a snapshot.
    snapshot_every: "RETHREAD_SNAPSHOT_EVERY", "COUNT" = "200";

    /// What `timeout`, `warnAfter` and `heartbeatTimeout` of steps and the `timeout` of workflows are
    /// multiplied by on this server, 0.1 to 100; waits for signals and people stay as written
    // Bounds as workflows write them: whoever reads `"timeout": "10s"` expects ten seconds.
    timeout_multiplier: "RETHREAD_TIMEOUT_MULTIPLIER", "FACTOR" = "1";

    /// How long ended threads are kept
    // A week, so that Monday's questions about last Tuesday have answers.
    retention: "RETHREAD_RETENTION", "DURATION" = "7d";

    /// How long entries of the audit list are kept, whatever becomes of threads
    audit_retention: "RETHREAD_AUDIT_RETENTION", "DURATION" = "90d";

    /// `true` tells the audit list of reads of inputs and outputs as well
    audit_reads: "RETHREAD_AUDIT_READS", "BOOL" = "false";

    /// Log level, or levels by target such as `info,rethread::store=debug`
    // What an operator wants to see without asking.
    log: "RETHREAD_LOG", "FILTER" = "info";

    /// `pretty` or `json`; by default `pretty` on a terminal, else `json`
    log_format: "RETHREAD_LOG_FORMAT", "FORMAT";

    /// `true` logs the path every thread takes through its steps (target `rethread::flow`)
    log_flows: "LOG_FLOWS", "BOOL" = "false";

    /// How long running steps get at SIGTERM and SIGINT; a second signal ends the process at once
    // What container runtimes leave between SIGTERM and SIGKILL by default.
    shutdown_grace: "RETHREAD_SHUTDOWN_GRACE", "DURATION" = "10s";

    /// How long the server goes on after SIGTERM, not ready any more; SIGINT ends it without this
    // What a load balancer needs to notice, with two looks a few seconds apart.
    shutdown_delay: "RETHREAD_SHUTDOWN_DELAY", "DURATION" = "5s";
}
