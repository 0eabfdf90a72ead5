-- What is known against threads that were lost with their replicas, and when a replica was last seen.
-- Only adds: a server of an older version goes on beside it.
CREATE TABLE suspects (
    thread_id text COLLATE "C" PRIMARY KEY,
    lost_with bigint NOT NULL,
    exposed_to bigint NOT NULL,
    body bytea NOT NULL
) WITH (fillfactor = 50);

-- Milliseconds since the Unix epoch; 0 if the replica was retired.
ALTER TABLE replicas ADD COLUMN seen_at bigint NOT NULL DEFAULT 0;

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
    DELETE FROM notification_cursors USING gone
        WHERE notification_cursors.thread_id = gone.thread_id;
    DELETE FROM suspects USING gone WHERE suspects.thread_id = gone.thread_id;
    RETURN NULL;
END
$$;
