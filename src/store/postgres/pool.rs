//! A pool that takes a connection back only after a call that was answered.
//!
//! The driver's own pool asks a connection whether it is well before it takes it back, and waits
//! for the answer as long as TCP does: a quarter of an hour, if the other side is gone without a
//! word (a failover, a firewall that forgot the connection). For that long the connection's place
//! would be lost, and two such places are all the writers there are.
//!
//! For the same reason a connection is asked with a deadline before it is lent, and once one did not
//! answer, none that lay idle beside it is asked at all: after a failover all of them are dead, and
//! finding that out one by one would take as long as the outage.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgPool, PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Connection, Either, Error, Execute, Executor, PgConnection, Postgres, SqlStr};
use tokio::runtime::Handle;
use tokio::time::Instant;

/// Longest wait for a connection to say that it is well: it has just answered a call.
const RETURN_DEADLINE: Duration = Duration::from_secs(2);

/// Longest wait for an idle connection to say that it is well: far longer than a round trip, far
/// shorter than what a caller waits for a connection.
const LEND_DEADLINE: Duration = Duration::from_secs(1);

/// When a connection is asked before it is lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// Every time: where a failed call is a client's.
    Always,
    /// Only after a call went unanswered: where a round trip costs more than a repeated call.
    InDoubt,
}

/// Connections of one purpose; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    pool: PgPool,
    doubts: Arc<Mutex<Doubts>>,
}

/// What is known against connections that lay idle at some moment.
#[derive(Debug, Default)]
struct Doubts {
    /// When a call went unanswered last, be it that its caller gave it up.
    unanswered: Option<Instant>,
    /// When a connection last did not say that it was well.
    dead: Option<Instant>,
}

impl Pool {
    /// A pool that connects as it is used.
    pub(super) fn new(
        pool: PgPoolOptions,
        options: sqlx::postgres::PgConnectOptions,
        ask: Ask,
    ) -> Self {
        let doubts = Arc::<Mutex<Doubts>>::default();
        let known = Arc::clone(&doubts);
        let pool = pool.test_before_acquire(false).before_acquire(move |connection, meta| {
            let known = Arc::clone(&known);
            async move { is_well(connection, meta.idle_for, (ask, &known)).await }.boxed()
        });
        Self { pool: pool.connect_lazy_with(options), doubts }
    }

    /// Closes it; what is lent is waited for.
    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    async fn lend(self) -> Result<Lent, Error> {
        let connection = self.pool.acquire().await?;
        Ok(Lent { connection, doubts: self.doubts, answered: false })
    }
}

/// Whether an idle connection may be lent; an error closes it.
async fn is_well(
    connection: &mut PgConnection,
    idle_for: Duration,
    (ask, doubts): (Ask, &Mutex<Doubts>),
) -> Result<bool, Error> {
    let idle_since = Instant::now().checked_sub(idle_for);
    let before = |moment: Option<Instant>| moment.is_some_and(|at| idle_since < Some(at));
    let silent = || Error::Io(std::io::ErrorKind::TimedOut.into());
    let (dead, doubtful) = {
        let known = lock(doubts);
        (before(known.dead), before(known.unanswered))
    };
    if dead {
        return Err(silent());
    }
    if ask == Ask::InDoubt && !doubtful {
        return Ok(true);
    }
    match tokio::time::timeout(LEND_DEADLINE, connection.ping()).await {
        Ok(answer) => answer.map(|()| true),
        Err(_elapsed) => {
            lock(doubts).dead = Some(Instant::now());
            Err(silent())
        }
    }
}

fn lock(doubts: &Mutex<Doubts>) -> MutexGuard<'_, Doubts> {
    // A panic while it was held cannot leave a moment half changed.
    doubts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection, closed when dropped unless its call was answered.
#[derive(Debug)]
struct Lent {
    connection: PoolConnection<Postgres>,
    doubts: Arc<Mutex<Doubts>>,
    answered: bool,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.answered {
            lock(&self.doubts).unanswered = Some(Instant::now());
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
