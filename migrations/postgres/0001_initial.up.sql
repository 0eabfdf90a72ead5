-- Times are milliseconds since the Unix epoch, except where only this database reads them.
-- Ids and names compare byte by byte ("C"), as the server does.
CREATE FUNCTION now_ms() RETURNS bigint LANGUAGE sql VOLATILE
AS $$ SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint $$;

CREATE SEQUENCE incarnations;

-- One row per registration; the only row that heartbeats touch.
-- A process holds an advisory lock for as long as its session lives, so that peers notice when it is
-- gone. `attended` is set only while that lock is held; `lost` says how a lease came to its end.
CREATE TABLE replicas (
    incarnation bigint PRIMARY KEY DEFAULT nextval('incarnations'),
    name text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    lease_until timestamptz NOT NULL,
    attended boolean NOT NULL DEFAULT false,
    lost text COLLATE "C"
) WITH (fillfactor = 50);

-- What changes at every append stands in no index, so that those updates stay HOT.
CREATE TABLE threads (
    thread_id text COLLATE "C" PRIMARY KEY,
    workflow text COLLATE "C" NOT NULL,
    workflow_version bigint,
    definition text COLLATE "C" NOT NULL,
    request_hash text COLLATE "C" NOT NULL,
    idempotency_key text COLLATE "C",
    owner bigint NOT NULL,
    epoch bigint NOT NULL,
    last_seq bigint NOT NULL,
    claims integer NOT NULL DEFAULT 0,
    pending integer NOT NULL DEFAULT 0,
    wake_at bigint,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    completed_at bigint,
    status text COLLATE "C" NOT NULL,
    summary bytea NOT NULL,
    metadata bytea NOT NULL
) WITH (fillfactor = 70);

CREATE INDEX threads_ready ON threads (wake_at) WHERE owner = 0 AND wake_at IS NOT NULL;
CREATE INDEX threads_owned ON threads (owner) WHERE owner <> 0;
CREATE INDEX threads_newest ON threads (created_at, thread_id);
CREATE INDEX threads_of_workflow ON threads (workflow, created_at, thread_id);
CREATE INDEX threads_ended ON threads (completed_at) WHERE completed_at IS NOT NULL;
CREATE INDEX threads_ended_of_workflow ON threads (workflow, completed_at, thread_id)
    WHERE completed_at IS NOT NULL;

-- One append, one row; seq is the number of its last event.
CREATE TABLE journal (
    thread_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    first_seq bigint NOT NULL,
    epoch bigint NOT NULL,
    at bigint NOT NULL,
    crc integer NOT NULL,
    payload bytea NOT NULL,
    PRIMARY KEY (thread_id, seq)
);

-- Scalar members of the metadata, for filters.
CREATE TABLE labels (
    thread_id text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    PRIMARY KEY (thread_id, key)
);
CREATE INDEX labels_by_value ON labels (key, value, thread_id);

CREATE TABLE idempotency (
    key text COLLATE "C" PRIMARY KEY,
    request_hash text COLLATE "C" NOT NULL,
    thread_id text COLLATE "C" NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX idempotency_expiry ON idempotency (expires_at);

-- Messages to threads; the answer is there once the message was taken.
CREATE TABLE inbox (
    thread_id text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    ordinal bigint GENERATED ALWAYS AS IDENTITY,
    body bytea NOT NULL,
    answer bytea,
    PRIMARY KEY (thread_id, key)
);

CREATE TABLE definitions (
    hash text COLLATE "C" PRIMARY KEY,
    text bytea NOT NULL
);

CREATE TABLE workflows (
    name text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    definition text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (name, version)
);

CREATE TABLE secrets (
    name text COLLATE "C" PRIMARY KEY,
    value bytea NOT NULL
);

-- What hangs on a thread goes with it. A trigger's statements see what was committed while the
-- DELETE waited for the thread's row; one statement with its older snapshot would leave it behind.
CREATE FUNCTION forget_threads() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT
AS $$
BEGIN
    DELETE FROM journal USING gone WHERE journal.thread_id = gone.thread_id;
    DELETE FROM labels USING gone WHERE labels.thread_id = gone.thread_id;
    DELETE FROM inbox USING gone WHERE inbox.thread_id = gone.thread_id;
    DELETE FROM idempotency USING gone
        WHERE idempotency.key = gone.idempotency_key AND idempotency.thread_id = gone.thread_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER threads_forget AFTER DELETE ON threads REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION forget_threads();
