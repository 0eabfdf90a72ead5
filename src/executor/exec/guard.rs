//! Ends running programs when this server is killed with SIGKILL, which it cannot do itself.
//!
//! The guard is a second process of the same binary that holds the reading end of a pipe. It is
//! told of every group that starts and ends; when the pipe closes, the server is gone, and it kills
//! the groups that are left. The kernel's own way (`PR_SET_PDEATHSIG`) needs unsafe code, reaches
//! only the direct child, and fires when the thread that started it ends, not the process.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, Write as _};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Command;

/// What the guard's process does: reads lines `+GROUP` and `-GROUP` until the input ends, then
/// kills the groups that were not taken back, and says how many. Called by `main` and by nothing
/// else.
pub fn guard_programs(input: impl BufRead) -> usize {
    let mut groups = BTreeSet::new();
    // An input that cannot be read any more is as good as one at its end.
    for line in input.lines().map_while(Result::ok) {
        let Some((sign, id)) = line.split_at_checked(1) else { continue };
        // 0 and 1 would be this very group and every process there is.
        let Some(id) = id.parse().ok().filter(|id: &i32| *id > 1) else { continue };
        if sign == "+" {
            groups.insert(id)
        } else {
            groups.remove(&id)
        };
    }
    let killed = groups.iter().filter(|&&id| killpg(Pid::from_raw(id), Signal::SIGKILL).is_ok());
    killed.count()
}

/// The server's end of the guard; made at the first program, made anew if it was lost.
#[derive(Debug)]
pub(super) struct Guard {
    command: Vec<OsString>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    pipe: Option<File>,
    groups: BTreeSet<i32>,
}

/// A group that the guard knows of, until this is dropped.
#[derive(Debug)]
pub(super) struct Watched {
    guard: Arc<Guard>,
    group: i32,
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut state = self.guard.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.groups.remove(&self.group);
        if !state.tell(&format!("-{}\n", self.group)) {
            state.pipe = None;
        }
    }
}

impl Guard {
    /// A guard that is started with that command line.
    pub(super) fn new(command: Vec<OsString>) -> Arc<Self> {
        Arc::new(Self { command, state: Mutex::default() })
    }

    /// Starts the process unless it runs: before a program is started, so that no program runs
    /// unknown to it for as long as that takes.
    pub(super) fn get_ready(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.pipe.is_none() {
            self.restart(&mut state);
        }
    }

    /// Has a group killed should this process die; until then nothing happens.
    pub(super) fn watch(self: &Arc<Self>, group: Pid) -> Watched {
        let group = group.as_raw();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.groups.insert(group);
        if !state.tell(&format!("+{group}\n")) {
            self.restart(&mut state);
        }
        Watched { guard: Arc::clone(self), group }
    }

    /// Without it everything works but for what a SIGKILL leaves behind.
    fn restart(&self, state: &mut State) {
        match self.start() {
            Ok(pipe) => state.restart(pipe),
            Err(error) => tracing::warn!(%error, "the guard of programs could not be started"),
        }
    }

    /// Starts the process in a group of its own, so that a terminal's Ctrl-C spares it.
    fn start(&self) -> io::Result<File> {
        let (program, args) = self.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut child = Command::new(program)
            .args(args)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let pipe = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let pipe = File::from(pipe.into_owned_fd()?);
        // A guard that does not read must not stop a worker of the runtime.
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(pipe)
    }
}

impl State {
    /// Tells the new guard of all groups.
    fn restart(&mut self, pipe: File) {
        self.pipe = Some(pipe);
        let all: Vec<String> = self.groups.iter().map(|group| format!("+{group}\n")).collect();
        if !self.tell(&all.concat()) {
            self.pipe = None;
        }
    }

    /// Writes without waiting: `false` if the guard is lost, or so far behind that it is no use.
    fn tell(&mut self, lines: &str) -> bool {
        let written = self.pipe.as_mut().map(|pipe| pipe.write(lines.as_bytes()));
        matches!(written, Some(Ok(bytes)) if bytes == lines.len())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::executor::exec::tests::gone;
    use tokio::process::Child;

    #[tokio::test]
    async fn groups_that_were_not_taken_back_die_with_the_pipe() {
        let (mut kept, lost) = (sleeper(), sleeper());
        let (kept_id, lost_id) = (kept.id().unwrap(), lost.id().unwrap());
        let lines = format!("+{kept_id}\n+{lost_id}\n-{kept_id}\n+0\n+1\nnonsense\n\n");
        assert_eq!(guard_programs(lines.as_bytes()), 1);
        gone(&lost_id.to_string()).await;
        assert!(kept.try_wait().unwrap().is_none());
    }

    #[tokio::test]
    async fn the_guard_outlives_the_server_and_is_started_anew_if_it_was_lost() {
        let guard = Guard::new(this_test_as_guard());
        let (first, second, ended) = (sleeper(), sleeper(), sleeper());
        let watched = guard.watch(pid(&first));
        // As if the guard had been killed: nobody reads, nobody is told.
        guard.state.lock().unwrap().pipe = Some(broken_pipe());
        let also = guard.watch(pid(&second));
        drop(guard.watch(pid(&ended)));
        // As if the server had been killed: the pipe closes, no group is taken back.
        guard.state.lock().unwrap().pipe = None;
        gone(&second.id().unwrap().to_string()).await;
        gone(&first.id().unwrap().to_string()).await;
        let mut ended = ended;
        assert!(ended.try_wait().unwrap().is_none());
        drop((watched, also));
    }

    #[test]
    #[ignore = "is the process that another test starts"]
    fn guard_process() {
        guard_programs(io::stdin().lock());
    }

    /// Whether the guard has been told of a group.
    pub(in crate::executor::exec) fn watches(guard: &Guard) -> bool {
        !guard.state.lock().unwrap().groups.is_empty()
    }

    /// The command line of [`guard_process`].
    pub(in crate::executor::exec) fn this_test_as_guard() -> Vec<OsString> {
        let args = ["executor::exec::guard::tests::guard_process", "--exact", "--ignored"];
        let exe = std::env::current_exe().unwrap().into_os_string();
        std::iter::once(exe).chain(args.map(OsString::from)).collect()
    }

    fn broken_pipe() -> File {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        File::from(std::os::fd::OwnedFd::from(writer))
    }

    fn sleeper() -> Child {
        Command::new("sleep").arg("1000").process_group(0).kill_on_drop(true).spawn().unwrap()
    }

    fn pid(child: &Child) -> Pid {
        Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap())
    }
}
