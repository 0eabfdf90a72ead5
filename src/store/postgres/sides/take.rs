//! Takes messages.

use crate::model::Json;
use crate::store::postgres::statement::Statement;

/// The counts are joined, not looked up: when the thread's row changed while we waited for it, the
/// update is judged again with the joined row, and a sub-query is not run again.
const TAKEN: &str = ",
took AS (
    UPDATE @inbox i SET answer = m.answer, body = 'null'
    FROM {m} JOIN locked USING (thread_id)
    WHERE i.thread_id = m.thread_id AND i.key = m.key AND i.answer IS NULL
    RETURNING i.thread_id),
counts AS (SELECT thread_id, count(*)::int AS n FROM took GROUP BY thread_id),
work AS MATERIALIZED (
    SELECT l.*, coalesce(c.n, 0) AS took FROM locked l LEFT JOIN counts c USING (thread_id))";

/// Thread, key, answer.
pub(super) type Row<'a> = (&'a str, &'a str, &'a Json);

/// Makes `work` of `locked`: the same threads, each with the number of messages taken.
pub(super) fn add(statement: &mut Statement, rows: &[Row<'_>]) {
    statement
        .table("m", rows)
        .column("thread_id", |(thread, ..)| *thread)
        .column("key", |(_, key, _)| *key)
        .column("answer", |(.., answer)| answer.as_str().as_bytes());
    statement.sql(TAKEN);
}
