//! The one task that writes.
//!
//! It owns the only connection that may write and runs one transaction after the other. A caller
//! whose future is dropped loses the answer, never the write: half a transaction cannot be left
//! behind, and no two writers can meet.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::future::BoxFuture;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::store::StoreError;

use super::fault::{Fault, fault};
use super::lock::{FileHold, LockFile};

/// Transactions that may wait for the writer; more make their callers wait.
const QUEUE: usize = 256;

/// A transaction's work.
type Job = Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, ()> + Send>;

/// The way to the writing task.
#[derive(Debug)]
pub(super) struct Writer {
    /// `None` once the store is closed: the task ends when it has done what waited.
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    tasks: TaskTracker,
    lock: Weak<LockFile>,
}

/// Types a closure as the work of a transaction.
pub(super) fn transaction<T, W>(work: W) -> W
where
    W: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, Fault>>,
{
    work
}

impl Writer {
    /// Starts the task that owns `connection`; `lock` is let go when it has closed it.
    pub(super) fn start(connection: SqliteConnection, lock: LockFile) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let tasks = TaskTracker::new();
        let lock = Arc::new(lock);
        let held = Arc::downgrade(&lock);
        tasks.spawn(async move {
            work_off(connection, queue).await;
            drop(lock);
        });
        tasks.close();
        Self { jobs: Mutex::new(Some(jobs)), tasks, lock: held }
    }

    /// The lock, while the task has it.
    pub(super) fn hold(&self) -> Option<FileHold> {
        self.lock.upgrade().map(FileHold)
    }

    /// Runs `work` in a transaction and commits it, or undoes it if it fails.
    pub(super) async fn run<T, W>(&self, work: W) -> Result<T, Fault>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, Fault>>
            + Send
            + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            Box::pin(async move {
                let result = commit(connection, work).await;
                // Nobody may be waiting any more; the work is done all the same.
                drop(answer.send(result));
            })
        });
        let gone = || Fault::Store(StoreError::Unavailable("the store is closed".to_owned()));
        let jobs = self.jobs().clone().ok_or_else(gone)?;
        jobs.send(job).await.map_err(|_| gone())?;
        drop(jobs);
        answered.await.map_err(|_| gone())?
    }

    /// Finishes what waits and closes the connection.
    pub(super) async fn close(&self) {
        drop(self.jobs().take());
        self.tasks.wait().await;
    }

    fn jobs(&self) -> MutexGuard<'_, Option<mpsc::Sender<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn work_off(mut connection: SqliteConnection, mut queue: mpsc::Receiver<Job>) {
    while let Some(job) = queue.recv().await {
        job(&mut connection).await;
    }
    let emptied = checkpoint(&mut connection).await;
    let closed = connection.close().await.map_err(|error| fault(&error));
    if let Err(error) = emptied.and(closed) {
        tracing::warn!(%error, "the database was not closed in good order");
    }
}

/// Brings the write-ahead log into the database and cuts it to nothing.
async fn checkpoint(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let cut = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(connection).await;
    cut.map(drop).map_err(|error| fault(&error))
}

/// By hand, not by the driver's transactions: it counts them, and when a full disk or an I/O error
/// has made SQLite undo one by itself the count stays, and no other transaction ever begins.
async fn commit<T, W>(connection: &mut SqliteConnection, work: W) -> Result<T, Fault>
where
    W: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, Fault>>,
{
    let done = attempt(connection, work).await;
    if done.is_err()
        && let Err(error) = execute(connection, "ROLLBACK").await
    {
        tracing::debug!(%error, "there was nothing to undo");
    }
    done
}

async fn attempt<T, W>(connection: &mut SqliteConnection, work: W) -> Result<T, Fault>
where
    W: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, Fault>>,
{
    execute(connection, "BEGIN IMMEDIATE").await?;
    let done = work(connection).await?;
    execute(connection, "COMMIT").await?;
    Ok(done)
}

async fn execute(
    connection: &mut SqliteConnection,
    statement: &'static str,
) -> Result<(), sqlx::Error> {
    sqlx::query(statement).execute(connection).await.map(drop)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    async fn insert(connection: &mut SqliteConnection, bytes: i64) -> Result<(), Fault> {
        commit(connection, |connection| {
            async move {
                let query = sqlx::query("INSERT INTO t VALUES (zeroblob(?))").bind(bytes);
                query.execute(connection).await?;
                Ok(())
            }
            .boxed()
        })
        .await
    }

    #[tokio::test]
    async fn writing_goes_on_after_the_disk_was_full() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        for sql in ["CREATE TABLE t (x)", "PRAGMA max_page_count = 10"] {
            execute(&mut connection, sql).await.unwrap();
        }
        let full = insert(&mut connection, 1 << 20).await;
        assert!(matches!(full, Err(Fault::Store(StoreError::Unavailable(_)))), "{full:?}");
        insert(&mut connection, 1).await.unwrap();
    }
}
