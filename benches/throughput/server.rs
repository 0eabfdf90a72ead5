//! The databases and the real server, on loopback.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Where the measured databases are.
pub(crate) struct Databases {
    postgres: Option<String>,
    folder: PathBuf,
}

/// One kind of database.
#[derive(Clone)]
pub(crate) enum Database {
    Sqlite(PathBuf),
    Postgres { url: String, schema: String },
    Memory,
}

static FRESH: AtomicU32 = AtomicU32::new(0);

impl Databases {
    /// `RETHREAD_BENCH_POSTGRES_URL` and `RETHREAD_BENCH_DIR`, as `scripts/bench` sets them.
    pub(crate) fn from_env() -> Result<Self> {
        let folder = std::env::var("RETHREAD_BENCH_DIR").context("run scripts/bench")?;
        Ok(Self {
            postgres: std::env::var("RETHREAD_BENCH_POSTGRES_URL").ok(),
            folder: PathBuf::from(folder),
        })
    }

    pub(crate) fn urls(&self) -> Vec<Database> {
        let wanted = std::env::var("RETHREAD_BENCH_ONLY").unwrap_or_default();
        let mut all = vec![Database::Sqlite(self.folder.clone())];
        if let Some(url) = &self.postgres {
            all.push(Database::Postgres { url: url.clone(), schema: "rethread".to_owned() });
        }
        all.push(Database::Memory);
        all.retain(|database| wanted.is_empty() || wanted.split(',').any(|w| w == database.name()));
        all
    }
}

impl Database {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres { .. } => "postgres",
            Self::Memory => "memory",
        }
    }

    pub(crate) fn survives_a_kill(&self) -> bool {
        !matches!(self, Self::Memory)
    }

    /// The same kind of database, empty: a file of its own, or a schema of its own.
    pub(crate) fn fresh(&self, purpose: &str) -> Self {
        let name = format!("{purpose}_{}", FRESH.fetch_add(1, Ordering::Relaxed));
        match self {
            Self::Sqlite(folder) => {
                let folder = if folder.is_dir() { folder.as_path() } else { parent(folder) };
                Self::Sqlite(folder.join(format!("{name}.db")))
            }
            Self::Postgres { url, .. } => {
                Self::Postgres { url: url.clone(), schema: format!("bench_{name}") }
            }
            Self::Memory => Self::Memory,
        }
    }

    fn env(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Sqlite(path) => vec![("DATABASE_URL", format!("sqlite://{}", path.display()))],
            Self::Postgres { url, schema } => {
                vec![("DATABASE_URL", url.clone()), ("DATABASE_SCHEMA", schema.clone())]
            }
            Self::Memory => vec![("DATABASE_URL", "memory:".to_owned())],
        }
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// The real server in a process of its own.
pub(crate) struct Server {
    child: Child,
    /// `127.0.0.1:PORT`
    pub(crate) addr: String,
}

impl Server {
    pub(crate) async fn start(database: &Database) -> Result<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rethread"))
            .arg("serve")
            .env_clear()
            .env("RETHREAD_ADDR", "127.0.0.1:0")
            .env("RETHREAD_LOG", "error")
            .envs(database.env())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().context("the server has no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) = lines.next_line().await? {
            if let Some(addr) = line.strip_prefix("listening on http://") {
                return Ok(Self { child, addr: addr.to_owned() });
            }
        }
        bail!("the server ended before it served")
    }

    /// Resident memory in KiB.
    pub(crate) fn rss_kib(&self) -> Option<usize> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    /// SIGKILL, as a crash would be.
    pub(crate) async fn kill(mut self) -> Result<()> {
        self.child.kill().await?;
        Ok(())
    }

    pub(crate) async fn stop(mut self) -> Result<()> {
        self.child.kill().await?;
        Ok(())
    }
}
