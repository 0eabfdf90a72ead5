//! The three stores behind one face, with what a test does beside them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rethread::model::Clock;
use rethread::store::{Import, MemoryStore, PostgresStore, SqliteStore, Store};
use sqlx::{ConnectOptions, Connection};

use super::clock::ManualClock;
use super::postgres::TestDatabase;

/// How long leases last in these tests; on Postgres far longer than any test.
pub(crate) const TTL: Duration = Duration::from_mins(10);

/// A store and the means to disturb it.
#[derive(Debug)]
pub(crate) struct Bed {
    /// The store.
    pub(crate) store: Arc<dyn Store>,
    /// The same, row by row.
    pub(crate) archive: Arc<dyn Import>,
    /// Its clock (Postgres has its own).
    pub(crate) clock: Arc<ManualClock>,
    backing: Backing,
}

#[derive(Debug)]
enum Backing {
    Memory,
    Sqlite { folder: tempfile::TempDir },
    Postgres { database: TestDatabase },
}

impl Bed {
    /// In memory.
    pub(crate) fn memory() -> Self {
        let clock = Arc::new(ManualClock::default());
        let store = Arc::new(MemoryStore::new(Arc::<ManualClock>::clone(&clock)));
        Self { archive: Arc::<MemoryStore>::clone(&store), store, clock, backing: Backing::Memory }
    }

    /// In a temporary file, in a folder that does not exist yet.
    pub(crate) async fn sqlite() -> Self {
        let clock = Arc::new(ManualClock::default());
        let folder = tempfile::tempdir().unwrap();
        let store = open_sqlite(&folder, &clock).await;
        let archive = Arc::<SqliteStore>::clone(&store);
        Self { store, archive, clock, backing: Backing::Sqlite { folder } }
    }

    /// In a database of its own.
    pub(crate) async fn postgres() -> Self {
        let clock = Arc::new(ManualClock::default());
        let database = TestDatabase::create().await;
        let store = Arc::new(PostgresStore::connect(&database.settings()).await.unwrap());
        let archive = Arc::<PostgresStore>::clone(&store);
        Self { store, archive, clock, backing: Backing::Postgres { database } }
    }

    /// Closes the store and opens it again; `None` if it does not outlive its process.
    pub(crate) async fn reopened(self) -> Option<Self> {
        self.store.close().await;
        let (store, archive): (Arc<dyn Store>, Arc<dyn Import>) = match &self.backing {
            Backing::Memory => return None,
            Backing::Sqlite { folder } => {
                let store = open_sqlite(folder, &self.clock).await;
                (Arc::<SqliteStore>::clone(&store), store)
            }
            Backing::Postgres { database } => {
                let store = PostgresStore::connect(&database.settings()).await.unwrap();
                (Arc::new(store.clone()), Arc::new(store))
            }
        };
        Some(Self { store, archive, ..self })
    }

    /// The bytes that it takes on the disk; of a file, once its log is folded back.
    pub(crate) async fn size(&self) -> u64 {
        match &self.backing {
            Backing::Memory => 0,
            Backing::Sqlite { folder } => std::fs::metadata(file(folder)).unwrap().len(),
            Backing::Postgres { database } => {
                let mut connection = database.connect().await;
                let sql = "SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c
                    JOIN pg_namespace n ON n.oid = c.relnamespace
                    WHERE n.nspname = 'rethread' AND c.relkind = 'r'";
                let size = sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut connection).await;
                connection.close().await.unwrap();
                size.unwrap().cast_unsigned()
            }
        }
    }

    /// Between which moments its clock stands, in milliseconds, give or take a minute.
    pub(crate) async fn now(&self) -> std::ops::RangeInclusive<i64> {
        let now = match &self.backing {
            Backing::Memory | Backing::Sqlite { .. } => self.clock.now().millis(),
            Backing::Postgres { database } => {
                let mut connection = database.connect().await;
                let now = sqlx::query_scalar("SELECT rethread.now_ms()");
                let now = now.fetch_one(&mut connection).await.unwrap();
                connection.close().await.unwrap();
                now
            }
        };
        now - 60_000..=now + 60_000
    }

    /// Whether a registration ends all earlier leases.
    pub(crate) const fn is_alone(&self) -> bool {
        matches!(self.backing, Backing::Sqlite { .. })
    }

    /// Lets every lease expire.
    pub(crate) async fn expire_leases(&self) {
        self.clock.advance(TTL);
        if let Backing::Postgres { database } = &self.backing {
            database.execute("UPDATE rethread.replicas SET lease_until = '-infinity'").await;
        }
    }

    /// Lets every idempotency key expire.
    pub(crate) async fn expire_keys(&self) {
        self.clock.advance(rethread::store::IDEMPOTENCY_TTL);
        if let Backing::Postgres { database } = &self.backing {
            database.execute("UPDATE rethread.idempotency SET expires_at = '-infinity'").await;
        }
    }

    /// Runs a statement beside the store, where there is a database; `false` if there is none.
    pub(crate) async fn sabotage(&self, sqlite: &'static str, postgres: &'static str) -> bool {
        match &self.backing {
            Backing::Memory => false,
            Backing::Sqlite { folder } => {
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file(folder));
                let mut connection = options.connect().await.unwrap();
                sqlx::raw_sql(sqlite).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
                true
            }
            Backing::Postgres { database } => {
                database.execute(postgres).await;
                true
            }
        }
    }
}

fn file(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("new/folder/test.db")
}

async fn open_sqlite(folder: &tempfile::TempDir, clock: &Arc<ManualClock>) -> Arc<SqliteStore> {
    let clock = Arc::<ManualClock>::clone(clock);
    Arc::new(SqliteStore::open(&file(folder), clock).await.unwrap())
}
