//! What can happen to the database: `scripts/chaos` starts a cluster and says where it is; here it
//! is stopped, started, and held still.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;

/// Tries to start it again: what it needs may be held for a moment.
const START_TRIES: u32 = 10;

/// The cluster.
#[derive(Debug)]
pub(crate) struct Database {
    /// The folder of `pg_ctl`.
    pub(crate) programs: PathBuf,
    /// The cluster's data.
    pub(crate) data: PathBuf,
    /// A folder of whoever runs this.
    pub(crate) ours: PathBuf,
}

impl Database {
    /// Stops it, in the mode `immediate` (as a crash) or `fast`.
    pub(crate) async fn stop(&self, mode: &str) -> Result<()> {
        self.control(&["-w", "-t", "30", "-m", mode, "stop"]).await
    }

    /// Starts it again as it was.
    pub(crate) async fn start(&self) -> Result<()> {
        let log = self.data.join("server.log").display().to_string();
        let mut outcome = Ok(());
        for _ in 0..START_TRIES {
            // The options of the first start are kept for a restart alone.
            outcome = self.control(&["-w", "-t", "60", "-l", &log, "restart"]).await;
            if outcome.is_ok() {
                return outcome;
            }
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
        outcome
    }

    async fn control(&self, arguments: &[&str]) -> Result<()> {
        let owner = std::fs::metadata(&self.data)?;
        let mut command = Command::new(self.programs.join("pg_ctl"));
        command.arg("-D").arg(&self.data).args(arguments).current_dir("/");
        // It refuses to run as root, whose cluster then belongs to somebody else.
        if std::fs::metadata(&self.ours)?.uid() != owner.uid() {
            command.uid(owner.uid()).gid(owner.gid());
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let status = command.status().await?;
        ensure!(status.success(), "pg_ctl {}: {status}", arguments.join(" "));
        Ok(())
    }

    /// Holds all its processes still; gives those that [`wake`] has to be given.
    pub(crate) fn hang(&self) -> Result<Vec<i32>> {
        let pid = std::fs::read_to_string(self.data.join("postmaster.pid"))?;
        let postmaster: i32 = pid.lines().next().context("no process")?.trim().parse()?;
        // The postmaster first: then no child joins those that are found.
        let mut held = vec![postmaster];
        kill(Pid::from_raw(postmaster), Signal::SIGSTOP)?;
        for child in children(postmaster) {
            // One that has just ended need not be held.
            if kill(Pid::from_raw(child), Signal::SIGSTOP).is_ok() {
                held.push(child);
            }
        }
        Ok(held)
    }
}

/// Lets processes go on.
pub(crate) fn wake(held: &[i32]) {
    for pid in held.iter().rev() {
        let _gone = kill(Pid::from_raw(*pid), Signal::SIGCONT);
    }
}

/// The children of a process, as /proc tells.
fn children(parent: i32) -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name in parentheses may hold anything; behind it come the state and the parent.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        rest.split_whitespace().nth(1).and_then(|text| text.parse().ok()) == Some(parent)
    })
    .collect()
}
