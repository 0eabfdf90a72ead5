//! A program and everything it starts, as one process group that ends together.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

use super::capture::Pipes;
use super::folder::Folder;

/// The time between two looks at a program, should a SIGCHLD get lost.
const LOOK: Duration = Duration::from_secs(1);

/// A running program, the leader of its process group. Dropping it kills the whole group.
#[derive(Debug)]
pub(super) struct Group {
    child: Child,
    /// The group's id, which is its leader's process id. It is `None` once the leader is reaped,
    /// since the kernel may then give the number to another process.
    id: Option<Pid>,
    ended: Signals,
    /// The folder of the program, removed with it.
    #[expect(dead_code, reason = "held until it is dropped")]
    folder: Option<Folder>,
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Group {
    /// Starts a program as the leader of a group of its own.
    pub(super) fn spawn(mut command: Command, folder: Option<Folder>) -> io::Result<Self> {
        // Listening starts before the program does, so that its end cannot be missed.
        let ended = signal(SignalKind::child())?;
        let child = command.process_group(0).kill_on_drop(true).spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        Ok(Self { child, id, ended, folder })
    }

    /// Returns the server's ends of the program's streams.
    pub(super) fn pipes(&mut self) -> Pipes {
        Pipes::of(&mut self.child)
    }

    /// Kills the group and reaps its leader.
    pub(super) async fn end(&mut self) -> io::Result<ExitStatus> {
        self.kill();
        let status = self.child.wait().await?;
        self.id = None;
        Ok(status)
    }

    /// Waits until the leader has ended, and leaves it unreaped: as long as it is there, its id
    /// cannot become that of another group, and killing the group hits no other process.
    pub(super) async fn leader_ended(&mut self) {
        while let Some(id) = self.id {
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
            match waitid(Id::Pid(id), flags) {
                Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => {}
                Ok(_) | Err(_) => return,
            }
            tokio::select! {
                _ = self.ended.recv() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    pub(super) fn kill(&self) {
        if let Some(id) = self.id
            && let Err(error) = killpg(id, Signal::SIGKILL)
            && error != Errno::ESRCH
        {
            tracing::warn!(group = id.as_raw(), %error, "a program's group could not be killed");
        }
    }
}
