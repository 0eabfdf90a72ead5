-- What is known of threads beside their journals. Only adds: a server of an older version goes on
-- beside it, and the trigger takes the new rows along for both.

-- A cache of states. Rows come and go whole; `state` is exact bytes.
CREATE TABLE snapshots (
    thread_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    at bigint NOT NULL,
    sha256 text COLLATE "C" NOT NULL,
    state bytea NOT NULL,
    PRIMARY KEY (thread_id, seq)
);

-- Each row is written once and completed once; the room for that is left in its page.
CREATE TABLE recoveries (
    thread_id text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL,
    cause text COLLATE "C" NOT NULL,
    previous_owner bigint NOT NULL,
    replica text NOT NULL,
    from_seq bigint NOT NULL,
    started_at bigint NOT NULL,
    strategy text COLLATE "C",
    to_seq bigint,
    duration_ms bigint,
    result text COLLATE "C",
    detail bytea,
    PRIMARY KEY (thread_id, epoch)
) WITH (fillfactor = 70);
CREATE INDEX recoveries_since ON recoveries (started_at);

-- Open ones are few among many, and asked for most.
CREATE TABLE interventions (
    id text COLLATE "C" PRIMARY KEY,
    thread_id text COLLATE "C" NOT NULL,
    opened_at bigint NOT NULL,
    resolved_at bigint,
    body bytea NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX interventions_newest ON interventions (opened_at, id);
CREATE INDEX interventions_open ON interventions (opened_at, id) WHERE resolved_at IS NULL;
CREATE INDEX interventions_of_thread ON interventions (thread_id, opened_at, id);

-- Counters by the hour since the Unix epoch: few rows, changed often.
CREATE TABLE tallies (
    hour bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (hour, name)
) WITH (fillfactor = 50);

CREATE OR REPLACE FUNCTION forget_threads() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    DELETE FROM journal USING gone WHERE journal.thread_id = gone.thread_id;
    DELETE FROM labels USING gone WHERE labels.thread_id = gone.thread_id;
    DELETE FROM inbox USING gone WHERE inbox.thread_id = gone.thread_id;
    DELETE FROM idempotency USING gone
        WHERE idempotency.key = gone.idempotency_key AND idempotency.thread_id = gone.thread_id;
    DELETE FROM snapshots USING gone WHERE snapshots.thread_id = gone.thread_id;
    DELETE FROM recoveries USING gone WHERE recoveries.thread_id = gone.thread_id;
    DELETE FROM interventions USING gone WHERE interventions.thread_id = gone.thread_id;
    RETURN NULL;
END
$$;
