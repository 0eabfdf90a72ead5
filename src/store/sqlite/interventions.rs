//! The index of interventions, without those of threads that are marked as deleted.

use async_trait::async_trait;
use sqlx::{QueryBuilder, Sqlite};

use crate::model::Namespace;
use crate::store::history_rows::{INTERVENTION_COLUMNS, RawIntervention, intervention_counts};
use crate::store::rows::row_limit;
use crate::store::{
    InterventionCounts, InterventionFilter, InterventionRow, Interventions, Result,
};

use super::SqliteStore;
use super::fault::answer;

/// Tells whether an intervention's thread is not marked as deleted. `owner <> 0` is the condition of the
/// index of owners, which is used with it alone.
const IS_THERE: &str =
    "thread_id NOT IN (SELECT thread_id FROM threads WHERE owner = -3 AND owner <> 0)";
const INTERVENTION_COUNTS: &str = "
SELECT (SELECT count(*) FROM interventions
        WHERE substr(thread_id, 1, instr(thread_id, '/')) = ?1 AND resolved_at IS NULL
            AND thread_id NOT IN (SELECT thread_id FROM threads WHERE owner = -3 AND owner <> 0)),
    (SELECT count(*) FROM interventions
        WHERE substr(thread_id, 1, instr(thread_id, '/')) = ?1
            AND thread_id NOT IN (SELECT thread_id FROM threads WHERE owner = -3 AND owner <> 0))";

#[async_trait]
impl Interventions for SqliteStore {
    async fn intervention(&self, id: &str) -> Result<Option<InterventionRow>> {
        let sql =
            format!("SELECT {INTERVENTION_COLUMNS} FROM interventions WHERE id = ? AND {IS_THERE}");
        let query = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(id);
        let row: Option<RawIntervention> = answer(query.fetch_optional(&self.readers)).await?;
        row.map(RawIntervention::decode).transpose()
    }

    async fn interventions(
        &self,
        filter: &InterventionFilter,
        limit: usize,
    ) -> Result<Vec<InterventionRow>> {
        let start = format!("SELECT {INTERVENTION_COLUMNS} FROM interventions WHERE ");
        let mut list = QueryBuilder::<Sqlite>::new(start);
        list.push("substr(thread_id, 1, instr(thread_id, '/')) = ");
        list.push_bind(filter.namespace.prefix());
        list.push(format!(" AND {IS_THERE}"));
        if let Some(open) = filter.open {
            list.push(if open {
                " AND resolved_at IS NULL"
            } else {
                " AND resolved_at IS NOT NULL"
            });
        }
        if let Some(thread) = &filter.thread {
            list.push(" AND thread_id = ").push_bind(thread.as_str());
        }
        if let Some((at, id)) = &filter.before {
            list.push(" AND (opened_at, id) < (").push_bind(at.millis());
            list.push(", ").push_bind(id).push(")");
        }
        list.push(" ORDER BY opened_at DESC, id DESC LIMIT ").push_bind(row_limit(limit));
        let query = list.build_query_as();
        let rows: Vec<RawIntervention> = answer(query.fetch_all(&self.lists)).await?;
        rows.into_iter().map(RawIntervention::decode).collect()
    }

    async fn intervention_counts(&self, namespace: &Namespace) -> Result<InterventionCounts> {
        let query = sqlx::query_as(INTERVENTION_COUNTS).bind(namespace.prefix());
        answer(query.fetch_one(&self.lists)).await.map(intervention_counts)
    }
}
