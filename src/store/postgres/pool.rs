//! A pool that takes a connection back only after a call that was answered.
//!
//! The driver's own pool pings a connection before it takes it back, and waits for the answer as
//! long as TCP does: a quarter of an hour if the other side vanished (a failover, a firewall that
//! forgot the connection). For so long the connection's place would be lost, and the writers have
//! only two.
//!
//! Behind a pooler in transaction mode a call is a transaction of its own. The driver parses and
//! binds a statement in two steps even if it has no name. Without a transaction the pooler may send
//! each to another session: there the second fails, or binds somebody else's statement. A
//! transaction that is cut short ends with its connection, which is never lent again.
//!
//! A connection is also pinged with a deadline before it is lent. Once one did not answer, those
//! that were idle then are closed without a ping: after a failover all are dead, and finding that
//! out one by one would take as long as the outage.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use sqlx::error::BoxDynError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{
    PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgQueryResult, PgRow, PgStatement,
    PgTypeInfo,
};
use sqlx::{
    AssertSqlSafe, Connection, Either, Error, Execute, Executor, PgConnection, Postgres,
    SqlSafeStr, SqlStr,
};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::model::lock;

use super::fault::code;
use super::sqlstate;

/// Timeout of the ping of a returned connection: it has just answered.
const RETURN_DEADLINE: Duration = Duration::from_secs(2);

/// Timeout of the ping of an idle connection: far longer than a round trip, far shorter than a
/// caller's wait for a connection.
const LEND_DEADLINE: Duration = Duration::from_secs(1);

/// When to ping a connection before lending it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// Every time: a failed call reaches a client.
    Always,
    /// Only after an unanswered call: a ping costs more than a repeated call.
    InDoubt,
}

/// Connections of one purpose; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    connections: PgPool,
    /// The statement that begins the transaction of each call, if a pooler makes one necessary.
    begin: Option<Arc<str>>,
    doubts: Arc<Mutex<Doubts>>,
}

/// Evidence against connections that were idle then.
#[derive(Debug, Default)]
struct Doubts {
    /// When a call, perhaps a cancelled one, last went unanswered.
    unanswered: Option<Instant>,
    /// When a ping last timed out.
    dead: Option<Instant>,
}

impl Pool {
    /// A pool that connects on use.
    pub(super) fn new(pool: PgPoolOptions, options: PgConnectOptions, ask: Ask) -> Self {
        let doubts = Arc::<Mutex<Doubts>>::default();
        let known = Arc::clone(&doubts);
        let pool = pool.test_before_acquire(false).before_acquire(move |connection, meta| {
            let known = Arc::clone(&known);
            async move { is_well(connection, meta.idle_for, (ask, &known)).await }.boxed()
        });
        Self { connections: pool.connect_lazy_with(options), begin: None, doubts }
    }

    /// The same behind a pooler, where each transaction may reach another session: no statement
    /// keeps a name, and each call makes these settings.
    pub(super) fn unnamed<'a>(
        self,
        settings: impl IntoIterator<Item = &'a (&'a str, &'a str)>,
    ) -> Self {
        let mut begin = String::from("BEGIN");
        for (name, value) in settings {
            let _infallible = write!(begin, "; SET LOCAL {name} = '{value}'");
        }
        Self { begin: Some(begin.into()), ..self }
    }

    /// Closes it once all are returned.
    pub(super) async fn close(&self) {
        self.connections.close().await;
    }

    async fn lend(self) -> Result<Lent, Error> {
        let connection = self.connections.acquire().await?;
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

/// A connection, closed when dropped unless its call was answered.
#[derive(Debug)]
struct Lent {
    connection: PoolConnection<Postgres>,
    doubts: Arc<Mutex<Doubts>>,
    answered: bool,
}

impl Lent {
    /// Performs one call, in a transaction of its own if `begin` says so.
    async fn all<'q, E: Execute<'q, Postgres> + 'q>(
        mut self,
        query: E,
        begin: Option<Arc<str>>,
    ) -> Vec<Result<Either<PgQueryResult, PgRow>, Error>> {
        let Some(begin) = begin else {
            let all: Vec<_> = self.connection.fetch_many(query).collect().await;
            if self.is_of_a_standby(&all) {
                return all;
            }
            // The server tells of an error before it lets go of what the statement has locked. The
            // next statement may use another connection, so wait until it has.
            self.answered = all.iter().all(Result::is_ok) || self.connection.ping().await.is_ok();
            return all;
        };
        if let Err(error) = self.say(AssertSqlSafe(begin).into_sql_str()).await {
            return vec![Err(error)];
        }
        let all: Vec<_> = self.connection.fetch_many(Unnamed(query)).collect().await;
        if self.is_of_a_standby(&all) {
            return all;
        }
        let failed = all.iter().any(Result::is_err);
        let end = if failed { "ROLLBACK" } else { "COMMIT" };
        let ended = self.say(end.into_sql_str()).await;
        self.answered = ended.is_ok();
        match ended {
            Err(error) if !failed => vec![Err(error)],
            _ => all,
        }
    }

    /// Whether the other side takes no writes. Then this connection is closed, and those that are idle
    /// with it: after a failover the same name leads to another server.
    fn is_of_a_standby<T>(&self, answers: &[Result<T, Error>]) -> bool {
        let read_only = |error: &Error| code(error).as_deref() == Some(sqlstate::READ_ONLY);
        let refused = answers.iter().filter_map(|answer| answer.as_ref().err()).any(read_only);
        if refused {
            lock(&self.doubts).dead = Some(Instant::now());
        }
        refused
    }

    async fn say(&mut self, sql: SqlStr) -> Result<(), Error> {
        self.connection.execute(sql).await.map(|_| ())
    }
}

/// A statement that leaves no name behind in its session.
struct Unnamed<E>(E);

impl<'q, E: Execute<'q, Postgres>> Execute<'q, Postgres> for Unnamed<E> {
    fn sql(self) -> SqlStr {
        self.0.sql()
    }

    fn statement(&self) -> Option<&PgStatement> {
        self.0.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        self.0.take_arguments()
    }

    fn persistent(&self) -> bool {
        false
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.answered {
            lock(&self.doubts).unanswered = Some(Instant::now());
            return self.connection.close_on_drop();
        }
        // It may have gone silent since: the driver's own ping gets a deadline too.
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
            let begin = pool.begin.clone();
            let all = match pool.lend().await {
                Ok(lent) => lent.all(query, begin).await,
                Err(error) => vec![Err(error)],
            };
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
            let begin = pool.begin.clone();
            let mut row = None;
            for one in pool.lend().await?.all(query, begin).await {
                if let Either::Right(found) = one?
                    && row.is_none()
                {
                    row = Some(found);
                }
            }
            Ok(row)
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
