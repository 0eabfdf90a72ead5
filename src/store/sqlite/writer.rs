//! The one task that writes.
//!
//! It owns the only connection that may write and runs transactions one by one. A caller whose
//! future is dropped loses the answer, not the write. So no transaction is left half done, and no
//! two writers can meet.
//!
//! It has a thread and a runtime of its own: however many requests there are, none of their tasks
//! comes between two steps of a transaction. Leases are renewed before anything else that waits.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::{Connection, SqliteConnection};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::model::lock;
use crate::store::{Disk, StoreError};

use super::fault::{Fault, fault};
use super::hold::{FileHold, Hold, Loss};
use super::log::{Gauges, Limits, Log, cut};
use super::lost::give_up;

/// The name of the task's thread, for people who look which one is busy.
const NAME: &str = "rethread-writer";
/// Capacity of the writer's queue; once it is full, callers wait.
const QUEUE: usize = 256;
/// Capacity of the queue that goes first. One replica alone renews its lease over a file.
const FIRST: usize = 4;
/// How long nobody may write before the disk is looked at all the same.
const IDLE_LOOK: Duration = Duration::from_secs(1);

/// A transaction's work; it fails only if the disk can no longer be trusted.
type Job =
    Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<(), String>> + Send>;

/// Connections of files that failed, kept to the end of the process: closing one would checkpoint
/// the log as if nothing had happened, and remove what has the log's name by then.
static FAILED: Mutex<Vec<(SqliteConnection, Arc<Hold>)>> = Mutex::new(Vec::new());

/// Where jobs are given to the task.
#[derive(Debug, Clone)]
struct Inlet {
    first: mpsc::Sender<Job>,
    jobs: mpsc::Sender<Job>,
}

/// Where the task takes jobs from.
struct Queue {
    first: mpsc::Receiver<Job>,
    jobs: mpsc::Receiver<Job>,
}

impl Queue {
    /// Returns the next job; `None` once nobody can give any more.
    async fn next(&mut self) -> Option<Job> {
        tokio::select! {
            biased;
            Some(job) = self.first.recv() => Some(job),
            job = self.jobs.recv() => job,
        }
    }
}

/// Handle of the writing task.
#[derive(Debug)]
pub(super) struct Writer {
    /// `None` once the store is closed; the task then finishes its queue and ends.
    inlet: Mutex<Option<Inlet>>,
    tasks: TaskTracker,
    hold: Weak<Hold>,
    gauges: Arc<Gauges>,
}

impl Writer {
    /// Starts the task that owns `connection`; it closes that, then lets go of the file. Fails if it
    /// cannot have a thread.
    pub(super) fn start(connection: SqliteConnection, hold: Hold) -> io::Result<Self> {
        Self::with(Limits::default(), connection, hold)
    }

    fn with(limits: Limits, connection: SqliteConnection, hold: Hold) -> io::Result<Self> {
        let (first, gone_first) = mpsc::channel(FIRST);
        let (jobs, queue) = mpsc::channel(QUEUE);
        let queue = Queue { first: gone_first, jobs: queue };
        let (tasks, gauges, hold) =
            (TaskTracker::new(), Arc::new(Gauges::default()), Arc::new(hold));
        let log = Log::new(Arc::clone(&hold), limits, &gauges);
        let weak = Arc::downgrade(&hold);
        let work = tasks.track_future(run((connection, hold), queue, log, Arc::clone(&gauges)));
        let runtime = Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name(NAME.to_owned()).spawn(move || runtime.block_on(work))?;
        tasks.close();
        Ok(Self { inlet: Mutex::new(Some(Inlet { first, jobs })), tasks, hold: weak, gauges })
    }

    /// The hold on the file, while the task has it.
    pub(super) fn hold(&self) -> Option<FileHold> {
        self.hold.upgrade().map(FileHold)
    }

    /// The disk as last measured.
    pub(super) fn disk(&self) -> Disk {
        self.gauges.disk()
    }

    /// Resolves when the disk can no longer be trusted, or the file has lost its name.
    pub(super) async fn failed(&self) {
        self.gauges.failed.cancelled().await;
    }

    /// Whether that is so already.
    pub(super) fn has_failed(&self) -> bool {
        self.gauges.failed.is_cancelled()
    }

    /// Runs `work` in a transaction; commits it, or on failure rolls it back.
    pub(super) async fn run<T, W>(&self, work: W) -> Result<T, Fault>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, Fault>>
            + Send
            + 'static,
    {
        self.run_at(|inlet| inlet.jobs, work).await
    }

    /// The same, before everything that waits: for what a lease depends on.
    pub(super) async fn run_first<T, W>(&self, work: W) -> Result<T, Fault>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, Fault>>
            + Send
            + 'static,
    {
        self.run_at(|inlet| inlet.first, work).await
    }

    async fn run_at<T, W>(
        &self,
        at: impl FnOnce(Inlet) -> mpsc::Sender<Job>,
        work: W,
    ) -> Result<T, Fault>
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
                let disk = disk_fault(&result);
                // The caller may be gone; the work is done nevertheless.
                drop(answer.send(result));
                disk
            })
        });
        let gone = || Fault::Store(StoreError::Unavailable("the store is closed".to_owned()));
        let jobs = self.inlet().clone().map(at).ok_or_else(gone)?;
        jobs.send(job).await.map_err(|_| gone())?;
        drop(jobs);
        answered.await.map_err(|_| gone())?
    }

    /// Finishes the queue and closes the connection.
    pub(super) async fn close(&self) {
        drop(self.inlet().take());
        self.tasks.wait().await;
    }

    fn inlet(&self) -> MutexGuard<'_, Option<Inlet>> {
        lock(&self.inlet)
    }
}

/// Runs queued jobs until the store is closed or fails.
async fn run(
    (mut connection, hold): (SqliteConnection, Arc<Hold>),
    mut queue: Queue,
    log: Log,
    gauges: Arc<Gauges>,
) {
    // Nobody writes once this task is gone, so its panic is a failure of the store.
    let ends = gauges.failed.clone().drop_guard();
    if let Err(failure) = work_off(&mut connection, &mut queue, log, &gauges).await {
        match failure {
            Failure::Disk(detail) => {
                tracing::error!(
                    detail,
                    "the disk lost what it was given; nothing is written any more"
                );
            }
            Failure::Lost(loss) => give_up(&mut connection, &hold, &loss).await,
        }
        let mut failed = lock(&FAILED);
        failed.push((connection, hold));
        return;
    }
    if let Err(error) = connection.close().await.map_err(|error| fault(&error)) {
        tracing::warn!(%error, "the database was not closed in good order");
    }
    ends.disarm();
    drop(hold);
}

/// The failures after which nothing is written any more.
#[derive(Debug)]
enum Failure {
    Disk(String),
    Lost(Loss),
}

impl From<String> for Failure {
    fn from(detail: String) -> Self {
        Self::Disk(detail)
    }
}

async fn work_off(
    connection: &mut SqliteConnection,
    queue: &mut Queue,
    mut log: Log,
    gauges: &Gauges,
) -> Result<(), Failure> {
    loop {
        match tokio::time::timeout(IDLE_LOOK, queue.next()).await {
            Ok(Some(job)) => job(connection).await?,
            Ok(None) => break,
            Err(_nobody_writes) => {}
        }
        disk_fault(&log.tend(connection, gauges).await)?;
        if let Some(loss) = log.loss() {
            return Err(Failure::Lost(loss));
        }
    }
    log.look(gauges).await;
    if let Some(loss) = log.loss() {
        return Err(Failure::Lost(loss));
    }
    let emptied = cut(connection).await;
    disk_fault(&emptied)?;
    if let Err(error) = emptied {
        tracing::warn!(?error, "the log could not be cut");
    }
    Ok(())
}

/// Fails if the result is a disk fault.
fn disk_fault<T>(result: &Result<T, Fault>) -> Result<(), String> {
    match result {
        Err(Fault::Disk(detail)) => Err(detail.clone()),
        Ok(_) | Err(Fault::Data(_) | Fault::Store(_)) => Ok(()),
    }
}

/// By hand, not by the driver's transactions: it counts them, and when a full disk or an I/O error
/// has made SQLite undo one by itself the count stays, and no other transaction ever begins.
async fn commit<T, W>(connection: &mut SqliteConnection, work: W) -> Result<T, Fault>
where
    W: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, Fault>>,
{
    let done = attempt(connection, work).await;
    if done.is_err()
        && disk_fault(&done).is_ok()
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

    use std::path::Path;

    use super::super::lock::LockFile;
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

    /// A writer that checks its log at each job; its database has an empty table.
    async fn eager(path: &Path, bytes: u64) -> Writer {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        let options = options.create_if_missing(true).pragma("wal_autocheckpoint", "0");
        let wal = sqlx::sqlite::SqliteJournalMode::Wal;
        let mut connection =
            SqliteConnection::connect_with(&options.journal_mode(wal)).await.unwrap();
        execute(&mut connection, "CREATE TABLE t (x)").await.unwrap();
        let none = Duration::ZERO;
        let every = Duration::from_hours(1);
        let limits = Limits { bytes, every, pause: none, look: none };
        Writer::with(limits, connection, Hold::take(LockFile::take(path).unwrap()).unwrap())
            .unwrap()
    }

    async fn write(writer: &Writer, bytes: i64) {
        let query = sqlx::query("INSERT INTO t VALUES (zeroblob(?))").bind(bytes);
        let work =
            writer.run(|connection| async move { Ok(query.execute(connection).await?) }.boxed());
        work.await.unwrap();
    }

    #[tokio::test]
    async fn the_log_is_cut_when_it_is_large_though_not_under_a_reader() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let writer = eager(&path, 1 << 20).await;
        let mut reader = SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
        let mut size = 0;
        for _ in 0..3 {
            write(&writer, 400 << 10).await;
            size = size.max(writer.disk().log_bytes);
        }
        write(&writer, 1).await;
        assert!(size > 0 && writer.disk().log_bytes < 1 << 20, "{size} {:?}", writer.disk());
        assert!(writer.disk().free_bytes > 0);
        // A reader's snapshot keeps the log: it grows, and is cut once the reader ends.
        for sql in ["BEGIN", "SELECT * FROM t"] {
            sqlx::query(sql).fetch_all(&mut reader).await.unwrap();
        }
        for _ in 0..4 {
            write(&writer, 400 << 10).await;
        }
        write(&writer, 1).await;
        assert!(writer.disk().log_bytes > 1 << 20, "{:?}", writer.disk());
        execute(&mut reader, "COMMIT").await.unwrap();
        write(&writer, 1).await;
        write(&writer, 1).await;
        assert!(writer.disk().log_bytes < 1 << 20, "{:?}", writer.disk());
        writer.close().await;
    }

    #[tokio::test]
    async fn what_goes_first_waits_for_the_job_at_work_alone() {
        let folder = tempfile::tempdir().unwrap();
        let writer = eager(&folder.path().join("a.db"), 1 << 20).await;
        let (end, ended) = oneshot::channel::<()>();
        let order = Arc::new(Mutex::new(Vec::new()));
        let [of_first, of_second] = [Arc::clone(&order), Arc::clone(&order)];
        let until_told = writer.run(move |_| {
            async move { ended.await.map_err(|gone| Fault::Data(gone.to_string())) }.boxed()
        });
        let mut at_work = std::pin::pin!(until_told);
        assert!(at_work.as_mut().now_or_never().is_none());
        let second = writer.run(move |_| {
            lock(&of_second).push("second");
            async { Ok(()) }.boxed()
        });
        let first = writer.run_first(move |_| {
            lock(&of_first).push("first");
            async { Ok(()) }.boxed()
        });
        let both = futures_util::future::join(second, first);
        let mut waits = std::pin::pin!(both);
        assert!(waits.as_mut().now_or_never().is_none());
        end.send(()).unwrap();
        at_work.await.unwrap();
        let (second, first) = waits.await;
        first.and(second).unwrap();
        assert_eq!(*lock(&order), ["first", "second"]);
        writer.close().await;
    }

    #[test]
    fn a_write_waits_for_no_task_of_the_callers_runtime() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let writer = runtime.block_on(eager(&path, 1 << 20));
        let (tell, told) = std::sync::mpsc::channel();
        runtime.block_on(async {
            let work = writer.run(move |_| async move { Ok(tell.send(())) }.boxed());
            let mut work = std::pin::pin!(work);
            assert!(work.as_mut().now_or_never().is_none(), "it was given to the task");
            // Nothing else of this runtime gets its turn meanwhile.
            told.recv_timeout(Duration::from_secs(20)).unwrap();
            work.await.unwrap().unwrap();
            writer.close().await;
        });
    }

    #[tokio::test]
    async fn writing_goes_on_after_the_disk_was_full() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        for sql in ["CREATE TABLE t (x)", "PRAGMA max_page_count = 10"] {
            execute(&mut connection, sql).await.unwrap();
        }
        let full = insert(&mut connection, 1 << 20).await;
        assert!(matches!(full, Err(Fault::Store(StoreError::Full(_)))), "{full:?}");
        insert(&mut connection, 1).await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_of_the_writing_task_is_a_failure_of_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let writer = eager(&folder.path().join("a.db"), 1 << 20).await;
        let work = writer.run(|_| async { panic!("broken") }.boxed());
        let done: Result<(), Fault> = work.await;
        assert!(matches!(done, Err(Fault::Store(StoreError::Unavailable(_)))), "{done:?}");
        writer.failed().await;
    }
}
