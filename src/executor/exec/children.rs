//! The child processes of the server: it starts supervisors and nothing else.
//!
//! The server is a child subreaper (or process 1 of a container). So the processes that a program
//! leaves behind when it kills its own supervisor become children of the server, which ends them.
//! Another child of this process may be taken for such an orphan, but only after a supervisor was
//! killed.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use super::{folder, tree};
use crate::model::lock;

/// The time between two looks at the children, besides those at every SIGCHLD.
const LOOK: Duration = Duration::from_secs(1);
/// The number of looks after which a supervisor that was told to end, and has not, is taken for one
/// that its program keeps from ending. It may have a large folder to remove.
const PATIENCE: u32 = 10;

/// The running supervisors. There is one list for the process, which all of them are children of.
static CHILDREN: Mutex<Children> =
    Mutex::new(Children { known: BTreeMap::new(), strangers: BTreeSet::new(), orphaned: 0 });

#[derive(Debug)]
struct Children {
    /// The supervisors by process id, with the number of looks since each was told to end.
    known: BTreeMap<i32, Option<u32>>,
    /// Other children at the last look: orphans, or processes that other code still waits for.
    strangers: BTreeSet<Pid>,
    /// The number of looks for which there may still be orphans after a supervisor was lost: the
    /// system hands them over a moment later.
    orphaned: u32,
}

fn children() -> MutexGuard<'static, Children> {
    lock(&CHILDREN)
}

/// Starts a supervisor, which inherits these files beside its standard streams. The lock keeps
/// other supervisors from starting meanwhile, and the files are closed before it is released, so
/// that this supervisor alone has them.
pub(super) fn spawn(command: &mut Command, inherited: [OwnedFd; 2]) -> io::Result<Child> {
    let mut children = children();
    for file in &inherited {
        fcntl(file, FcntlArg::F_SETFD(FdFlag::empty()))?;
    }
    let child = command.spawn()?;
    drop(inherited);
    if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
        children.known.insert(id, None);
    }
    Ok(child)
}

/// Lets this process, and those that it starts, have huge pages, or not.
pub(super) fn huge_pages(may: bool) {
    if let Err(error) = prctl::set_thp_disable(!may) {
        tracing::debug!(%error, "huge pages stay as they are");
    }
}

/// Records that a supervisor was told to end; its program may have stopped it.
pub(super) fn told_to_end(supervisor: Pid) {
    if let Some(looks) = children().known.get_mut(&supervisor.as_raw()) {
        looks.get_or_insert(0);
        wake(supervisor);
    }
}

fn wake(supervisor: Pid) {
    if let Err(error) = kill(supervisor, Signal::SIGCONT) {
        tracing::debug!(%error, "a supervisor has ended already");
    }
}

/// Records that a supervisor ended without a report: another process has killed it.
pub(super) fn lost() {
    let mut children = children();
    children.orphaned = PATIENCE;
    children.sweep(false);
}

/// Makes this process ready for programs, before the first one is started: it becomes the parent of
/// processes that lose their own, and the folders of an earlier process are removed.
pub async fn prepare_programs(temporary: PathBuf) {
    if let Err(error) = prctl::set_child_subreaper(true) {
        tracing::warn!(%error, "programs that kill their supervisor may be left behind");
    }
    let own = std::process::id();
    let removed = tokio::task::spawn_blocking(move || folder::remove_leftovers(&temporary, own));
    if let Ok(count @ 1..) = removed.await {
        tracing::info!(count, "folders of programs of an earlier process were removed");
    }
}

/// Tends programs for as long as it is polled: reaps processes that have no other parent any more,
/// and ends those that a program has left behind.
pub async fn tend_programs() -> Infallible {
    let mut ended = match signal(SignalKind::child()) {
        Ok(ended) => ended,
        Err(error) => {
            tracing::error!(%error, "the ends of processes can't be heard of");
            return std::future::pending().await;
        }
    };
    let mut look = tokio::time::interval(LOOK);
    loop {
        let ticked = tokio::select! {
            _ = ended.recv() => false,
            _ = look.tick() => true,
        };
        children().sweep(ticked);
    }
}

impl Children {
    fn sweep(&mut self, ticked: bool) {
        let found = tree::children(Pid::this());
        self.known.retain(|id, _| found.contains(&Pid::from_raw(*id)));
        if ticked {
            self.hurry();
        }
        let strangers: BTreeSet<Pid> =
            found.into_iter().filter(|pid| !self.known.contains_key(&pid.as_raw())).collect();
        for &pid in &strangers {
            // A child that was there at the last look has nobody else who waits for it.
            let seen = ticked && self.strangers.contains(&pid);
            if (self.orphaned > 0 || seen)
                && let Ok(WaitStatus::StillAlive) = waitpid(pid, Some(WaitPidFlag::WNOHANG))
                && self.orphaned > 0
            {
                tracing::warn!(pid = pid.as_raw(), "a process without a supervisor is killed");
                tree::kill_descendants(pid);
                tree::kill_one(pid);
            }
        }
        if ticked {
            // Their children become orphans next.
            self.orphaned = self.orphaned.saturating_sub(u32::from(strangers.is_empty()));
            self.strangers = strangers;
        }
    }

    /// Kills supervisors that were told to end and stand still: the processes that they leave are
    /// swept.
    fn hurry(&mut self) {
        for (&id, looks) in &mut self.known {
            let Some(looks) = looks else { continue };
            *looks += 1;
            wake(Pid::from_raw(id));
            if *looks == PATIENCE {
                tracing::warn!(pid = id, "a supervisor of a program does not end: it is killed");
                self.orphaned = PATIENCE;
                tree::kill_descendants(Pid::from_raw(id));
                tree::kill_one(Pid::from_raw(id));
            }
        }
    }
}
