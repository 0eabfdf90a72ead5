//! Counters that all replicas share.

use async_trait::async_trait;
use futures_util::FutureExt;

use crate::model::Timestamp;
use crate::store::history_rows::{amount, tallies};
use crate::store::limits::{TALLIES_KEPT, tally_hour};
use crate::store::{Result, Tallies};

use super::SqliteStore;
use super::fault::answer;

const FORGET_TALLIES: &str = "DELETE FROM tallies WHERE hour < ?";

const ADD_TALLY: &str = "
INSERT INTO tallies (hour, name, count) VALUES (?, ?, ?)
ON CONFLICT (hour, name) DO UPDATE SET count = count + excluded.count";

const TALLIES: &str = "
SELECT name, sum(count) FROM tallies WHERE hour >= ? GROUP BY name ORDER BY name";

#[async_trait]
impl Tallies for SqliteStore {
    async fn add_tallies(&self, at: Timestamp, counts: &[(String, u64)]) -> Result<()> {
        let (hour, counts) = (tally_hour(at), counts.to_vec());
        self.write(move |connection| {
            async move {
                let oldest = hour - TALLIES_KEPT;
                sqlx::query(FORGET_TALLIES).bind(oldest).execute(&mut *connection).await?;
                for (name, count) in &counts {
                    let query = sqlx::query(ADD_TALLY).bind(hour).bind(name).bind(amount(*count));
                    query.execute(&mut *connection).await?;
                }
                Ok(())
            }
            .boxed()
        })
        .await
    }

    async fn tallies(&self, since: Timestamp) -> Result<Vec<(String, u64)>> {
        let query = sqlx::query_as(TALLIES).bind(tally_hour(since));
        let rows: Vec<(String, i64)> = answer(query.fetch_all(&self.readers)).await?;
        Ok(tallies(rows))
    }
}
