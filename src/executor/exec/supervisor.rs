//! The process between the server and one program; it ends with the program.
//!
//! It is the same binary, started again. It sets the program's limits and starts it. It is a child
//! subreaper: processes that the program and its children leave behind become its children. So none
//! of them outlives the step, even if it daemonised or the server is killed. Of its two pipes one
//! closes when the program must end (or the server is gone), the other tells the server how the
//! program ended. It has no runtime, no configuration and no logging: it costs a step a
//! millisecond.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, close, dup2_stderr, dup2_stdin, dup2_stdout};

use super::{children, limits, removal, tree};
use crate::executor::ProgramLimits;

/// Milliseconds between two counts of a program's processes: a program that only forks is stopped
/// at a few thousand.
const COUNT_EVERY: u16 = 50;
/// Milliseconds between two looks for killed processes that are not gone yet.
const LOOK_EVERY: u16 = 10;
/// The looks after which the supervisor gives up on unkillable processes (they wait for a disk).
const MAX_LOOKS: u32 = 500;

/// The end of a program, as the supervisor reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The program ended with this raw wait status.
    Exited(i32),
    /// The program could not be started; its `errno`.
    Failed(i32),
    /// The program had too many processes.
    Crowded,
}

impl End {
    /// Reads a report; `None` if the text is not one.
    pub(super) fn read(report: &str) -> Option<Self> {
        let (word, number) = report.strip_suffix('\n')?.split_once(' ')?;
        let number = number.parse().ok()?;
        match word {
            "exited" => Some(Self::Exited(number)),
            "failed" => Some(Self::Failed(number)),
            "crowded" => Some(Self::Crowded),
            _ => None,
        }
    }

    fn report(self) -> String {
        match self {
            Self::Exited(status) => format!("exited {status}\n"),
            Self::Failed(error) => format!("failed {error}\n"),
            Self::Crowded => "crowded 0\n".to_owned(),
        }
    }
}

/// The order that a supervisor gets on its command line. The program inherits the supervisor's
/// environment, working directory and standard streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    /// The descriptors of the inherited pipes: one tells it to end, one takes the report.
    pub(super) pipes: (i32, i32),
    pub(super) limits: ProgramLimits,
    /// A folder, removed after the program ends.
    pub(super) folder: Option<PathBuf>,
    /// The program's file, its own name, and its arguments.
    pub(super) program: PathBuf,
    pub(super) name: OsString,
    pub(super) arguments: Vec<OsString>,
}

impl Order {
    /// Returns the order as arguments.
    pub(super) fn to_arguments(&self) -> Vec<OsString> {
        let ProgramLimits { memory, processes, files, file_size } = self.limits;
        let numbers = [memory, processes, files, file_size].map(|number| number.to_string().into());
        let folder = self.folder.clone().unwrap_or_default();
        let mut arguments = vec![self.pipes.0.to_string().into(), self.pipes.1.to_string().into()];
        arguments.extend(numbers);
        arguments.extend([folder.into(), self.program.clone().into(), self.name.clone()]);
        arguments.extend(self.arguments.iter().cloned());
        arguments
    }

    /// Reads the arguments; `None` if they are not an order.
    pub(super) fn read(arguments: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut arguments = arguments.into_iter();
        let mut number = || arguments.next()?.to_str()?.parse::<u64>().ok();
        let pipes = (i32::try_from(number()?).ok()?, i32::try_from(number()?).ok()?);
        let limits = ProgramLimits {
            memory: number()?,
            processes: number()?,
            files: number()?,
            file_size: number()?,
        };
        let folder = Some(PathBuf::from(arguments.next()?)).filter(|path| path != Path::new(""));
        let program = PathBuf::from(arguments.next()?);
        let name = arguments.next()?;
        Some(Self { pipes, limits, folder, program, name, arguments: arguments.collect() })
    }
}

/// Runs the supervisor's process, given its command line. Called by `app` alone.
pub fn supervise_program(arguments: impl IntoIterator<Item = OsString>) -> io::Result<()> {
    let order = Order::read(arguments).ok_or(io::ErrorKind::InvalidInput)?;
    let (told, mut report) = pipes(order.pipes)?;
    // Signals from the program to its parent are blocked; SIGCHLD is read from a descriptor.
    SigSet::all().thread_block()?;
    let mut ended = SigSet::empty();
    ended.add(Signal::SIGCHLD);
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let ended = SignalFd::with_flags(&ended, flags)?;
    let end = match start(&order) {
        Err(error) => End::Failed(error.raw_os_error().unwrap_or(0)),
        Ok(program) => {
            let watch = Watch { ended, told, program, processes: order.limits.processes };
            let end = watch.until_end();
            watch.clear();
            end
        }
    };
    if let Some(folder) = &order.folder {
        removal::remove(folder);
    }
    report.write_all(end.report().as_bytes())
}

/// Opens both pipes anew for this process alone, and closes the inherited ones, so that the program
/// has neither.
fn pipes((told, report): (i32, i32)) -> io::Result<(File, File)> {
    let path = |number: i32| format!("/proc/self/fd/{number}");
    let opened = (File::open(path(told))?, File::options().write(true).open(path(report))?);
    close(told)?;
    close(report)?;
    Ok(opened)
}

/// Starts the program as the leader of a group of its own.
fn start(order: &Order) -> io::Result<Pid> {
    prctl::set_child_subreaper(true)?;
    // This process has the program's environment; its memory and pipes stay private.
    prctl::set_dumpable(false)?;
    limits::set(&order.limits)?;
    let mut command = Command::new(&order.program);
    command.arg0(&order.name).args(&order.arguments).process_group(0);
    // Huge pages are off in this process, not in the program.
    children::huge_pages(true);
    let program = limits::spawn_bounded(&mut command, order.limits.memory);
    children::huge_pages(false);
    let program = program?;
    // The program alone holds the streams: when it closes them, the server sees them closed.
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&nothing)?;
    dup2_stdout(&nothing)?;
    dup2_stderr(&nothing)?;
    std::env::set_current_dir("/")?;
    Ok(program)
}

/// The watch over a running program.
struct Watch {
    /// A descriptor that is readable when a child has ended.
    ended: SignalFd,
    /// A pipe that closes when the program must end.
    told: File,
    program: Pid,
    /// The most processes; 0 means no limit.
    processes: u64,
}

impl Watch {
    /// Waits for the program to end, or kills it.
    fn until_end(&self) -> End {
        let killed =
            End::Exited(raw_status(WaitStatus::Signaled(self.program, Signal::SIGKILL, false)));
        loop {
            if let Some(status) = self.reap() {
                return End::Exited(status);
            }
            if self.is_told(if self.processes > 0 { COUNT_EVERY } else { u16::MAX }) {
                self.kill_group();
                return killed;
            }
            let most = usize::try_from(self.processes).unwrap_or(usize::MAX);
            if most > 0 && tree::has_more_descendants(Pid::this(), most) {
                self.kill_group();
                return End::Crowded;
            }
        }
    }

    /// Kills the program's group with one signal, also processes that are just starting. Call it
    /// before the program is reaped: later the number may be another group's.
    fn kill_group(&self) {
        if let Err(error) = killpg(self.program, Signal::SIGKILL) {
            tracing::debug!(%error, "a group could not be killed");
        }
    }

    /// Kills the remaining processes until none is left. Orphans become children of this process,
    /// so none is left once it has no children.
    fn clear(&self) {
        for _ in 0..MAX_LOOKS {
            tree::kill_descendants(Pid::this());
            self.reap();
            if waitpid(None, Some(WaitPidFlag::WNOHANG)) == Err(Errno::ECHILD) {
                return;
            }
            wait(&mut [PollFd::new(self.ended.as_fd(), PollFlags::POLLIN)], LOOK_EVERY);
        }
    }

    /// Reaps children that have ended; returns the status of the program if it is one of them.
    fn reap(&self) -> Option<i32> {
        let mut found = None;
        while let Ok(Some(_)) = self.ended.read_signal() {}
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return found,
                Ok(status) if status.pid() == Some(self.program) => {
                    found = Some(raw_status(status));
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return found,
            }
        }
    }

    /// Waits for a child's end or for the pipe to close; returns whether the pipe has closed.
    fn is_told(&self, millis: u16) -> bool {
        let mut ready = [
            PollFd::new(self.ended.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.told.as_fd(), PollFlags::POLLIN),
        ];
        wait(&mut ready, millis);
        ready.get(1).and_then(PollFd::any).unwrap_or(false)
    }
}

/// Waits until one is ready or the time has passed; the caller checks all of them.
fn wait(ready: &mut [PollFd<'_>], millis: u16) {
    if let Err(error) = poll(ready, PollTimeout::from(millis)) {
        tracing::debug!(%error, "a wait was cut short");
    }
}

/// Returns the raw wait status.
fn raw_status(status: WaitStatus) -> i32 {
    match status {
        WaitStatus::Exited(_, code) => (code & 0xff) << 8,
        #[expect(clippy::as_conversions, reason = "a signal is its number")]
        WaitStatus::Signaled(_, signal, _) => signal as i32,
        WaitStatus::Stopped(..)
        | WaitStatus::PtraceEvent(..)
        | WaitStatus::PtraceSyscall(_)
        | WaitStatus::Continued(_)
        | WaitStatus::StillAlive => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_read_as_it_was_written() {
        let limits = ProgramLimits { memory: 1, processes: 2, files: 3, file_size: 4 };
        let order = Order {
            pipes: (5, 6),
            limits,
            folder: None,
            program: "/bin/echo".into(),
            name: "echo".into(),
            arguments: vec!["".into(), "--x".into(), "a b".into()],
        };
        assert_eq!(Order::read(order.to_arguments()), Some(order.clone()));
        let with_folder = Order { folder: Some("/tmp/x".into()), arguments: Vec::new(), ..order };
        assert_eq!(Order::read(with_folder.to_arguments()), Some(with_folder.clone()));
        let short = with_folder.to_arguments().into_iter().take(8);
        assert_eq!(Order::read(short), None);
    }

    #[test]
    fn a_report_is_whole_or_none() {
        for end in [End::Exited(9), End::Exited(256), End::Failed(2), End::Crowded] {
            let report = end.report();
            assert_eq!(End::read(&report), Some(end));
            assert_eq!(End::read(report.trim_end()), None);
        }
        assert_eq!(End::read(""), None);
    }
}
