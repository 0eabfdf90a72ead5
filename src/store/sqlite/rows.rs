//! Statements for many rows at once.
//!
//! Every call of the driver hops to the connection's thread and back, so that rows go in by the
//! hundred. Sizes are powers of two, the last one filled up with rows of NULL that match nothing:
//! ten prepared statements serve every batch.

use sqlx::AssertSqlSafe;

/// Most rows of one statement: SQLite takes 32,766 parameters, and ours have up to 17 a row.
pub(super) const MAX_ROWS: usize = 512;

/// Rows that a statement for `rows` rows has room for.
pub(super) fn room(rows: usize) -> usize {
    rows.next_power_of_two().min(MAX_ROWS)
}

/// A statement with `{}` replaced by `room` rows of `columns` parameters.
pub(super) fn with_rows(statement: &str, room: usize, columns: usize) -> AssertSqlSafe<String> {
    let row = format!("({})", ["?"].repeat(columns).join(","));
    AssertSqlSafe(statement.replace("{}", &vec![row; room].join(",")))
}

/// A statement with `{}` replaced by `room` parameters.
pub(super) fn with_list(statement: &str, room: usize) -> AssertSqlSafe<String> {
    AssertSqlSafe(statement.replace("{}", &["?"].repeat(room).join(",")))
}
