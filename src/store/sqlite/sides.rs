//! The sides of starts and appends, one by one: they are rare. A function for each kind.

use sqlx::SqliteConnection;

use crate::model::{Epoch, Incarnation, Json, Seq, ThreadId, Timestamp};
use crate::store::{InterventionRow, Side};

use super::fault::Fault;

const TAKE: &str = "
UPDATE inbox SET answer = ?1, body = x'6e756c6c' WHERE thread_id = ?2 AND key = ?3 AND answer IS NULL
AND EXISTS (SELECT 1 FROM threads
    WHERE thread_id = ?2 AND owner = ?4 AND epoch = ?5 AND last_seq = ?6)";

const INDEX: &str = "
INSERT INTO interventions (id, thread_id, opened_at, resolved_at, body) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET opened_at = excluded.opened_at,
    resolved_at = excluded.resolved_at, body = excluded.body
WHERE thread_id = excluded.thread_id";

const NOTIFY: &str = "
INSERT INTO notification_cursors (thread_id, subscription, sent, head, since, due_at)
SELECT ?1, id, ?3, ?4, ?5, ?5 FROM notifications WHERE id = ?2
ON CONFLICT (thread_id, subscription) DO UPDATE SET
    sent = min(sent, excluded.sent), head = excluded.head";

/// The thread of an append, and its fence: incarnation, epoch, and the journal's head before it.
type Fenced<'a> = (&'a str, Incarnation, Epoch, Seq);

/// The thread of a write that got in, the events `(told.0, told.1]` of it, and the time.
type Written<'a> = (&'a ThreadId, (Seq, Seq), Timestamp);

/// Takes messages, which an append alone can: before the thread's row changes, whose count of
/// messages follows from it. Nothing is taken where the fence does not hold. Returns how many were.
pub(super) async fn take_all(
    connection: &mut SqliteConnection,
    fenced: Fenced<'_>,
    sides: &[Side],
) -> Result<i64, Fault> {
    let mut took = 0;
    for side in sides {
        if let Side::Take { key, answer } = side {
            took += take(connection, fenced, (key, answer)).await?;
        }
    }
    Ok(took)
}

/// Writes all the other sides of a write that got in.
pub(super) async fn write_all(
    connection: &mut SqliteConnection,
    written: Written<'_>,
    sides: &[Side],
) -> Result<(), Fault> {
    for side in sides {
        match side {
            Side::Take { .. } => {}
            Side::Index(row) => index(connection, written, row).await?,
            Side::Notify { subscription } => notify(connection, written, subscription).await?,
        }
    }
    Ok(())
}

async fn take(
    connection: &mut SqliteConnection,
    (thread, me, epoch, prev): Fenced<'_>,
    (key, answer): (&str, &Json),
) -> Result<i64, Fault> {
    let query = sqlx::query(TAKE).bind(answer.as_str().as_bytes()).bind(thread).bind(key);
    let query = query.bind(me).bind(epoch).bind(prev.cast_signed());
    Ok(query.execute(connection).await?.rows_affected().cast_signed())
}

async fn index(
    connection: &mut SqliteConnection,
    (thread, ..): Written<'_>,
    row: &InterventionRow,
) -> Result<(), Fault> {
    let query = sqlx::query(INDEX)
        .bind(&row.id)
        .bind(thread.as_str())
        .bind(row.opened_at.millis())
        .bind(row.resolved_at.map(Timestamp::millis))
        .bind(row.body.as_str().as_bytes());
    query.execute(connection).await?;
    Ok(())
}

async fn notify(
    connection: &mut SqliteConnection,
    (thread, told, now): Written<'_>,
    subscription: &str,
) -> Result<(), Fault> {
    let query = sqlx::query(NOTIFY).bind(thread.as_str()).bind(subscription);
    let query = query.bind(told.0.cast_signed()).bind(told.1.cast_signed()).bind(now.millis());
    query.execute(connection).await?;
    Ok(())
}
