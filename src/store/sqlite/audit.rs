//! The audit list.

use async_trait::async_trait;
use futures_util::FutureExt;
use sqlx::AssertSqlSafe;

use crate::model::Timestamp;
use crate::store::audit::{AUDIT_COLUMNS, RawAudit, storable};
use crate::store::rows::row_limit;
use crate::store::{AuditFilter, AuditRow, Audits, Result};

use super::SqliteStore;
use super::fault::answer;

const KEEP: &str = "
INSERT INTO audit (id, at, namespace, by_name, action, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (id) DO UPDATE SET body = excluded.body";

const EXPIRE: &str = "
DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < ?1 ORDER BY at LIMIT ?2)";

#[async_trait]
impl Audits for SqliteStore {
    async fn keep_audit(&self, entries: &[AuditRow]) -> Result<()> {
        let entries = entries.to_vec();
        self.write(move |connection| {
            async move {
                for entry in &entries {
                    sqlx::query(KEEP)
                        .bind(&entry.id)
                        .bind(entry.at.millis())
                        .bind(&entry.namespace)
                        .bind(storable(&entry.by))
                        .bind(storable(&entry.action))
                        .bind(entry.body.as_str().as_bytes())
                        .execute(&mut *connection)
                        .await?;
                }
                Ok(())
            }
            .boxed()
        })
        .await
    }

    async fn audit(&self, filter: &AuditFilter, limit: usize) -> Result<Vec<AuditRow>> {
        let AuditFilter { namespace, since, by, action, before } = filter;
        let sql = format!(
            "SELECT {AUDIT_COLUMNS} FROM audit
             WHERE namespace = ?1 AND (?2 IS NULL OR at >= ?2) AND (?3 IS NULL OR by_name = ?3)
               AND (?4 IS NULL OR action = ?4) AND (?5 IS NULL OR (at, id) < (?5, ?6))
             ORDER BY at DESC, id DESC LIMIT ?7"
        );
        let (at, id) = before.clone().map(|(at, id)| (at.millis(), id)).unzip();
        let query = sqlx::query_as(AssertSqlSafe(sql))
            .bind(namespace)
            .bind(since.map(Timestamp::millis))
            .bind(by)
            .bind(action)
            .bind(at)
            .bind(id)
            .bind(row_limit(limit));
        let rows: Vec<RawAudit> = answer(query.fetch_all(&self.lists)).await?;
        rows.into_iter().map(RawAudit::decode).collect()
    }

    async fn expire_audit(&self, before: Timestamp, limit: usize) -> Result<usize> {
        let query = sqlx::query(EXPIRE).bind(before.millis()).bind(row_limit(limit));
        Ok(usize::try_from(self.execute(query).await?).unwrap_or(usize::MAX))
    }
}
