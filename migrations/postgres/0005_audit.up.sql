-- What was refused, deleted and changed. Only adds: a server of an older version goes on beside it.
CREATE TABLE audit (
    id text COLLATE "C" PRIMARY KEY,
    at bigint NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    by_name text COLLATE "C" NOT NULL,
    action text COLLATE "C" NOT NULL,
    body bytea NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX audit_newest ON audit (namespace, at, id);
CREATE INDEX audit_oldest ON audit (at);
