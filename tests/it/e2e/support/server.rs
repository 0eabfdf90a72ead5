//! The real binary, started with a clean environment, killed when dropped.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::{Resource, Rlimit, prlimit};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::{Client, Home, PATIENCE};

/// A server that is about to be started.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    home: &'a Home,
    environment: Vec<(String, String)>,
    program: PathBuf,
    /// The hard limit of open files; the soft one is lower.
    open_files: Option<u64>,
    arguments: Vec<String>,
    /// Where it logs; `None`: to a file of the home.
    log: Option<Stdio>,
}

impl<'a> Launch<'a> {
    pub(super) fn new(home: &'a Home) -> Self {
        let environment = Vec::new();
        let program = PathBuf::from(env!("CARGO_BIN_EXE_rethread"));
        let arguments = vec!["serve".to_owned()];
        let launch = Self { home, environment, program, open_files: None, arguments, log: None };
        launch
            .set("RETHREAD_ADDR", "127.0.0.1:0")
            .set("DATABASE_URL", &home.url)
            .set("RETHREAD_LEASE", "1s")
            .set("RETHREAD_SHUTDOWN_DELAY", "0s")
            .set("RETHREAD_LOG", "info,rethread=debug,rethread::api=info")
            .set("RETHREAD_LOG_FORMAT", "json")
    }

    /// Sets a variable.
    #[must_use]
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The server may open so many files, and starts with a soft limit of fewer.
    #[must_use]
    pub(crate) const fn open_files(mut self, hard: u64) -> Self {
        self.open_files = Some(hard);
        self
    }

    /// The server logs to another place than a file of the home.
    #[must_use]
    pub(crate) fn log_to(mut self, log: impl Into<Stdio>) -> Self {
        self.log = Some(log.into());
        self
    }

    /// The server is another: the one that an ignored test of this program runs.
    #[must_use]
    pub(crate) fn of_test(mut self, name: &str) -> Self {
        self.program = std::env::current_exe().unwrap();
        let arguments = [name, "--exact", "--ignored", "--nocapture"];
        self.arguments = arguments.map(str::to_owned).into();
        self
    }

    fn serving(&self) -> Command {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        self.command(&arguments)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match self.open_files {
            None => Command::new(&self.program),
            Some(hard) => {
                let mut shell = Command::new("sh");
                let script =
                    format!("ulimit -S -n 200 && ulimit -H -n {hard} && exec \"$0\" \"$@\"");
                shell.args(["-c", &script]).arg(&self.program);
                shell
            }
        };
        command.args(arguments).env_clear().current_dir(self.home.folder.path());
        #[expect(clippy::disallowed_methods, reason = "tests have no configuration layer")]
        command.env("PATH", std::env::var("PATH").unwrap_or_default());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Starts it and waits until it serves.
    pub(crate) async fn start(self) -> Server {
        self.try_start().await.unwrap_or_else(|log| panic!("no server\n{log}"))
    }

    /// Starts it and waits until it serves; its log if it ends before that.
    pub(crate) async fn try_start(mut self) -> Result<Server, String> {
        let log = tempfile::Builder::new()
            .prefix("stderr-")
            .tempfile_in(self.home.folder.path())
            .unwrap()
            .into_temp_path()
            .keep()
            .unwrap();
        let mut command = self.serving();
        let file = || std::fs::File::create(&log).unwrap().into();
        command.stdout(Stdio::piped()).stderr(self.log.take().unwrap_or_else(file));
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let listens = async {
            loop {
                match lines.next_line().await {
                    // What the runner of tests says before the test does.
                    Ok(Some(line)) if line.is_empty() || line.starts_with("running") => {}
                    other => return other,
                }
            }
        };
        let said = tokio::time::timeout(PATIENCE, listens).await;
        let read_log = || std::fs::read_to_string(&log).unwrap_or_default();
        let Ok(Ok(Some(line))) = said else { return Err(format!("{said:?}\n{}", read_log())) };
        let addr = line.strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line}"));
        Ok(Server { child, addr: addr.parse().unwrap(), log })
    }

    /// Runs it until it has logged `words`, ends it, and gives the whole log.
    pub(crate) async fn log_until(self, words: &str) -> String {
        let mut command = self.serving();
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut log = String::new();
        let read = async {
            while !log.contains(words) {
                log += &lines.next_line().await.unwrap().unwrap_or_else(|| panic!("ended: {log}"));
                log.push('\n');
            }
            kill(Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()), Signal::SIGTERM)
                .unwrap();
            child.wait().await.unwrap();
        };
        assert!(tokio::time::timeout(PATIENCE, read).await.is_ok(), "not {words:?} in {log}");
        log
    }

    /// Runs it to its end, which is expected soon.
    pub(crate) async fn output(self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let ended = tokio::time::timeout(PATIENCE * 2, command.output()).await;
        ended.expect("the process goes on").unwrap()
    }
}

/// A running server; its log is printed if the test fails.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    log: PathBuf,
}

impl Server {
    /// A client without a key.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.addr)
    }

    /// Its address as a URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Ends it like a power cut.
    pub(crate) async fn kill9(mut self) {
        self.child.start_kill().unwrap();
        self.child.wait().await.unwrap();
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_died(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// The bytes that its process takes now.
    pub(crate) fn memory(&self) -> usize {
        self.status("VmRSS:")
    }

    /// The most bytes that its process has taken.
    pub(crate) fn most_memory(&self) -> usize {
        self.status("VmHWM:")
    }

    /// The bytes of addresses that its process has reserved.
    pub(crate) fn addresses(&self) -> usize {
        self.status("VmSize:")
    }

    /// Bounds the bytes of addresses that its process may reserve from now on; `None` is no bound.
    pub(crate) fn bound_addresses(&self, most: Option<usize>) {
        let process = rustix::process::Pid::from_raw(self.child.id().unwrap().cast_signed());
        let current = most.map(|most| u64::try_from(most).unwrap());
        prlimit(process, Resource::As, Rlimit { current, maximum: None }).unwrap();
    }

    /// Whether the kernel may give its process huge pages.
    pub(crate) fn may_have_huge_pages(&self) -> bool {
        self.status("THP_enabled:") > 0
    }

    fn status(&self, name: &str) -> usize {
        let path = format!("/proc/{}/status", self.child.id().unwrap());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    /// Waits for it to end by itself; gives its log as well.
    pub(crate) async fn wait(mut self) -> (ExitStatus, String) {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        (ended.expect("it does not end").unwrap(), self.log())
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        kill(Pid::from_raw(id), signal).unwrap();
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn sigterm_and_wait(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.expect("it does not end").unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- log of the server at {} ---\n{}", self.addr, self.log());
        }
    }
}
