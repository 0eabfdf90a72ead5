//! The index of interventions, without those of threads that are marked as deleted.

use async_trait::async_trait;
use sqlx::{Postgres, QueryBuilder};

use crate::model::Namespace;
use crate::store::archive::DELETED;
use crate::store::history_rows::{INTERVENTION_COLUMNS, RawIntervention, intervention_counts};
use crate::store::rows::row_limit;
use crate::store::{
    InterventionCounts, InterventionFilter, InterventionRow, Interventions, Result,
};

use super::PostgresStore;
use super::fault::answer;

const INTERVENTION_COUNTS: &str = "
SELECT (SELECT count(*) FROM @interventions
        WHERE left(thread_id, strpos(thread_id, '/')) = $1 AND resolved_at IS NULL
            AND thread_id NOT IN (SELECT thread_id FROM @threads WHERE owner = -3)),
    (SELECT count(*) FROM @interventions
        WHERE left(thread_id, strpos(thread_id, '/')) = $1
            AND thread_id NOT IN (SELECT thread_id FROM @threads WHERE owner = -3))";

#[async_trait]
impl Interventions for PostgresStore {
    async fn intervention(&self, id: &str) -> Result<Option<InterventionRow>> {
        // Text of Postgres holds no NUL: there is no such id.
        if id.contains('\0') {
            return Ok(None);
        }
        let sql = format!(
            "SELECT {INTERVENTION_COLUMNS} FROM @interventions
             WHERE id = $1 AND thread_id NOT IN (SELECT thread_id FROM @threads WHERE owner = -3)"
        );
        let query = sqlx::query_as(self.sql(&sql)).bind(id);
        let row: Option<RawIntervention> = answer(query.fetch_optional(&self.general)).await?;
        row.map(RawIntervention::decode).transpose()
    }

    async fn interventions(
        &self,
        filter: &InterventionFilter,
        limit: usize,
    ) -> Result<Vec<InterventionRow>> {
        let table = self.target.schema.name();
        let start = format!("SELECT {INTERVENTION_COLUMNS} FROM {table}.interventions WHERE ");
        let mut list = QueryBuilder::<Postgres>::new(start);
        list.push("left(thread_id, strpos(thread_id, '/')) = ");
        list.push_bind(filter.namespace.prefix());
        list.push(format!(
            " AND thread_id NOT IN (SELECT thread_id FROM {table}.threads WHERE owner = {DELETED})"
        ));
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
            // Text of Postgres holds no NUL, and no id has one: only a forged cursor.
            list.push(", ").push_bind(id.replace('\0', "")).push(")");
        }
        list.push(" ORDER BY opened_at DESC, id DESC LIMIT ").push_bind(row_limit(limit));
        let query = list.build_query_as();
        let rows: Vec<RawIntervention> = answer(query.fetch_all(&self.lists)).await?;
        rows.into_iter().map(RawIntervention::decode).collect()
    }

    async fn intervention_counts(&self, namespace: &Namespace) -> Result<InterventionCounts> {
        let query = sqlx::query_as(self.sql(INTERVENTION_COUNTS)).bind(namespace.prefix());
        answer(query.fetch_one(&self.lists)).await.map(intervention_counts)
    }
}
