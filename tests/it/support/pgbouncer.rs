//! The real PgBouncer in transaction mode, with fewer sessions than it has clients.
//!
//! A watchdog (a shell that waits for the end of its input) ends it when this process is gone,
//! however it went. Where it can't be had, `RETHREAD_TEST_PGBOUNCER=missing` leaves out the tests
//! that need it; nothing else does.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use super::postgres::{as_user, free_port, server_user};

/// Sessions with the database, for all clients together: far fewer than two servers open.
pub(crate) const SESSIONS: i64 = 4;

/// A running pooler.
#[derive(Debug)]
pub(crate) struct PgBouncer {
    port: u16,
    folder: tempfile::TempDir,
    #[expect(dead_code, reason = "the pipe to it closes when this is dropped")]
    watchdog: Child,
}

impl PgBouncer {
    /// Starts one before the server of this URL; `None` if it was said that there is none.
    pub(crate) fn start(url: &str) -> Option<Self> {
        #[expect(clippy::disallowed_methods, reason = "tests have no configuration layer")]
        if std::env::var("RETHREAD_TEST_PGBOUNCER").is_ok_and(|value| value == "missing") {
            println!("left out: there is no PgBouncer here");
            return None;
        }
        Some(Self::launch(&url::Url::parse(url).unwrap()))
    }

    fn launch(server: &url::Url) -> Self {
        let (host, port) = (server.host_str().unwrap(), server.port().unwrap_or(5432));
        let (folder, listens) = (tempfile::tempdir().unwrap(), free_port());
        let config = format!(
            "[databases]\n* = host={host} port={port} user={user}{password}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {listens}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = transaction\nmax_client_conn = 500\n\
             default_pool_size = {SESSIONS}\nquery_wait_timeout = 20\n",
            user = server.username(),
            password =
                server.password().map_or_else(String::new, |word| format!(" password={word}")),
        );
        let file = folder.path().join("pgbouncer.ini");
        std::fs::write(&file, config).unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let script = "\"$1\" \"$2\" 2>&1 & pid=$!; cat >/dev/null; kill -QUIT $pid; wait $pid";
        let mut shell = as_user("/bin/sh".as_ref(), server_user());
        shell.args(["-c", script, "sh"]).arg(binary()).arg(&file);
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        shell.process_group(0).stdin(Stdio::piped()).stdout(log).stderr(Stdio::null());
        let watchdog = shell.spawn().unwrap();
        Self { port: listens, folder, watchdog }
    }

    /// The same URL by way of it.
    pub(crate) fn before(&self, url: &str) -> String {
        let mut through = url::Url::parse(url).unwrap();
        through.set_host(Some("127.0.0.1")).unwrap();
        through.set_port(Some(self.port)).unwrap();
        through.to_string()
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- log of PgBouncer ---\n{}", self.log());
        }
    }
}

/// Where it is: in the path, or where systems put their daemons.
fn binary() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "tests have no configuration layer")]
    let path = std::env::var("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"].map(PathBuf::from));
    let found = folders.into_iter().map(|folder| folder.join("pgbouncer"));
    found.into_iter().find(|file| file.is_file()).expect(
        "this test needs PgBouncer: install it (apt-get install pgbouncer, brew install pgbouncer), \
         or set RETHREAD_TEST_PGBOUNCER=missing to leave the test out",
    )
}
