//! The replicas: the real binary, started, signalled, and started again.
//!
//! Every process is noted in a file while it lives, so that `scripts/chaos` can end it should this
//! program die. One that ends without being asked is a fault of the server, and is started again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::dice::Dice;
use crate::options::Options;

/// Replicas.
pub(crate) const COUNT: usize = 3;
/// How long a silent replica keeps its threads.
pub(crate) const LEASE: Duration = Duration::from_secs(3);
/// Longest start, waits for the database included.
const START: Duration = Duration::from_secs(90);
/// Longest end after SIGTERM: the grace, and the store's deadlines when it is out.
const END: Duration = Duration::from_secs(30);
/// What a start is given to say where it listens, before it is tried again.
const SAY: Duration = Duration::from_secs(30);

/// Of so many starts of a replica the last has a log that cannot be written.
const UNREAD: u32 = 4;

/// One place for a replica, with a process in it or without.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    process: tokio::sync::Mutex<Option<Child>>,
    seat: Mutex<Seat>,
    starts: AtomicU32,
    /// Whether a fault has it in hand.
    busy: AtomicBool,
}

/// Where its process can be reached.
#[derive(Debug, Default, Clone, Copy)]
struct Seat {
    addr: Option<SocketAddr>,
    pid: Option<i32>,
}

/// All replicas.
#[derive(Debug)]
pub(crate) struct Replicas {
    slots: Vec<Slot>,
    url: String,
    folder: PathBuf,
    faketime: Option<PathBuf>,
    /// What a replica did that it should not have, whatever was done to it.
    faults: Mutex<Vec<String>>,
    /// Answers that no client expects.
    odd: Mutex<Vec<String>>,
}

impl Replicas {
    /// Starts all.
    pub(crate) async fn start(options: &Options) -> Result<Arc<Self>> {
        let folder = options.folder.clone();
        std::fs::create_dir_all(folder.join("pids"))?;
        let replicas = Arc::new(Self {
            slots: (0..COUNT).map(|_| Slot::default()).collect(),
            url: options.url.clone(),
            folder,
            faketime: options.faketime.clone(),
            faults: Mutex::default(),
            odd: Mutex::default(),
        });
        for number in 0..COUNT {
            replicas.set_clock(number, 0)?;
            replicas.up(number).await?;
        }
        tokio::spawn(Arc::clone(&replicas).watch());
        Ok(replicas)
    }

    /// The address of one that should be up.
    pub(crate) fn any(&self, dice: &mut Dice) -> Option<SocketAddr> {
        let up: Vec<SocketAddr> = self.addrs();
        (!up.is_empty()).then(|| *dice.pick(&up))
    }

    /// The addresses of those that should be up.
    pub(crate) fn addrs(&self) -> Vec<SocketAddr> {
        self.slots.iter().filter_map(|slot| slot.seat().addr).collect()
    }

    /// The process of a replica, if it has one.
    pub(crate) fn pid(&self, number: usize) -> Option<i32> {
        self.slots[number].seat().pid
    }

    /// Takes a replica in hand; `false` if another fault has it.
    pub(crate) fn take(&self, number: usize) -> bool {
        !self.slots[number].busy.swap(true, Ordering::SeqCst)
    }

    /// Gives it back.
    pub(crate) fn release(&self, number: usize) {
        self.slots[number].busy.store(false, Ordering::SeqCst);
    }

    /// Replicas that no fault has in hand.
    pub(crate) fn idle(&self) -> Vec<usize> {
        let idle = |number: &usize| {
            let slot = &self.slots[*number];
            !slot.busy.load(Ordering::SeqCst) && slot.seat().addr.is_some()
        };
        (0..COUNT).filter(idle).collect()
    }

    /// Notes an answer that no client expects.
    pub(crate) fn odd(&self, what: String) {
        lock(&self.odd).push(what);
    }

    /// Answers that no client expects, so far.
    pub(crate) fn odd_answers(&self) -> Vec<String> {
        lock(&self.odd).clone()
    }

    /// What replicas did that they should not have, so far.
    pub(crate) fn faults(&self) -> Vec<String> {
        lock(&self.faults).clone()
    }

    /// Sends a signal to the process of a replica.
    pub(crate) fn signal(&self, number: usize, signal: Signal) {
        if let Some(pid) = self.pid(number) {
            // A process that is gone already is what the watch is for.
            let _gone = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Whether the clocks of replicas can be set.
    pub(crate) fn have_clocks(&self) -> bool {
        self.faketime.is_some()
    }

    /// Sets the wall clock of a replica: so many seconds ahead.
    pub(crate) fn set_clock(&self, number: usize, ahead: i64) -> Result<()> {
        let (file, next) = (self.clock(number), self.clock(number).with_extension("next"));
        std::fs::write(&next, format!("{ahead:+}\n"))?;
        std::fs::rename(next, file)?;
        Ok(())
    }

    fn clock(&self, number: usize) -> PathBuf {
        self.folder.join(format!("clock-{number}"))
    }

    /// Starts a replica; tries again while the database is out.
    pub(crate) async fn up(&self, number: usize) -> Result<()> {
        let deadline = Instant::now() + START;
        loop {
            match self.launch(number).await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() < deadline => {
                    eprintln!("replica {number} does not start yet: {error}");
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
                Err(error) => {
                    let what = format!("replica {number} does not start: {error}");
                    lock(&self.faults).push(what);
                    return Err(error);
                }
            }
        }
    }

    async fn launch(&self, number: usize) -> Result<()> {
        let slot = &self.slots[number];
        let start = slot.starts.fetch_add(1, Ordering::SeqCst);
        let log = self.folder.join(format!("replica-{number}-{start}.log"));
        let log = if start % UNREAD == UNREAD - 1 {
            Stdio::piped()
        } else {
            std::fs::File::create(log)?.into()
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_rethread"));
        command
            .arg("serve")
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap_or_default())
            .env("RETHREAD_ADDR", "127.0.0.1:0")
            .env("DATABASE_URL", &self.url)
            .env("RETHREAD_LEASE", format!("{}ms", LEASE.as_millis()))
            .env("RETHREAD_EXEC_ALLOW", "cat,printf")
            .env("RETHREAD_SHUTDOWN_GRACE", "1s")
            .env("RETHREAD_SHUTDOWN_DELAY", "0s")
            .env("RETHREAD_LOG", "info")
            .env("RETHREAD_LOG_FORMAT", "json")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true);
        if let Some(library) = &self.faketime {
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME_TIMESTAMP_FILE", self.clock(number))
                // In seconds.
                .env("FAKETIME_CACHE_DURATION", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("DONT_FAKE_MONOTONIC", "1");
        }
        let mut child = command.spawn()?;
        // A pipe that nobody reads: what is written to it fails.
        drop(child.stderr.take());
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).context("no process")?;
        std::fs::write(self.note(pid), "")?;
        let mut lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        let said = tokio::time::timeout(SAY, lines.next_line()).await;
        let line = said.ok().and_then(Result::ok).flatten().unwrap_or_default();
        let Some(addr) = line.strip_prefix("listening on http://") else {
            child.kill().await?;
            std::fs::remove_file(self.note(pid))?;
            bail!("it ended, or said nothing, before it served: {line:?}");
        };
        *lock(&slot.seat) = Seat { addr: Some(addr.parse()?), pid: Some(pid) };
        *slot.process.lock().await = Some(child);
        Ok(())
    }

    fn note(&self, pid: i32) -> PathBuf {
        self.folder.join("pids").join(pid.to_string())
    }

    /// Waits for the end of a replica that was asked to end, or kills it after a while.
    pub(crate) async fn gone(&self, number: usize) -> Result<()> {
        let slot = &self.slots[number];
        let Seat { pid, .. } = std::mem::take(&mut *lock(&slot.seat));
        let Some(mut child) = slot.process.lock().await.take() else { return Ok(()) };
        if tokio::time::timeout(END, child.wait()).await.is_err() {
            let what = format!("replica {number} (process {pid:?}) does not end when asked to");
            lock(&self.faults).push(what);
            child.kill().await?;
        }
        if let Some(pid) = pid {
            std::fs::remove_file(self.note(pid))?;
        }
        Ok(())
    }

    /// Starts again what ended without being asked, and says so.
    async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            for number in 0..COUNT {
                if !self.take(number) {
                    continue;
                }
                let ended = match self.slots[number].process.lock().await.as_mut() {
                    Some(child) => child.try_wait().ok().flatten(),
                    None => None,
                };
                if let Some(status) = ended {
                    let start = self.slots[number].starts.load(Ordering::SeqCst) - 1;
                    let what = format!(
                        "replica {number} ended by itself: {status} (replica-{number}-{start}.log)"
                    );
                    eprintln!("{what}");
                    lock(&self.faults).push(what);
                    let restarted = match self.gone(number).await {
                        Ok(()) => self.up(number).await,
                        error => error,
                    };
                    if let Err(error) = restarted {
                        eprintln!("replica {number}: {error}");
                    }
                }
                self.release(number);
            }
        }
    }

    /// Kills all.
    pub(crate) async fn end(&self) {
        for number in 0..COUNT {
            self.signal(number, Signal::SIGKILL);
            if let Err(error) = self.gone(number).await {
                eprintln!("replica {number}: {error}");
            }
        }
    }
}

impl Slot {
    fn seat(&self) -> Seat {
        *lock(&self.seat)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
