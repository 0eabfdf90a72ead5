//! A running program until its end: under a supervisor, or as a process group where there is none.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::pin::Pin;
use std::process::ExitStatus;
use std::time::Duration;

use nix::errno::Errno;

use super::capture::{Bounds, Capture, Pipes, Stop};
use super::group::Group;
use super::outcome::Finished;
use super::supervised::Supervised;
use super::supervisor::End;
use crate::executor::text::excerpt;
use crate::executor::{Pulse, Room};
use crate::model::{Category, Failure, codes};

/// The time for which output may still come after the program has ended and the processes it left
/// were killed: the pipes are closed by then, unless a process that nobody could kill holds them.
const DRAIN: Duration = Duration::from_secs(1);

/// A running program. Dropping it kills it, and the processes it has started.
#[derive(Debug)]
pub(super) enum Running {
    Supervised(Supervised),
    Group(Group),
}

impl Running {
    /// Feeds the program, waits for its end and kills the processes it leaves behind; `None` if it
    /// wrote more than `limit` bytes.
    pub(super) async fn finish(
        mut self,
        name: &str,
        stdin: &[u8],
        bounds: (usize, &Room, &Pulse),
    ) -> Result<Option<Finished>, Failure> {
        let (limit, room, pulse) = bounds;
        let mut written = Capture::new(room);
        let bounds = Bounds::new(limit, pulse);
        let pipes = self.pipes();
        let (bounded, end) = {
            let mut pump = std::pin::pin!(pipes.pump(stdin, &mut written, &bounds));
            let pumped = tokio::select! {
                pumped = &mut pump => Some(pumped),
                () = self.wait() => None,
            };
            if matches!(pumped, Some(Ok(()))) {
                self.wait().await;
            }
            self.kill();
            let bounded = match pumped {
                Some(bounded) => bounded,
                None => rest(pump, &bounds).await,
            };
            (bounded, self.end().await)
        };
        let status = end.and_then(|end| status(name, end))?;
        match bounded {
            Ok(()) => Ok(Some(Finished { status, written })),
            Err(Stop::TooMuch) => Ok(None),
            Err(Stop::NoRoom(failure)) => Err(failure),
        }
    }

    fn pipes(&mut self) -> Pipes {
        match self {
            Self::Supervised(program) => program.pipes(),
            Self::Group(group) => group.pipes(),
        }
    }

    async fn wait(&mut self) {
        match self {
            Self::Supervised(program) => program.ended().await,
            Self::Group(group) => group.leader_ended().await,
        }
    }

    fn kill(&mut self) {
        match self {
            Self::Supervised(program) => program.kill(),
            Self::Group(group) => group.kill(),
        }
    }

    async fn end(&mut self) -> Result<Option<End>, Failure> {
        match self {
            Self::Supervised(program) => Ok(program.end().await),
            Self::Group(group) => {
                let status = group.end().await.map_err(|error| broken(&error))?;
                Ok(Some(End::Exited(status.into_raw())))
            }
        }
    }
}

/// Reads the rest of the output of a program that has ended. The time in which it waits for memory
/// does not count.
async fn rest(
    mut pump: Pin<&mut impl Future<Output = Result<(), Stop>>>,
    bounds: &Bounds<'_>,
) -> Result<(), Stop> {
    loop {
        match tokio::time::timeout(DRAIN, &mut pump).await {
            Ok(read) => return read,
            Err(_) if bounds.waits() => {}
            Err(_) => return Ok(()),
        }
    }
}

/// Returns the status of a program by its end.
fn status(name: &str, end: Option<End>) -> Result<ExitStatus, Failure> {
    match end {
        Some(End::Exited(status)) => Ok(ExitStatus::from_raw(status)),
        Some(End::Failed(error)) => Err(cannot_start(name, &io::Error::from_raw_os_error(error))),
        Some(End::Crowded) => {
            let message =
                format!("{name} was killed: it had more processes than RETHREAD_EXEC_PROCESSES");
            Err(Failure::recoverable(codes::EXIT_NONZERO, Category::Step, message))
        }
        None => {
            let message = format!("{name} was lost: something killed its supervisor");
            Err(Failure::recoverable(codes::EXIT_NONZERO, Category::Step, message))
        }
    }
}

/// Returns the failure of a start. A lack of processes, files or memory is momentary, so that the
/// failure is recoverable; any other error is permanent.
pub(super) fn cannot_start(name: &str, error: &io::Error) -> Failure {
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
