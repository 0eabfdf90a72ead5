//! Opens the store that the settings name, and moves its schema.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};

use super::Ambient;
use super::patience::open_with_patience;
use crate::config::{Database, Settings, mask_url};
use crate::store::{
    MemoryStore, MigrationState, OpenError, PostgresSettings, PostgresStore, SqliteStore, Store,
};

/// What to do to the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migration {
    /// Apply what is missing.
    Up,
    /// Undo everything after this version.
    Down(i64),
    /// Change nothing.
    Status,
}

/// Opens the store; a database that does not answer yet is waited for.
pub(super) async fn open(settings: &Settings, ambient: &Ambient) -> anyhow::Result<Arc<dyn Store>> {
    let clock = || Arc::clone(&ambient.clock);
    match &settings.database {
        Database::Memory => {
            tracing::warn!("threads are kept in memory: nothing survives this process");
            Ok(Arc::new(MemoryStore::new(clock())))
        }
        Database::Sqlite(path) => {
            make_folder(path)?;
            let open = || SqliteStore::open(path, clock());
            let store = patiently(&sqlite_name(path), ambient, open).await?;
            Ok(Arc::new(store))
        }
        Database::Postgres(url) => {
            let target = postgres(url, settings);
            let open = || PostgresStore::connect(&target);
            let store = patiently(&postgres_name(url), ambient, open).await?;
            Ok(Arc::new(store))
        }
    }
}

/// Moves the schema and says, a line a migration, where it stands then.
pub async fn migrate(settings: &Settings, migration: Migration) -> anyhow::Result<Vec<String>> {
    let ambient = Ambient::start();
    let states = match &settings.database {
        Database::Memory => {
            return Ok(vec!["memory has no schema".to_owned()]);
        }
        Database::Sqlite(path) => {
            make_folder(path)?;
            let go = || async {
                match migration {
                    Migration::Up => SqliteStore::migrate_up(path).await?,
                    Migration::Down(to) => SqliteStore::migrate_down(path, to).await?,
                    Migration::Status => {}
                }
                SqliteStore::migration_status(path).await
            };
            patiently(&sqlite_name(path), &ambient, go).await?
        }
        Database::Postgres(url) => {
            let target = postgres(url, settings);
            let go = || async {
                match migration {
                    Migration::Up => PostgresStore::migrate_up(&target).await?,
                    Migration::Down(to) => PostgresStore::migrate_down(&target, to).await?,
                    Migration::Status => {}
                }
                PostgresStore::migration_status(&target).await
            };
            patiently(&postgres_name(url), &ambient, go).await?
        }
    };
    Ok(states.iter().map(line).collect())
}

fn line(state: &MigrationState) -> String {
    let applied = if state.applied { "applied" } else { "missing" };
    format!("{:>4}  {applied}  {}", state.version, state.description)
}

/// Opens with patience, and gives the error a name that has no password in it.
async fn patiently<T, F: Future<Output = Result<T, OpenError>>>(
    name: &str,
    ambient: &Ambient,
    open: impl FnMut() -> F,
) -> anyhow::Result<T> {
    let may_pass = |error: &OpenError| matches!(error, OpenError::Unreachable(_));
    let opened =
        open_with_patience(name, (&*ambient.clock, &*ambient.entropy), may_pass, open).await;
    opened.with_context(|| name.to_owned())
}

fn postgres(url: &SecretString, settings: &Settings) -> PostgresSettings {
    PostgresSettings { url: url.clone(), schema: settings.schema.clone(), pooler: settings.pooler }
}

/// The database for logs: no password in it.
pub(super) fn name(database: &Database) -> String {
    match database {
        Database::Memory => "memory".to_owned(),
        Database::Sqlite(path) => format!("sqlite://{}", path.display()),
        Database::Postgres(url) => mask_url(url.expose_secret()),
    }
}

fn postgres_name(url: &SecretString) -> String {
    format!("DATABASE_URL = {:?}", mask_url(url.expose_secret()))
}

fn sqlite_name(path: &Path) -> String {
    format!("DATABASE_URL = \"sqlite://{}\"", path.display())
}

/// Makes the folder that the database file is to stand in.
fn make_folder(path: &Path) -> anyhow::Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else {
        return Ok(());
    };
    std::fs::create_dir_all(folder)
        .with_context(|| format!("{}: the folder can't be made", sqlite_name(path)))
}
