//! The database's clock, which is the one of all its replicas.
//!
//! It is asked for its time over a connection of its own when the database is opened, and then with
//! every heartbeat, which costs nothing.

use std::sync::Arc;

use sqlx::postgres::PgConnection;

use crate::store::{OpenError, Reading, Result, StoreClock};

use super::PostgresStore;
use super::fault::answer;
use super::migrate::{connect, fault, part_from};
use super::settings::ACQUIRE_TIMEOUT;

const TIME: &str = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// The number of times that the database is asked when it is opened: the fastest answer counts, and
/// the first is slow.
const QUESTIONS: usize = 5;

impl PostgresStore {
    /// Sets a clock by the database's, now and with every heartbeat.
    pub async fn telling(mut self, clock: &Arc<StoreClock>) -> Result<Self, OpenError> {
        let mut connection = connect(&self.target).await?;
        let asked = tokio::time::timeout(ACQUIRE_TIMEOUT, ask(&mut connection, clock)).await;
        let readings = asked.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        part_from(connection).await;
        clock.follow(&readings.map_err(|error| fault(&self.target, &error))?);
        self.clock = Some(Arc::clone(clock));
        Ok(self)
    }

    /// Awaits a call that answers the time.
    pub(super) async fn timed(
        &self,
        call: impl Future<Output = Result<Option<i64>, sqlx::Error>> + Send,
    ) -> Result<Option<i64>> {
        let Some(clock) = &self.clock else { return answer(call).await };
        let asked = clock.ask();
        let time = answer(call).await?;
        let jump = time.and_then(|time| clock.hear(clock.answered(asked, time)));
        if let Some(by_ms) = jump {
            tracing::warn!(
                by_ms,
                "the database's clock was set; times and timers follow it, but never go back"
            );
        }
        Ok(time)
    }
}

async fn ask(
    connection: &mut PgConnection,
    clock: &StoreClock,
) -> Result<Vec<Reading>, sqlx::Error> {
    let mut readings = Vec::with_capacity(QUESTIONS);
    for _ in 0..QUESTIONS {
        let asked = clock.ask();
        let query = sqlx::query_scalar(TIME).persistent(false);
        readings.push(clock.answered(asked, query.fetch_one(&mut *connection).await?));
    }
    Ok(readings)
}
