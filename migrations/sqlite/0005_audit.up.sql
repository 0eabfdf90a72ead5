-- The same table as in Postgres: what was refused, deleted and changed.
CREATE TABLE audit (
    id TEXT PRIMARY KEY NOT NULL,
    at INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    by_name TEXT NOT NULL,
    action TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_newest ON audit (namespace, at, id);
CREATE INDEX audit_oldest ON audit (at);
