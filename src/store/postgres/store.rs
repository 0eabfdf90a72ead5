//! The store itself: its pools, its long statements, and the state that its parts keep between calls.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgListener};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres, SqlStr};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::model::Incarnation;
use crate::store::rows::secret;
use crate::store::{Result, Store, StoreClock, StoreError, StoreInfo};

use super::fault::{answer, answer_or, code};
use super::pool::Pool;
use super::settings::{READERS, Target, WRITERS};
use super::sqlstate;

const OFFER_SECRET: &str =
    "INSERT INTO @secrets (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING";

const SECRET: &str = "SELECT value FROM @secrets WHERE name = $1";

/// Rows that spill nearly 1 MiB to a temporary file, given the `work_mem` of these connections: what
/// shows that the disk takes something, and leaves nothing behind.
const SPILL: &str = "SELECT count(*) FROM generate_series(1, 65536)";

/// A store in Postgres; cheap to clone.
#[derive(Debug, Clone)]
pub struct PostgresStore {
    pub(super) target: Arc<Target>,
    pub(super) statements: Statements,
    pub(super) writer: Pool,
    pub(super) general: Pool,
    /// For what readers are shown of single threads ([`Store::for_readers`]).
    pub(super) readers: Pool,
    /// For what clients may ask for in any amount.
    pub(super) lists: Pool,
    pub(super) leases: Pool,
    /// For notifications; `None` behind a pooler, which leaves no session to listen or to be seen.
    pub(super) hints: Option<Pool>,
    pub(super) listener: Arc<Listener>,
    pub(super) missed: Arc<Missed>,
    pub(super) door: Door,
    /// Set by this database's clock; `None`: nobody wants to know its time.
    pub(super) clock: Option<Arc<StoreClock>>,
}

impl PostgresStore {
    /// A statement with the schema filled in.
    pub(super) fn sql(&self, text: &str) -> AssertSqlSafe<String> {
        self.target.schema.sql(text)
    }

    /// Executes a statement over the general connections; the number of rows that it changed.
    pub(super) async fn execute(&self, query: Query<'_, Postgres, PgArguments>) -> Result<u64> {
        Ok(answer(query.execute(&self.general)).await?.rows_affected())
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn info(&self) -> StoreInfo {
        let writers = usize::try_from(WRITERS).unwrap_or(1);
        StoreInfo { backend: "postgres", durable: true, writers }
    }

    async fn ping(&self) -> Result<()> {
        answer(sqlx::query("SELECT 1").execute(&self.general)).await?;
        Ok(())
    }

    async fn takes_writes(&self) -> Result<()> {
        let set = sqlx::query_scalar("SELECT current_setting('transaction_read_only')::boolean");
        if answer(set.fetch_one(&self.leases)).await? {
            return Err(StoreError::ReadOnly("transactions are read-only by default".to_owned()));
        }
        match answer_or(sqlx::query(SPILL).execute(&self.leases)).await {
            // Where temporary files are bounded there is nothing to be learnt from them.
            Err(error) if code(&error).as_deref() != Some(sqlstate::LIMIT_EXCEEDED) => {
                Err(StoreError::from(error))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn shared_secret(&self, name: &str, candidate: [u8; 32]) -> Result<[u8; 32]> {
        let offer = sqlx::query(self.sql(OFFER_SECRET)).bind(name).bind(candidate.as_slice());
        answer(offer.execute(&self.general)).await?;
        let query = sqlx::query_scalar(self.sql(SECRET)).bind(name);
        let value: Vec<u8> = answer(query.fetch_one(&self.general)).await?;
        secret(value)
    }

    fn for_readers(&self) -> Option<(Arc<dyn Store>, usize)> {
        let connections = usize::try_from(READERS).unwrap_or(1);
        Some((Arc::new(Self { general: self.readers.clone(), ..self.clone() }), connections))
    }

    async fn close(&self) {
        self.unsubscribe();
        if let Some(hints) = &self.hints {
            hints.close().await;
        }
        self.writer.close().await;
        self.general.close().await;
        self.readers.close().await;
        self.lists.close().await;
        self.leases.close().await;
        self.door.close().await;
    }
}

/// The long statements, with the schema filled in once.
#[derive(Debug, Clone)]
pub(super) struct Statements {
    pub(super) append: SqlStr,
    pub(super) append_sided: SqlStr,
    pub(super) start: SqlStr,
    pub(super) start_sided: SqlStr,
    pub(super) start_history: SqlStr,
    pub(super) claim: SqlStr,
}

/// The connection that receives hints, once there is one.
pub(super) type Listener = Mutex<Option<PgListener>>;

/// Incarnations seen without a session: when first, and when last.
pub(super) type Missed = std::sync::Mutex<HashMap<Incarnation, (Instant, Instant)>>;

/// The way in: a connection that is made when the first thread comes.
#[derive(Debug, Clone)]
pub(super) struct Door {
    pub(super) options: PgConnectOptions,
    pub(super) connection: Arc<Mutex<Option<PgConnection>>>,
}

impl Door {
    /// A door nobody has come through yet.
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self { options, connection: Arc::default() }
    }

    /// Ends the connection, if there is one.
    pub(super) async fn close(&self) {
        drop(self.connection.lock().await.take());
    }
}
