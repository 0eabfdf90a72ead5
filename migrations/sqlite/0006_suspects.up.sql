-- The same as in Postgres: what is known against threads that were lost with their replicas.
CREATE TABLE suspects (
    thread_id TEXT PRIMARY KEY NOT NULL,
    lost_with INTEGER NOT NULL,
    exposed_to INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Milliseconds since the Unix epoch; 0 if the replica was retired.
ALTER TABLE replicas ADD COLUMN seen_at INTEGER NOT NULL DEFAULT 0;
