-- The same tables as in Postgres: subscriptions to events, and the events they were not sent yet.
CREATE TABLE notifications (
    id TEXT PRIMARY KEY NOT NULL,
    created_at INTEGER NOT NULL,
    enabled INTEGER NOT NULL,
    version INTEGER NOT NULL,
    body BLOB NOT NULL,
    secret BLOB NOT NULL,
    last_success_at INTEGER,
    last_failure_at INTEGER,
    last_error BLOB,
    given_up INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX notifications_newest ON notifications (created_at, id);

CREATE TABLE notification_cursors (
    thread_id TEXT NOT NULL,
    subscription TEXT NOT NULL,
    sent INTEGER NOT NULL,
    head INTEGER NOT NULL,
    since INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    leased_until INTEGER NOT NULL DEFAULT 0,
    token INTEGER NOT NULL DEFAULT 0,
    holder INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (thread_id, subscription)
) STRICT, WITHOUT ROWID;
CREATE INDEX notification_cursors_due ON notification_cursors (subscription, due_at);
