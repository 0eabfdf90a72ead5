//! Statements that end by themselves, for what clients may ask for in any amount.
//!
//! SQLite has no timeout for statements, and a statement goes on after its caller has gone. Here the
//! connection itself asks now and then whether it is to go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqlitePool, SqliteQueryResult, SqliteRow, SqliteStatement, SqliteTypeInfo};
use sqlx::{Either, Error, Execute, Executor, SqlStr, Sqlite};
use tokio::time::Instant;

/// The longest time of a statement, as long as Postgres gives one for readers.
const LIMIT: Duration = Duration::from_secs(3);
/// The instructions of SQLite's machine between two looks at the time: some ten microseconds of work, or
/// fewer reads from a slow disk than anybody would notice.
const INSTRUCTIONS: i32 = 1_000;

/// Connections whose statements end after their time, and once nobody waits for them.
#[derive(Debug, Clone)]
pub(super) struct Bounded {
    pool: SqlitePool,
    limit: Duration,
}

impl Bounded {
    /// Bounds statements over these connections; others may use them as well.
    pub(super) const fn over(pool: SqlitePool) -> Self {
        Self { pool, limit: LIMIT }
    }

    /// Closes the connections once all are returned.
    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    async fn lend(&self) -> Result<Lent, Error> {
        let mut connection = self.pool.acquire().await?;
        let call = Arc::new(Call::default());
        let (known, until) = (Arc::clone(&call), Instant::now() + self.limit);
        let mut handle = connection.lock_handle().await?;
        handle.set_progress_handler(INSTRUCTIONS, move || known.goes_on(until));
        drop(handle);
        Ok(Lent { connection, call })
    }
}

/// The state of a call, which may have been dropped.
#[derive(Debug, Default)]
struct Call {
    answered: AtomicBool,
    dropped: AtomicBool,
}

impl Call {
    fn goes_on(&self, until: Instant) -> bool {
        // Whoever uses the connection after the call is not bounded by it.
        self.answered.load(Ordering::Relaxed)
            || (!self.dropped.load(Ordering::Relaxed) && Instant::now() < until)
    }
}

/// A connection for one call.
#[derive(Debug)]
struct Lent {
    connection: PoolConnection<Sqlite>,
    call: Arc<Call>,
}

impl Lent {
    fn answered(&self) {
        self.call.answered.store(true, Ordering::Relaxed);
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.call.answered.load(Ordering::Relaxed) {
            self.call.dropped.store(true, Ordering::Relaxed);
            // It would interrupt whatever comes next.
            self.connection.close_on_drop();
        }
    }
}

impl<'p> Executor<'p> for &'_ Bounded {
    type Database = Sqlite;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<SqliteQueryResult, SqliteRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Sqlite>,
    {
        let bounded = self.clone();
        let all = async move {
            let all = match bounded.lend().await {
                Ok(mut lent) => {
                    let all: Vec<_> = lent.connection.fetch_many(query).collect().await;
                    lent.answered();
                    all
                }
                Err(error) => vec![Err(error)],
            };
            stream::iter(all)
        };
        all.into_stream().flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<SqliteRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Sqlite>,
    {
        let bounded = self.clone();
        async move {
            let mut lent = bounded.lend().await?;
            let row = lent.connection.fetch_optional(query).await;
            lent.answered();
            row
        }
        .boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [SqliteTypeInfo],
    ) -> BoxFuture<'e, Result<SqliteStatement, Error>>
    where
        'p: 'e,
    {
        let bounded = self.clone();
        async move {
            let mut lent = bounded.lend().await?;
            let prepared = lent.connection.prepare_with(sql, parameters).await;
            lent.answered();
            prepared
        }
        .boxed()
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<sqlx::Describe<Sqlite>, Error>>
    where
        'p: 'e,
    {
        let bounded = self.clone();
        async move {
            let mut lent = bounded.lend().await?;
            let described = lent.connection.describe(sql).await;
            lent.answered();
            described
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqlitePoolOptions;

    use super::*;

    const ENDLESS: &str = "
WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c";

    /// A single connection, whose statements may take so long.
    fn single(limit: Duration) -> Bounded {
        let pool = SqlitePoolOptions::new().max_connections(1);
        let pool = pool.acquire_timeout(Duration::from_secs(10));
        Bounded { pool: pool.connect_lazy("sqlite::memory:").unwrap(), limit }
    }

    /// Uses the connection, bounded and not.
    async fn answers(bounded: &Bounded) {
        let one: i64 = sqlx::query_scalar("SELECT 1").fetch_one(bounded).await.unwrap();
        let two: i64 = sqlx::query_scalar("SELECT 2").fetch_one(&bounded.pool).await.unwrap();
        assert_eq!((one, two), (1, 2));
    }

    #[tokio::test]
    async fn a_statement_ends_after_its_time_and_the_next_one_is_not_interrupted() {
        let bounded = single(Duration::from_millis(50));
        for _ in 0..3 {
            let ended = sqlx::query(ENDLESS).fetch_all(&bounded).await.unwrap_err();
            assert_eq!(ended.as_database_error().unwrap().code().as_deref(), Some("9"), "{ended}");
        }
        answers(&bounded).await;
        tokio::time::sleep(bounded.limit).await;
        let many = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 99999)
                    SELECT count(*) FROM c";
        let count: i64 = sqlx::query_scalar(many).fetch_one(&bounded.pool).await.unwrap();
        assert_eq!(count, 99_999, "the time of an answered call bounds no other one");
    }

    #[tokio::test]
    async fn a_statement_ends_once_nobody_waits_for_it() {
        let bounded = single(Duration::from_hours(1));
        for _ in 0..3 {
            let endless = sqlx::query(ENDLESS).fetch_all(&bounded);
            assert!(tokio::time::timeout(Duration::from_millis(50), endless).await.is_err());
            answers(&bounded).await;
        }
    }
}
