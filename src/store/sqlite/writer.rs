//! The one task that writes.
//!
//! It owns the only connection that may write and runs one transaction after the other. A caller
//! whose future is dropped loses the answer, never the write: half a transaction cannot be left
//! behind, and no two writers can meet.

use futures_util::future::BoxFuture;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::store::StoreError;

use super::fault::{Fault, fault};

/// Transactions that may wait for the writer; more make their callers wait.
const QUEUE: usize = 256;

/// A transaction's work.
type Job = Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, ()> + Send>;

/// The way to the writing task.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
    tasks: TaskTracker,
    closing: tokio_util::sync::CancellationToken,
}

/// Types a closure as the work of a transaction.
pub(super) fn transaction<T, W>(work: W) -> W
where
    W: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, Fault>>,
{
    work
}

impl Writer {
    /// Starts the task that owns `connection`; `on_end` is dropped when it has closed it.
    pub(super) fn start(connection: SqliteConnection, on_end: impl Send + 'static) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let tasks = TaskTracker::new();
        let closing = tokio_util::sync::CancellationToken::new();
        let until = closing.clone();
        tasks.spawn(async move {
            work_off(connection, queue, until).await;
            drop(on_end);
        });
        tasks.close();
        Self { jobs, tasks, closing }
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
        self.jobs.send(job).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Finishes what waits and closes the connection.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        self.tasks.wait().await;
    }
}

async fn work_off(
    mut connection: SqliteConnection,
    mut queue: mpsc::Receiver<Job>,
    until: tokio_util::sync::CancellationToken,
) {
    loop {
        tokio::select! {
            () = until.cancelled(), if !queue.is_closed() => queue.close(),
            job = queue.recv() => match job {
                Some(job) => job(&mut connection).await,
                None => break,
            },
        }
    }
    if let Err(error) = checkpoint(&mut connection).await {
        tracing::warn!(%error, "the write-ahead log was not emptied at the end");
    }
    if let Err(error) = connection.close().await {
        tracing::warn!(%error, "the database was not closed in good order");
    }
}

/// Brings the write-ahead log into the database and cuts it to nothing.
async fn checkpoint(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let cut = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(connection).await;
    cut.map(drop).map_err(|error| fault(&error))
}

async fn commit<T, W>(connection: &mut SqliteConnection, work: W) -> Result<T, Fault>
where
    W: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, Fault>>,
{
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let done = work(&mut transaction).await?;
    transaction.commit().await?;
    Ok(done)
}
