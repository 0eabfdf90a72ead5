-- Who wants to hear of which events, and what they were not sent yet. Only adds: a server of an
-- older version goes on beside it, and its appends notify nobody.
CREATE TABLE notifications (
    id text COLLATE "C" PRIMARY KEY,
    created_at bigint NOT NULL,
    enabled boolean NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL,
    secret bytea NOT NULL,
    last_success_at bigint,
    last_failure_at bigint,
    last_error bytea,
    given_up bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
CREATE INDEX notifications_newest ON notifications (created_at, id);

-- A row is there while a thread has events that a subscription was not sent: what an append changes
-- of it stands in no index.
CREATE TABLE notification_cursors (
    thread_id text COLLATE "C" NOT NULL,
    subscription text COLLATE "C" NOT NULL,
    sent bigint NOT NULL,
    head bigint NOT NULL,
    since bigint NOT NULL,
    due_at bigint NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    leased_until bigint NOT NULL DEFAULT 0,
    token bigint NOT NULL DEFAULT 0,
    holder bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (thread_id, subscription)
) WITH (fillfactor = 50);
CREATE INDEX notification_cursors_due ON notification_cursors (subscription, due_at);

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
