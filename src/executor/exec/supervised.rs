//! A program under a supervisor of its own: the server's end of the two pipes between them.

use std::ffi::OsString;
use std::io::{self, PipeWriter};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;

use nix::unistd::Pid;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};

use super::capture::Pipes;
use super::children;
use super::folder::Folder;
use super::removal;
use super::supervisor::{End, Order};

/// The length of the longest report, in bytes.
const MAX_REPORT: usize = 64;

/// A running program and its supervisor. Dropping it ends both, and all processes they started.
#[derive(Debug)]
pub(super) struct Supervised {
    child: Child,
    id: Option<Pid>,
    /// The pipe that stays open for as long as the program may run.
    hold: Option<PipeWriter>,
    reports: Receiver,
    /// The part of the report that has arrived.
    report: Vec<u8>,
    /// The folder of the program, removed by the supervisor.
    folder: Option<PathBuf>,
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Supervised {
    /// Starts a supervisor: `launcher` is its command line up to the order, `command` has the
    /// environment, working directory and streams of the program.
    pub(super) fn spawn(
        command: impl FnOnce(&mut Command),
        launcher: &[OsString],
        (mut order, folder): (Order, Option<Folder>),
    ) -> io::Result<Self> {
        let (file, first) = launcher.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let (told, hold) = io::pipe()?;
        let (report, reporting) = io::pipe()?;
        order.pipes = (told.as_raw_fd(), reporting.as_raw_fd());
        let mut supervisor = Command::new(file);
        supervisor.args(first).args(order.to_arguments());
        command(&mut supervisor);
        if let Some(folder) = &folder {
            supervisor.current_dir(folder.path());
        }
        // A supervisor that is killed would leave its program behind: it is told to end instead.
        supervisor.process_group(0).kill_on_drop(false);
        let child = children::spawn(&mut supervisor, [told.into(), reporting.into()])?;
        let folder = folder.map(Folder::hand_over);
        let id = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let reports = Receiver::from_owned_fd(OwnedFd::from(report))?;
        Ok(Self { child, id, hold: Some(hold), reports, report: Vec::new(), folder })
    }

    /// Returns the server's ends of the program's streams.
    pub(super) fn pipes(&mut self) -> Pipes {
        Pipes::of(&mut self.child)
    }

    /// Waits until the program and all processes it has started are gone. The future may be dropped
    /// and called again.
    pub(super) async fn ended(&mut self) {
        while self.report.len() < MAX_REPORT
            && matches!(self.reports.read_buf(&mut self.report).await, Ok(1..))
        {}
    }

    /// Returns how the program ended; `None` if its supervisor was killed. The server then ends the
    /// processes that are left.
    pub(super) async fn end(&mut self) -> Option<End> {
        self.ended().await;
        let end = std::str::from_utf8(&self.report).ok().and_then(End::read);
        if end.is_none() {
            children::lost();
            if let Some(folder) = self.folder.take() {
                tokio::task::spawn_blocking(move || removal::remove(&folder));
            }
        }
        end
    }

    /// Tells the supervisor to end the program, and all processes it has started.
    pub(super) fn kill(&mut self) {
        if self.hold.take().is_some()
            && let Some(id) = self.id
        {
            children::told_to_end(id);
        }
    }
}
