//! How tables become smaller: `VACUUM` makes the room of deleted rows known and cuts off what is empty at the
//! end of a table's file.
//!
//! Autovacuum does that too, at moments of its own, and leaves a few pages with dead rows alone, any of which
//! keeps all pages before it. Room before rows that are kept is filled by new rows; only `VACUUM FULL`, which
//! locks a table for as long as it takes to write it anew, would give that back as well.

use std::time::Duration;

use sqlx::{ConnectOptions as _, Connection as _};

use crate::store::Result;

use super::PostgresStore;
use super::fault::answer;

/// Timeout of one `VACUUM`: hours of a slow disk's reads, of which nothing waits for the end.
const PATIENCE: Duration = Duration::from_hours(1);

/// The largest table of ours of which more than a fifth is dead, with some megabytes to win. One
/// that another replica or autovacuum is at has no lock to be had, and is skipped; one that was at it lately
/// has rows that an old transaction still sees.
const NEXT: &str = "
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind = 'r' AND pg_has_role(c.relowner, 'USAGE')
  AND pg_table_size(c.oid) >= 4194304
  AND coalesce(pg_stat_get_last_vacuum_time(c.oid), '-infinity') < now() - interval '10 minutes'
  AND EXISTS (
    SELECT FROM pg_stat_all_tables s WHERE s.relid IN (c.oid, c.reltoastrelid)
      AND s.n_dead_tup >= 500 AND s.n_dead_tup > s.n_live_tup / 4)
ORDER BY pg_table_size(c.oid) DESC LIMIT 1";

/// Session settings: it takes its time and leaves the disk to others in between.
const SETTINGS: [(&str, &str); 2] = [("statement_timeout", "1h"), ("vacuum_cost_delay", "2ms")];

impl PostgresStore {
    /// Vacuums a table of which much was deleted, over a connection of its own.
    pub(super) async fn vacuum(&self) -> Result<()> {
        // Behind a pooler every statement is within a transaction, where `VACUUM` cannot be.
        if self.hints.is_none() {
            return Ok(());
        }
        let next = sqlx::query_scalar(NEXT).bind(self.target.schema.name());
        let Some(table) = answer::<Option<String>>(next.fetch_optional(&self.general)).await?
        else {
            return Ok(());
        };
        let connect = self.target.options().options(SETTINGS);
        let mut connection = answer(connect.connect()).await?;
        let sql = self.sql(&format!("VACUUM (SKIP_LOCKED, INDEX_CLEANUP ON, ANALYZE) @{table}"));
        let vacuum = sqlx::raw_sql(sql).execute(&mut connection);
        let done = tokio::time::timeout(PATIENCE, vacuum).await;
        if let Ok(done) = done {
            done?;
            answer(connection.close()).await?;
        }
        Ok(())
    }
}
