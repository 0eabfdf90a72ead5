//! Opens the file: lock, version check, schema, the writer's connection and the readers' pool.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use sqlx::migrate::{Migrate, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use crate::model::Clock;
use crate::store::{MigrationState, OpenError};

use super::SqliteStore;
use super::bounded::Bounded;
use super::fault::unusable;
use super::hold::{self, Hold};
use super::lock::{self, LockFile};
use super::log::BUSY_TIMEOUT;
use super::make::{self, VERSIONS};
use super::shrink;
use super::writer::Writer;

/// Earlier versions can lose data when the write-ahead log is reset.
const OLDEST_VERSION: (u32, u32, u32) = (3, 51, 3);
/// Connections that read for all else: one more than threads are loaded at once.
const READERS: u32 = 5;
/// Connections for what readers are shown of single threads.
const SHOWN: u32 = 4;
/// Connections for lists and counts that clients ask for: however many ask for however much, all else
/// goes on beside them.
const LISTS: u32 = 3;
/// Longest wait for a reading connection, well within the five seconds a client waits for 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// Never by itself: see `log.rs`.
const CHECKPOINT_PAGES: &str = "0";
/// Bytes. The log is cut to this when it begins anew, should a checkpoint ever leave it whole, so
/// that one burst does not keep the disk.
const LOG_BYTES: &str = "134217728";
/// Rows the connection's thread hands over without a hop: a whole group write.
const ROW_BUFFER: usize = 1024;
/// Statements kept prepared: a group write has some ten sizes of five.
const STATEMENTS: usize = 256;

impl SqliteStore {
    /// Opens a database file (made with its folders if missing), brings its schema up to date
    /// and takes all earlier leases for expired. Fails if another process has it open.
    pub async fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let (hold, mut connection) = connect(path).await?;
        check_version(&mut connection).await?;
        migrate(&mut connection, None).await?;
        shrink::prepare(&mut connection).await;
        let expire = [
            "UPDATE replicas SET lease_until = -1",
            "UPDATE notification_cursors SET leased_until = 0 WHERE leased_until <> 0",
        ];
        for sql in expire {
            sqlx::query(sql).execute(&mut connection).await.map_err(|error| unusable(&error))?;
        }
        let [readers, shown, lists] =
            [READERS, SHOWN, LISTS].map(|connections| readers(hold.database(), connections));
        let writer = Writer::start(connection, hold).map_err(|error| {
            OpenError::Unfit(format!("no thread to write to the database file: {error}"))
        })?;
        Ok(Self {
            clock,
            writer: Arc::new(writer),
            readers,
            shown,
            lists: Bounded::over(lists),
            first_own: Arc::new(AtomicI64::new(i64::MAX)),
        })
    }

    /// Applies the migrations that are missing.
    pub async fn migrate_up(path: &Path) -> Result<(), OpenError> {
        let (_hold, mut connection) = connect(path).await?;
        migrate(&mut connection, None).await?;
        connection.close().await.map_err(|error| unusable(&error))
    }

    /// Undoes the migrations after version `to`; 0 undoes all, with all data.
    pub async fn migrate_down(path: &Path, to: i64) -> Result<(), OpenError> {
        let (_hold, mut connection) = connect(path).await?;
        migrate(&mut connection, Some(to)).await?;
        connection.close().await.map_err(|error| unusable(&error))
    }

    /// Writes the file anew, without unused pages: it takes the room of the file once more meanwhile.
    pub async fn compact(path: &Path) -> Result<(), OpenError> {
        let (_hold, mut connection) = connect(path).await?;
        shrink::compact(&mut connection).await.map_err(|error| unusable(&error))?;
        connection.close().await.map_err(|error| unusable(&error))
    }

    /// Every known migration and whether the database has it.
    pub async fn migration_status(path: &Path) -> Result<Vec<MigrationState>, OpenError> {
        let (_hold, mut connection) = connect(path).await?;
        let failed = |error: sqlx::migrate::MigrateError| OpenError::Migration(error.to_string());
        connection.ensure_migrations_table(VERSIONS).await.map_err(failed)?;
        let applied = connection.list_applied_migrations(VERSIONS).await.map_err(failed)?;
        let applied: Vec<i64> = applied.into_iter().map(|step| step.version).collect();
        connection.close().await.map_err(|error| unusable(&error))?;
        Ok(MigrationState::of(&migrator(), &applied))
    }
}

/// Opens a file that is there for reading alone; its schema must be the one this server knows.
pub(super) async fn inspect(path: &Path) -> Result<SqlitePool, OpenError> {
    let unread = |error| OpenError::Unfit(format!("{} can't be read: {error}", path.display()));
    let found = path.to_owned();
    let found = blocking(move || Ok((lock::resolve(&found), found.metadata()))).await?;
    let (path, found) = (found.0.map_err(unread)?, found.1.map_err(unread)?);
    if found.len() == 0 {
        return Err(hold::empty(&path));
    }
    let readers = readers(&path, READERS);
    let mut connection = readers.acquire().await.map_err(|error| unusable(&error))?;
    make::require_own(&mut connection, &path).await?;
    let sql = "SELECT version FROM _sqlx_migrations WHERE success";
    let applied = sqlx::query_scalar(sql).fetch_all(&mut *connection).await;
    let applied: Vec<i64> = applied.map_err(|error| unusable(&error))?;
    MigrationState::require_current(&migrator(), &applied)?;
    Ok(readers)
}

/// Opens the database for writing, made if it is not there, and keeps others away from it.
async fn connect(path: &Path) -> Result<(Hold, SqliteConnection), OpenError> {
    let wanted = path.to_owned();
    let (lock, is_new) = blocking(move || {
        let lock = LockFile::take(&wanted)?;
        make::tidy(lock.database())?;
        let is_new = lock.lacks_database()?;
        Ok((lock, is_new))
    })
    .await?;
    if is_new {
        make::make(lock.database()).await?;
    }
    let hold = blocking(move || Hold::take(lock)).await?;
    let path = hold.database();
    let mut connection = writing(path).connect().await.map_err(|error| unusable(&error))?;
    make::require_own(&mut connection, path).await?;
    // Not before that: it changes the file.
    let wal = sqlx::query("PRAGMA journal_mode = WAL").execute(&mut connection).await;
    wal.map_err(|error| unusable(&error))?;
    if let Some(loss) = hold.loss() {
        return Err(OpenError::Unfit(format!("{}: {loss}", path.display())));
    }
    hold.lock_file().forget_word().map_err(|error| lock::unfit(path, &error))?;
    Ok((hold, connection))
}

/// Runs what may wait for the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OpenError> + Send + 'static,
) -> Result<T, OpenError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| OpenError::Unfit(error.to_string()))?
}

fn writing(path: &Path) -> SqliteConnectOptions {
    options(path)
        // Acknowledged means on the disk; the group pays for it together.
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("journal_size_limit", LOG_BYTES)
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
        .row_buffer_size(ROW_BUFFER)
        .statement_cache_capacity(STATEMENTS)
}

fn readers(path: &Path, connections: u32) -> SqlitePool {
    let pool = SqlitePoolOptions::new().max_connections(connections);
    let pool = pool.acquire_timeout(ACQUIRE_TIMEOUT);
    pool.test_before_acquire(false).connect_lazy_with(options(path).read_only(true))
}

async fn check_version(connection: &mut SqliteConnection) -> Result<(), OpenError> {
    let version: String = sqlx::query_scalar("SELECT sqlite_version()")
        .fetch_one(connection)
        .await
        .map_err(|error| unusable(&error))?;
    if is_new_enough(&version) {
        return Ok(());
    }
    let (major, minor, patch) = OLDEST_VERSION;
    Err(OpenError::Unfit(format!(
        "SQLite {version} can lose data; this server needs {major}.{minor}.{patch} or newer"
    )))
}

fn is_new_enough(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next()) >= OLDEST_VERSION
}

/// Migrates up, or down to a version.
async fn migrate(connection: &mut SqliteConnection, down_to: Option<i64>) -> Result<(), OpenError> {
    let migrator = migrator();
    let moved = match down_to {
        None => migrator.run_direct(None, connection, false).await,
        Some(version) => migrator.undo(connection, version).await,
    };
    moved.map_err(|error| OpenError::migration(&error, &migrator))
}

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("migrations/sqlite");
    // The lock file is held already.
    migrator.set_locking(false);
    migrator
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_acknowledged_is_on_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let (_hold, mut connection) = connect(&folder.path().join("a.db")).await.unwrap();
        for (pragma, wanted) in [
            ("PRAGMA synchronous", 2),
            ("PRAGMA wal_autocheckpoint", 0),
            ("PRAGMA journal_size_limit", 128 << 20),
            ("PRAGMA busy_timeout", 5_000),
        ] {
            let set: i64 = sqlx::query_scalar(pragma).fetch_one(&mut connection).await.unwrap();
            assert_eq!(set, wanted, "{pragma}");
        }
        let mode: String =
            sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut connection).await.unwrap();
        assert_eq!(mode, "wal");
    }

    #[test]
    fn old_versions_are_refused() {
        for good in ["3.51.3", "3.52.0", "4.0.0"] {
            assert!(is_new_enough(good), "{good}");
        }
        for bad in ["3.51.2", "3.50.9", "2.99.99", "", "x"] {
            assert!(!is_new_enough(bad), "{bad}");
        }
    }
}
