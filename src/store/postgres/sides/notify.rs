//! Tells subscriptions of events.

use crate::model::Seq;
use crate::store::postgres::statement::Statement;

/// From the event on that was not written yet, unless they wait for earlier ones. A subscription that
/// is gone by now is told nothing.
const NOTIFIED: &str = ",
notified AS (
    INSERT INTO @notification_cursors AS c (thread_id, subscription, sent, head, since, due_at)
    SELECT n.thread_id, n.subscription, n.sent, n.head, @now_ms(), @now_ms()
    FROM {n} JOIN @notifications w ON w.id = n.subscription
    WHERE (n.thread_id IN (SELECT thread_id FROM ok)) IS TRUE
    ORDER BY n.thread_id, n.subscription
    ON CONFLICT (thread_id, subscription) DO UPDATE SET
        sent = least(c.sent, EXCLUDED.sent), head = EXCLUDED.head)";

/// A subscription, and the events that it is told of.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) thread: &'a str,
    pub(super) subscription: &'a str,
    /// Those after the first number, up to the second one.
    pub(super) told: (Seq, Seq),
}

/// Writes cursors for the threads in `ok`.
pub(super) fn add(statement: &mut Statement, rows: &[Row<'_>]) {
    statement
        .table("n", rows)
        .column("thread_id", |row| row.thread)
        .column("subscription", |row| row.subscription)
        .column("sent", |row| row.told.0.cast_signed())
        .column("head", |row| row.told.1.cast_signed());
    statement.sql(NOTIFIED);
}
