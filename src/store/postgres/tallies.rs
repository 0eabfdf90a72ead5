//! Counters that all replicas share.

use async_trait::async_trait;

use crate::model::Timestamp;
use crate::store::history_rows::{amount, tallies};
use crate::store::limits::{TALLIES_KEPT, tally_hour};
use crate::store::{Result, Tallies};

use super::PostgresStore;
use super::fault::answer;

/// Rows are locked in the order of names; old hours are left to whoever deletes them already.
const ADD_TALLIES: &str = "
WITH old AS MATERIALIZED (
    SELECT hour, name FROM @tallies WHERE hour < $2 FOR UPDATE SKIP LOCKED),
gone AS (
    DELETE FROM @tallies t USING old WHERE t.hour = old.hour AND t.name = old.name)
INSERT INTO @tallies AS t (hour, name, count)
SELECT $1, name, sum(count)::bigint FROM unnest($3::text[], $4::bigint[]) AS n(name, count)
GROUP BY name ORDER BY name COLLATE \"C\"
ON CONFLICT (hour, name) DO UPDATE SET count = t.count + EXCLUDED.count";

const TALLIES: &str = "
SELECT name, sum(count)::bigint FROM @tallies WHERE hour >= $1 GROUP BY name ORDER BY name";

#[async_trait]
impl Tallies for PostgresStore {
    async fn add_tallies(&self, at: Timestamp, counts: &[(String, u64)]) -> Result<()> {
        let hour = tally_hour(at);
        let (names, counts): (Vec<&str>, Vec<i64>) =
            counts.iter().map(|(name, count)| (name.as_str(), amount(*count))).unzip();
        let query = sqlx::query(self.sql(ADD_TALLIES))
            .bind(hour)
            .bind(hour - TALLIES_KEPT)
            .bind(names)
            .bind(counts);
        self.execute(query).await.map(drop)
    }

    async fn tallies(&self, since: Timestamp) -> Result<Vec<(String, u64)>> {
        let query = sqlx::query_as(self.sql(TALLIES)).bind(tally_hour(since));
        let rows: Vec<(String, i64)> = answer(query.fetch_all(&self.general)).await?;
        Ok(tallies(rows))
    }
}
