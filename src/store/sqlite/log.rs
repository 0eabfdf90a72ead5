//! The write-ahead log: how large it is, and when it is brought into the database and cut.
//!
//! It is folded back by hand, in the writing task, between two transactions: SQLite's own checkpoint behind a commit
//! swallows its errors, and a failed `fsync` must not go unseen. Called by the writer only.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use sqlx::{AssertSqlSafe, SqliteConnection};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::store::Disk;

use super::fault::Fault;
use super::hold::{Hold, Loss};
use super::private::beside;

/// Longest wait for another connection of this process; only a checkpoint ever makes one wait.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long readers are waited for before the log is cut: reads are over in milliseconds, and a longer
/// one is not waited for, since all writes wait meanwhile.
const CUT_PATIENCE: Duration = Duration::from_millis(100);

/// When the log is cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Beyond this size, in bytes.
    pub(super) bytes: u64,
    /// However small it is, this long after the last time.
    pub(super) every: Duration,
    /// Not again for this long if a reader was in the way.
    pub(super) pause: Duration,
    /// How often its size, the disk and the file's name are looked at while there are writes.
    pub(super) look: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // 80 MiB: SQLite's default of 4 MB stalls every few batches.
            bytes: 80 << 20,
            // The log that a crash leaves to the next start stays small, and so do backups.
            every: Duration::from_mins(1),
            // A read is over within milliseconds; a backup may take long, and is not to be pestered.
            pause: Duration::from_secs(1),
            // Two calls of the system, for which no transaction should wait often.
            look: Duration::from_millis(200),
        }
    }
}

/// The writing task's reports to others.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    log_bytes: AtomicU64,
    free_bytes: AtomicU64,
    /// Cancelled when the disk cannot be vouched for any more.
    pub(super) failed: CancellationToken,
}

impl Gauges {
    /// As last looked at.
    pub(super) fn disk(&self) -> Disk {
        Disk {
            log_bytes: self.log_bytes.load(Ordering::Relaxed),
            free_bytes: self.free_bytes.load(Ordering::Relaxed),
        }
    }

    fn set(&self, disk: Disk) {
        self.log_bytes.store(disk.log_bytes, Ordering::Relaxed);
        self.free_bytes.store(disk.free_bytes, Ordering::Relaxed);
    }
}

/// The log of a database file.
#[derive(Debug)]
pub(super) struct Log {
    hold: Arc<Hold>,
    /// Set once the file was seen to have lost its name.
    loss: Option<Loss>,
    limits: Limits,
    looked: Instant,
    cut: Instant,
    tried: Option<Instant>,
}

impl Log {
    /// The log of a database, whose numbers go to `gauges`.
    pub(super) fn new(hold: Arc<Hold>, limits: Limits, gauges: &Gauges) -> Self {
        gauges.set(look(hold.database()));
        let now = Instant::now();
        Self { hold, loss: None, limits, looked: now, cut: now, tried: None }
    }

    /// The way in which the file has lost its name, if it had when it was last looked at.
    pub(super) fn loss(&mut self) -> Option<Loss> {
        self.loss.take()
    }

    /// Looks at the disk if it is time for that, and cuts the log if that is due. Fails only if the
    /// disk cannot be vouched for any more.
    pub(super) async fn tend(
        &mut self,
        connection: &mut SqliteConnection,
        gauges: &Gauges,
    ) -> Result<(), Fault> {
        if self.looked.elapsed() < self.limits.look {
            return Ok(());
        }
        self.look(gauges).await;
        let log = gauges.disk().log_bytes;
        let large = log >= self.limits.bytes;
        let due = large || (log > 0 && self.cut.elapsed() >= self.limits.every);
        let paused = self.tried.is_some_and(|at| at.elapsed() < self.limits.pause);
        if !due || paused || self.loss.is_some() {
            return Ok(());
        }
        self.tried = Some(Instant::now());
        match cut(connection).await {
            Ok(true) => self.cut = Instant::now(),
            Ok(false) => tracing::debug!(log, "a reader keeps the log from being cut"),
            Err(disk @ Fault::Disk(_)) => return Err(disk),
            Err(error) => tracing::warn!(?error, log, "the log could not be cut"),
        }
        self.look(gauges).await;
        Ok(())
    }

    /// Looks at the disk and at the file's name.
    pub(super) async fn look(&mut self, gauges: &Gauges) {
        self.looked = Instant::now();
        let hold = Arc::clone(&self.hold);
        let looked = move || (look(hold.database()), hold.loss());
        // The disk may make one wait, and then it is this task that waits.
        if let Ok((disk, loss)) = tokio::task::spawn_blocking(looked).await {
            gauges.set(disk);
            self.loss = loss;
        }
    }
}

/// A disk that cannot be read keeps nobody from trying: an empty log, and room without end.
fn look(database: &Path) -> Disk {
    let free = |found: nix::sys::statvfs::Statvfs| {
        wide(found.blocks_available()).saturating_mul(wide(found.fragment_size()))
    };
    Disk {
        log_bytes: std::fs::metadata(beside(database, "-wal")).map_or(0, |found| found.len()),
        free_bytes: statvfs(database).map_or(u64::MAX, free),
    }
}

/// Systems differ in how wide these numbers are.
fn wide(number: impl Into<u64>) -> u64 {
    number.into()
}

/// Brings the log into the database and cuts it to nothing; `false` if a reader was in the way.
pub(super) async fn cut(connection: &mut SqliteConnection) -> Result<bool, Fault> {
    wait_at_most(connection, CUT_PATIENCE).await?;
    let done = cut_at_last(connection).await;
    wait_at_most(connection, BUSY_TIMEOUT).await?;
    done
}

/// The same when nothing is written any more, so that readers can be waited for.
pub(super) async fn cut_at_last(connection: &mut SqliteConnection) -> Result<bool, Fault> {
    let query = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)");
    let (busy, _log, _done): (i64, i64, i64) = query.fetch_one(connection).await?;
    Ok(busy == 0)
}

/// How long the connection waits for others from now on.
async fn wait_at_most(connection: &mut SqliteConnection, time: Duration) -> Result<(), Fault> {
    let sql = format!("PRAGMA busy_timeout = {}", time.as_millis());
    sqlx::query(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}
