//! A program and everything it starts, as one process group that ends together.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

use super::capture::{Capture, Pipes, TooMuch};
use super::guard::{Guard, Watched};
use super::outcome::Finished;
use crate::executor::Pulse;
use crate::executor::text::excerpt;
use crate::model::{Category, Failure, codes};

/// How long output may still come after the program has ended and its group was killed: the pipes
/// are closed by then, unless a process that left the group holds them.
const DRAIN: Duration = Duration::from_secs(1);

/// How often a program is looked at besides every SIGCHLD, should one get lost.
const LOOK: Duration = Duration::from_secs(1);

/// A running program, leader of its process group. Dropping it kills the whole group.
#[derive(Debug)]
pub(super) struct Group {
    /// Stands before `child`, so that the guard forgets the group while its id is still taken.
    watched: Option<Watched>,
    child: Child,
    /// The group's id: its leader's process id. Gone once the leader is reaped, since the kernel
    /// may then give the number to somebody else.
    id: Option<Pid>,
    ended: Signals,
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Group {
    /// Starts a program, prepared to lead a group of its own.
    pub(super) fn spawn(mut command: Command, name: &str) -> Result<Self, Failure> {
        // Listening starts before the program does, so that its end cannot be missed.
        let ended = signal(SignalKind::child()).map_err(|error| broken(&error))?;
        let child = command.spawn().map_err(|error| cannot_start(name, &error))?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        Ok(Self { watched: None, child, id, ended })
    }

    /// Has the group killed even if this process cannot do it any more.
    pub(super) fn guard(&mut self, guard: Option<&Arc<Guard>>) {
        self.watched = guard.zip(self.id).map(|(guard, id)| guard.watch(id));
    }

    /// Feeds the program, waits for its end and kills what it leaves behind; `None` if it wrote
    /// more than `limit` bytes.
    pub(super) async fn finish(
        &mut self,
        stdin: &[u8],
        limit: usize,
        pulse: &Pulse,
    ) -> Result<Option<Finished>, Failure> {
        let mut written = Capture::default();
        let pipes = Pipes {
            stdin: self.child.stdin.take(),
            stdout: self.child.stdout.take(),
            stderr: self.child.stderr.take(),
        };
        let bounded = {
            let mut pump = std::pin::pin!(pipes.pump(stdin, &mut written, limit, pulse));
            let pumped = tokio::select! {
                pumped = &mut pump => Some(pumped),
                () = self.leader_ended() => None,
            };
            match pumped {
                Some(Ok(())) => {
                    self.leader_ended().await;
                    self.kill();
                    Ok(())
                }
                Some(Err(TooMuch)) => Err(TooMuch),
                None => {
                    self.kill();
                    tokio::time::timeout(DRAIN, pump).await.unwrap_or(Ok(()))
                }
            }
        };
        self.kill();
        self.watched = None;
        let status = self.child.wait().await.map_err(|error| broken(&error))?;
        self.id = None;
        Ok(bounded.is_ok().then_some(Finished { status, written }))
    }

    /// Waits until the leader has ended, and leaves it unreaped: as long as it is there, its id
    /// cannot become that of another group, and killing the group can hit nobody else.
    async fn leader_ended(&mut self) {
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

    fn kill(&self) {
        if let Some(id) = self.id
            && let Err(error) = killpg(id, Signal::SIGKILL)
            && error != Errno::ESRCH
        {
            tracing::warn!(group = id.as_raw(), %error, "a program's group could not be killed");
        }
    }
}

/// Too many processes, files or bytes is a matter of the moment; anything else stays as it is.
fn cannot_start(name: &str, error: &io::Error) -> Failure {
    const MOMENTARY: [Errno; 5] =
        [Errno::EAGAIN, Errno::ENOMEM, Errno::EMFILE, Errno::ENFILE, Errno::ETXTBSY];
    let message = format!("{name} could not be started: {}", excerpt(&error.to_string(), 200));
    if error.raw_os_error().is_some_and(|code| MOMENTARY.contains(&Errno::from_raw(code))) {
        return Failure::recoverable(codes::SPAWN_FAILED, Category::Resource, message);
    }
    Failure::permanent(codes::SPAWN_FAILED, Category::Configuration, message)
}

fn broken(error: &io::Error) -> Failure {
    let message = format!("a program could not be waited for: {error}");
    Failure::recoverable(codes::INTERNAL, Category::Internal, message)
}
