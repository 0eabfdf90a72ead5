//! A throwaway Postgres cluster, one per test process, and a fresh database per test.
//!
//! The cluster lives in a temporary folder and listens on a random port of 127.0.0.1. A watchdog
//! (a shell that waits for the end of its input) stops it and removes the folder when this
//! process is gone, however it went. `RETHREAD_TEST_POSTGRES_URL` names a running cluster to use
//! instead: a superuser's URL; each test makes a database of its own there.

use std::io::Read;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rethread::store::PostgresSettings;
use secrecy::SecretString;
use sqlx::{ConnectOptions, Connection, PgConnection};

/// Tries to reach a starting cluster, and the wait between them: 30 s, for a busy machine.
const START_TRIES: u32 = 300;
const START_PAUSE: Duration = Duration::from_millis(100);

/// A database of one test.
#[derive(Debug)]
pub(crate) struct TestDatabase {
    /// Its superuser's URL.
    pub(crate) url: String,
}

impl TestDatabase {
    /// Makes a database.
    pub(crate) async fn create() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let name = format!("t{}_{number}", std::process::id());
        let server = server_url();
        let mut admin = connect(&format!("{server}/postgres")).await;
        // Process ids come round: a test that has ended may have left one of this name.
        let leftover = sqlx::AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        sqlx::query(leftover).execute(&mut admin).await.unwrap();
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE template0"));
        sqlx::query(create).execute(&mut admin).await.unwrap();
        admin.close().await.unwrap();
        Self { url: format!("{server}/{name}") }
    }

    /// Settings that reach it.
    pub(crate) fn settings(&self) -> PostgresSettings {
        PostgresSettings {
            url: SecretString::from(self.url.clone()),
            schema: "rethread".to_owned(),
            pooler: false,
        }
    }

    /// A connection beside the store's.
    pub(crate) async fn connect(&self) -> PgConnection {
        connect(&self.url).await
    }

    /// Runs a statement beside the store.
    pub(crate) async fn execute(&self, sql: &'static str) {
        let mut connection = self.connect().await;
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

pub(crate) async fn connect(url: &str) -> PgConnection {
    let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
    options.connect().await.unwrap()
}

fn server_url() -> String {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "tests have no configuration layer")]
    if let Ok(url) = std::env::var("RETHREAD_TEST_POSTGRES_URL") {
        let mut server = url::Url::parse(&url).expect("RETHREAD_TEST_POSTGRES_URL is not a URL");
        server.set_path("");
        return server.as_str().trim_end_matches('/').to_owned();
    }
    CLUSTER.get_or_init(Cluster::start).url.clone()
}

/// A cluster of one test, which may take it away.
#[derive(Debug)]
pub(crate) struct OwnCluster {
    folder: PathBuf,
    port: u16,
    watchdogs: Vec<Child>,
}

impl OwnCluster {
    /// Makes a cluster and starts it.
    pub(crate) fn start() -> Self {
        let (folder, port) = (make(), free_port());
        let watchdog = watch(&binaries(), &folder, port, server_user());
        wait_for(port, &folder);
        Self { folder, port, watchdogs: vec![watchdog] }
    }

    /// A superuser's URL.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Ends it as `pg_ctl stop -m immediate` does: nothing is said to anybody.
    pub(crate) fn stop(&self) {
        kill(self.postmaster(), Signal::SIGQUIT).unwrap();
        let file = self.folder.join("data/postmaster.pid");
        for _ in 0..START_TRIES {
            if !file.exists() && std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
                return;
            }
            pause();
        }
        panic!("the cluster does not stop");
    }

    /// Starts it again.
    pub(crate) fn restart(&mut self) {
        self.watchdogs.push(watch(&binaries(), &self.folder, self.port, server_user()));
        wait_for(self.port, &self.folder);
    }

    /// Keeps a copy of its files; it must be stopped.
    pub(crate) fn back_up(&self) {
        self.copy("data", "backup");
    }

    /// Puts the copy in the place of its files; it must be stopped.
    pub(crate) fn restore(&self) {
        std::fs::remove_dir_all(self.folder.join("data")).unwrap();
        self.copy("backup", "data");
    }

    fn copy(&self, from: &str, to: &str) {
        let paths = [from, to].map(|name| self.folder.join(name));
        assert!(Command::new("cp").arg("-a").args(paths).status().unwrap().success());
    }

    /// Stops its processes where they are.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets them go on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Signals the postmaster first, so that it makes no more processes.
    fn signal(&self, signal: Signal) {
        let postmaster = self.postmaster();
        kill(postmaster, signal).unwrap();
        let list = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output().unwrap();
        for line in String::from_utf8(list.stdout).unwrap().lines() {
            let mut ids = line.split_whitespace().map(|id| id.parse::<i32>().unwrap());
            let (process, parent) = (ids.next().unwrap(), ids.next().unwrap());
            if parent == postmaster.as_raw() {
                // One that has just ended needs no signal.
                let _gone = kill(Pid::from_raw(process), signal);
            }
        }
    }

    fn postmaster(&self) -> Pid {
        let file = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap();
        Pid::from_raw(file.lines().next().unwrap().trim().parse().unwrap())
    }
}

impl Drop for OwnCluster {
    fn drop(&mut self) {
        if self.folder.join("data/postmaster.pid").exists() {
            self.thaw();
        }
    }
}

/// A running cluster; the watchdog ends it when its input is closed.
#[derive(Debug)]
struct Cluster {
    url: String,
    #[expect(dead_code, reason = "the pipe to it closes when this process is gone")]
    watchdog: Child,
}

impl Cluster {
    fn start() -> Self {
        let folder = make();
        let port = free_port();
        let watchdog = watch(&binaries(), &folder, port, server_user());
        wait_for(port, &folder);
        Self { url: format!("postgres://postgres@127.0.0.1:{port}"), watchdog }
    }
}

/// Makes an empty cluster in a temporary folder.
fn make() -> PathBuf {
    let bin = binaries();
    let folder = tempfile::Builder::new().prefix("rethread-pg-").tempdir().unwrap().keep();
    let user = server_user();
    if let Some((uid, gid)) = user {
        std::os::unix::fs::chown(&folder, Some(uid), Some(gid)).unwrap();
    }
    let data = folder.join("data");
    let mut initdb = as_user(&bin.join("initdb"), user);
    initdb.args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"]);
    let made = initdb.arg("--no-sync").arg("-D").arg(&data).output().unwrap();
    assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    folder
}

fn watch(bin: &Path, folder: &Path, port: u16, user: Option<(u32, u32)>) -> Child {
    let script = "\"$1/postgres\" -D \"$2/data\" -p \"$3\" -c listen_addresses=127.0.0.1 \
                  -c unix_socket_directories=\"$2\" -c max_connections=300 >\"$2/log\" 2>&1 & \
                  pid=$!; cat >/dev/null; kill -QUIT $pid; wait $pid; rm -rf \"$2\"";
    let mut shell = as_user(Path::new("/bin/sh"), user);
    shell.args(["-c", script, "sh"]).arg(bin).arg(folder).arg(port.to_string());
    // Its own group: an interrupt from the terminal must not end it before it has cleaned up.
    shell.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    shell.spawn().unwrap()
}

fn wait_for(port: u16, folder: &Path) {
    for _ in 0..START_TRIES {
        // A server that is still starting accepts and closes; one that is up waits for us.
        if let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) {
            use std::io::Write;
            // The request for TLS, which any server that is up answers with one byte.
            stream.set_read_timeout(Some(START_PAUSE)).unwrap();
            let asked = stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]);
            if asked.is_ok() && stream.read_exact(&mut [0]).is_ok() && is_up(folder) {
                return;
            }
        }
        pause();
    }
    let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    panic!("Postgres did not start: {log}");
}

fn pause() {
    #[expect(clippy::disallowed_methods, reason = "no runtime here; a condition is polled")]
    std::thread::sleep(START_PAUSE);
}

fn is_up(folder: &Path) -> bool {
    let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    log.contains("ready to accept connections")
}

/// Where `initdb` and `postgres` are: in the path, Debian's, Red Hat's and Homebrew's folders.
fn binaries() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "tests have no configuration layer")]
    let path = std::env::var("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    for parent in ["/usr/lib/postgresql", "/usr/local/opt", "/opt/homebrew/opt"] {
        let mut found: Vec<PathBuf> = std::fs::read_dir(parent)
            .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
            .unwrap_or_default();
        found.sort();
        folders.extend(found.into_iter().rev());
    }
    folders.push(PathBuf::from("/usr/pgsql/bin"));
    let complete =
        |folder: &&PathBuf| folder.join("initdb").is_file() && folder.join("postgres").is_file();
    folders.iter().find(complete).cloned().expect(
        "these tests need a PostgreSQL server: install it (apt-get install postgresql, \
         dnf install postgresql-server, brew install postgresql@17) or set \
         RETHREAD_TEST_POSTGRES_URL",
    )
}

/// Postgres refuses to run as root: the `postgres` user's ids then.
pub(crate) fn server_user() -> Option<(u32, u32)> {
    let id = |args: &[&str]| {
        let out = Command::new("id").args(args).output().unwrap();
        String::from_utf8(out.stdout).unwrap().trim().parse::<u32>().ok()
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    let ids = id(&["-u", "postgres"]).zip(id(&["-g", "postgres"]));
    assert!(ids.is_some(), "run these tests as an ordinary user, or make a user named postgres");
    ids
}

pub(super) fn as_user(program: &Path, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/");
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}

pub(super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
