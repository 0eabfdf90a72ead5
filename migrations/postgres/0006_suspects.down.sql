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
    RETURN NULL;
END
$$;
ALTER TABLE replicas DROP COLUMN seen_at;
DROP TABLE suspects;
