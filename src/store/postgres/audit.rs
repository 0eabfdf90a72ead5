//! The audit list.

use async_trait::async_trait;

use crate::model::Timestamp;
use crate::store::audit::{AUDIT_COLUMNS, RawAudit, storable};
use crate::store::rows::row_limit;
use crate::store::{AuditFilter, AuditRow, Audits, Result};

use super::PostgresStore;
use super::fault::answer;

/// Entries of one id in one call would be changed twice by one statement, which is refused: the
/// runtime sends each once.
const KEEP: &str = "
INSERT INTO @audit AS a (id, at, namespace, by_name, action, body)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bytea[])
ON CONFLICT (id) DO UPDATE SET body = excluded.body";

const EXPIRE: &str = "
WITH old AS MATERIALIZED (
    SELECT id FROM @audit WHERE at < $1 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED)
DELETE FROM @audit r USING old WHERE r.id = old.id";

#[async_trait]
impl Audits for PostgresStore {
    async fn keep_audit(&self, entries: &[AuditRow]) -> Result<()> {
        let texts = |text: fn(&AuditRow) -> String| entries.iter().map(text).collect::<Vec<_>>();
        let bodies: Vec<Vec<u8>> =
            entries.iter().map(|entry| entry.body.as_str().as_bytes().to_vec()).collect();
        let query = sqlx::query(self.sql(KEEP))
            .bind(texts(|entry| entry.id.clone()))
            .bind(entries.iter().map(|entry| entry.at.millis()).collect::<Vec<_>>())
            .bind(texts(|entry| entry.namespace.clone()))
            .bind(texts(|entry| storable(&entry.by)))
            .bind(texts(|entry| storable(&entry.action)))
            .bind(bodies);
        self.execute(query).await.map(drop)
    }

    async fn audit(&self, filter: &AuditFilter, limit: usize) -> Result<Vec<AuditRow>> {
        let AuditFilter { namespace, since, by, action, before } = filter;
        let sql = format!(
            "SELECT {AUDIT_COLUMNS} FROM @audit
             WHERE namespace = $1 AND ($2::bigint IS NULL OR at >= $2)
               AND ($3::text IS NULL OR by_name = $3) AND ($4::text IS NULL OR action = $4)
               AND ($5::bigint IS NULL OR (at, id) < ($5, $6))
             ORDER BY at DESC, id DESC LIMIT $7"
        );
        let (at, id) = before.clone().map(|(at, id)| (at.millis(), storable(&id))).unzip();
        let query = sqlx::query_as(self.sql(&sql))
            .bind(namespace)
            .bind(since.map(Timestamp::millis))
            .bind(by.as_deref().map(storable))
            .bind(action.as_deref().map(storable))
            .bind(at)
            .bind(id)
            .bind(row_limit(limit));
        let rows: Vec<RawAudit> = answer(query.fetch_all(&self.lists)).await?;
        rows.into_iter().map(RawAudit::decode).collect()
    }

    async fn expire_audit(&self, before: Timestamp, limit: usize) -> Result<usize> {
        let query = sqlx::query(self.sql(EXPIRE)).bind(before.millis()).bind(row_limit(limit));
        Ok(usize::try_from(self.execute(query).await?).unwrap_or(usize::MAX))
    }
}
