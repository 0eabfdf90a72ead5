//! A pool that takes a connection back only after a call that was answered.
//!
//! The driver's own pool asks a connection whether it is well before it takes it back, and waits
//! for the answer as long as TCP does: a quarter of an hour, if the other side is gone without a
//! word (a failover, a firewall that forgot the connection). For that long the connection's place
//! would be lost, and two such places are all the writers there are.

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgPool, PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Either, Error, Execute, Executor, Postgres, SqlStr};
use tokio::runtime::Handle;

/// Longest wait for a connection to say that it is well: it has just answered a call.
const RETURN_DEADLINE: Duration = Duration::from_secs(2);

/// Connections of one purpose; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Pool(PgPool);

impl Pool {
    /// A pool that connects as it is used.
    pub(super) fn new(pool: PgPoolOptions, options: sqlx::postgres::PgConnectOptions) -> Self {
        Self(pool.connect_lazy_with(options))
    }

    /// Closes it; what is lent is waited for.
    pub(super) async fn close(&self) {
        self.0.close().await;
    }

    async fn lend(self) -> Result<Lent, Error> {
        Ok(Lent { connection: self.0.acquire().await?, answered: false })
    }
}

/// A connection, closed when dropped unless its call was answered.
#[derive(Debug)]
struct Lent {
    connection: PoolConnection<Postgres>,
    answered: bool,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.answered {
            return self.connection.close_on_drop();
        }
        // It may have gone silent since the answer: the pool's own question gets a deadline too.
        if let Ok(runtime) = Handle::try_current() {
            let back = self.connection.return_to_pool();
            runtime.spawn(tokio::time::timeout(RETURN_DEADLINE, back));
        }
    }
}

impl<'p> Executor<'p> for &'_ Pool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        let all = async move {
            let mut lent = match pool.lend().await {
                Ok(lent) => lent,
                Err(error) => return stream::iter(vec![Err(error)]),
            };
            let all: Vec<_> = lent.connection.fetch_many(query).collect().await;
            lent.answered = true;
            stream::iter(all)
        };
        all.into_stream().flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        async move {
            let mut lent = pool.lend().await?;
            let found = lent.connection.fetch_optional(query).await;
            lent.answered = true;
            found
        }
        .boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        async move {
            let mut lent = pool.lend().await?;
            let prepared = lent.connection.prepare_with(sql, parameters).await;
            lent.answered = true;
            prepared
        }
        .boxed()
    }
    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<sqlx::Describe<Postgres>, Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        async move {
            let mut lent = pool.lend().await?;
            let described = lent.connection.describe(sql).await;
            lent.answered = true;
            described
        }
        .boxed()
    }
}
