-- The same tables as in Postgres. Times are milliseconds since the Unix epoch, except that a
-- lease counts on the monotonic clock of the one process that has the file open.
CREATE TABLE replicas (
    incarnation INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    lease_until INTEGER NOT NULL
) STRICT;

CREATE TABLE threads (
    thread_id TEXT PRIMARY KEY NOT NULL,
    workflow TEXT NOT NULL,
    workflow_version INTEGER,
    definition TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    idempotency_key TEXT,
    owner INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    claims INTEGER NOT NULL DEFAULT 0,
    pending INTEGER NOT NULL DEFAULT 0,
    wake_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    completed_at INTEGER,
    status TEXT NOT NULL,
    summary BLOB NOT NULL,
    metadata BLOB NOT NULL
) STRICT;

CREATE INDEX threads_ready ON threads (wake_at) WHERE owner = 0 AND wake_at IS NOT NULL;
CREATE INDEX threads_owned ON threads (owner) WHERE owner <> 0;
CREATE INDEX threads_newest ON threads (created_at, thread_id);
CREATE INDEX threads_of_workflow ON threads (workflow, created_at, thread_id);
CREATE INDEX threads_ended ON threads (completed_at) WHERE completed_at IS NOT NULL;
CREATE INDEX threads_ended_of_workflow ON threads (workflow, completed_at, thread_id)
    WHERE completed_at IS NOT NULL;

-- One append, one row; seq is the number of its last event.
CREATE TABLE journal (
    thread_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    at INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (thread_id, seq)
) STRICT;

CREATE TABLE labels (
    thread_id TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (thread_id, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX labels_by_value ON labels (key, value, thread_id);

CREATE TABLE idempotency (
    key TEXT PRIMARY KEY NOT NULL,
    request_hash TEXT NOT NULL,
    thread_id TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_expiry ON idempotency (expires_at);

-- Messages to threads; the answer is there once the message was taken.
CREATE TABLE inbox (
    ordinal INTEGER PRIMARY KEY AUTOINCREMENT,
    thread_id TEXT NOT NULL,
    key TEXT NOT NULL,
    body BLOB NOT NULL,
    answer BLOB,
    UNIQUE (thread_id, key)
) STRICT;

CREATE TABLE definitions (
    hash TEXT PRIMARY KEY NOT NULL,
    text BLOB NOT NULL
) STRICT;

CREATE TABLE workflows (
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    definition TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (name, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE secrets (
    name TEXT PRIMARY KEY NOT NULL,
    value BLOB NOT NULL
) STRICT;
