-- The same tables as in Postgres: snapshots, recoveries, interventions and tallies.
CREATE TABLE snapshots (
    thread_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    version INTEGER NOT NULL,
    at INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY (thread_id, seq)
) STRICT;

CREATE TABLE recoveries (
    thread_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    cause TEXT NOT NULL,
    previous_owner INTEGER NOT NULL,
    replica TEXT NOT NULL,
    from_seq INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    strategy TEXT,
    to_seq INTEGER,
    duration_ms INTEGER,
    result TEXT,
    detail BLOB,
    PRIMARY KEY (thread_id, epoch)
) STRICT, WITHOUT ROWID;
CREATE INDEX recoveries_since ON recoveries (started_at);

CREATE TABLE interventions (
    id TEXT PRIMARY KEY NOT NULL,
    thread_id TEXT NOT NULL,
    opened_at INTEGER NOT NULL,
    resolved_at INTEGER,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX interventions_newest ON interventions (opened_at, id);
CREATE INDEX interventions_open ON interventions (opened_at, id) WHERE resolved_at IS NULL;
CREATE INDEX interventions_of_thread ON interventions (thread_id, opened_at, id);

-- Counters by the hour since the Unix epoch.
CREATE TABLE tallies (
    hour INTEGER NOT NULL,
    name TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (hour, name)
) STRICT, WITHOUT ROWID;
