//! Puts interventions into their index.

use crate::model::Timestamp;
use crate::store::InterventionRow;
use crate::store::postgres::statement::Statement;

/// In the order of their ids; of one that is there twice, as it was last.
const INDEXED: &str = ",
indexed AS (
    INSERT INTO @interventions AS i (id, thread_id, opened_at, resolved_at, body)
    SELECT DISTINCT ON (v.id) v.id, v.thread_id, v.opened_at, v.resolved_at, v.body
    FROM {v} WHERE (v.thread_id IN (SELECT thread_id FROM ok)) IS TRUE
    ORDER BY v.id, v.place DESC
    ON CONFLICT (id) DO UPDATE SET opened_at = EXCLUDED.opened_at,
        resolved_at = EXCLUDED.resolved_at, body = EXCLUDED.body
        WHERE i.thread_id = EXCLUDED.thread_id)";

/// Thread, intervention.
pub(super) type Row<'a> = (&'a str, &'a InterventionRow);

/// Writes them for the threads in `ok`.
pub(super) fn add(statement: &mut Statement, rows: &[Row<'_>]) {
    statement
        .table("v", rows)
        .column("id", |(_, row)| row.id.as_str())
        .column("thread_id", |(thread, _)| *thread)
        .column("opened_at", |(_, row)| row.opened_at.millis())
        .column("resolved_at", |(_, row)| row.resolved_at.map(Timestamp::millis))
        .column("body", |(_, row)| row.body.as_str().as_bytes())
        .numbered("place");
    statement.sql(INDEXED);
}
