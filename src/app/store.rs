//! Opens the store that the settings name, and migrates its schema.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use secrecy::{ExposeSecret as _, SecretString};

use super::patience::{BUDGET, FALLBACK_BUDGET, open_with_patience};
use super::{Ambient, import};
use crate::config::{Database, Fallback, Settings, mask_url};
use crate::store::{
    Archive, MemoryStore, MigrationState, OpenError, PostgresSettings, PostgresStore,
    SqliteArchive, SqliteStore, Store,
};

/// A change of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migration {
    /// Apply the missing migrations.
    Up,
    /// Undo every migration after this version.
    Down(i64),
    /// Change nothing.
    Status,
}

/// The store that threads are kept in.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) store: Arc<dyn Store>,
    /// Whether this store stands in for the one that the settings name.
    pub(super) fallback: bool,
}

/// Opens the store, and waits for a database that does not answer yet. When this returns, the
/// contents of an earlier start's fallback store are in the database.
pub(super) async fn open(settings: &Settings, ambient: &Ambient) -> anyhow::Result<Opened> {
    let store: Arc<dyn Store> = match &settings.database {
        Database::Memory => {
            tracing::warn!("threads are kept in memory: nothing survives this process");
            memory(ambient)
        }
        Database::Sqlite(path) => open_sqlite(path, (&sqlite_name(path), ambient)).await?,
        Database::Postgres(url) => {
            let target = postgres(url, settings);
            let open = async || {
                let store = PostgresStore::connect(&target).await?;
                store.telling(&ambient.store_clock).await
            };
            let budget = match settings.fallback {
                Fallback::None => BUDGET,
                Fallback::Sqlite | Fallback::Memory => FALLBACK_BUDGET,
            };
            let name = postgres_name(url);
            match patiently(&name, (ambient, budget), open).await {
                Ok(store) => {
                    let path = &settings.fallback_path;
                    import::import_file(path, &store, ambient).await?;
                    Arc::new(store)
                }
                Err(error) => {
                    let store = fall_back(settings, ambient, error).await?;
                    return Ok(Opened { store, fallback: true });
                }
            }
        }
    };
    Ok(Opened { store, fallback: false })
}

/// Opens the store that stands in for the database, if the settings allow one and it helps. A
/// database that answers with a refusal has to be looked at instead.
async fn fall_back(
    settings: &Settings,
    ambient: &Ambient,
    error: anyhow::Error,
) -> anyhow::Result<Arc<dyn Store>> {
    if !matches!(error.downcast_ref(), Some(OpenError::Unreachable(_))) {
        return Err(error);
    }
    let path = &settings.fallback_path;
    let store = match settings.fallback {
        Fallback::None => return Err(error),
        Fallback::Memory => memory(ambient),
        Fallback::Sqlite => {
            let name = format!("RETHREAD_FALLBACK_PATH = {:?}", path.display().to_string());
            open_sqlite(path, (&name, ambient)).await?
        }
    };
    match settings.fallback {
        Fallback::None | Fallback::Sqlite => tracing::warn!(
            error = format!("{error:#}"),
            file = %path.display(),
            "RUNNING ON THE FALLBACK: the database can't be reached, and threads are kept in a \
             local file until this server is started again with the database there",
        ),
        Fallback::Memory => tracing::warn!(
            error = format!("{error:#}"),
            "RUNNING ON THE FALLBACK: the database can't be reached, and threads are kept in \
             memory: nothing survives this process",
        ),
    }
    Ok(store)
}

fn memory(ambient: &Ambient) -> Arc<dyn Store> {
    Arc::new(MemoryStore::new(Arc::clone(&ambient.clock)))
}

async fn open_sqlite(
    path: &Path,
    (name, ambient): (&str, &Ambient),
) -> anyhow::Result<Arc<dyn Store>> {
    make_folder(path, name)?;
    let open = || SqliteStore::open(path, Arc::clone(&ambient.clock));
    let store = patiently(name, (ambient, BUDGET), open).await?;
    Ok(Arc::new(store))
}

/// Opens the store that the settings name for reading alone; `None` if nothing there outlives a
/// process.
pub(super) async fn open_archive(
    settings: &Settings,
    ambient: &Ambient,
) -> anyhow::Result<Option<Arc<dyn Archive>>> {
    match &settings.database {
        Database::Memory => Ok(None),
        Database::Sqlite(path) => {
            let open = || SqliteArchive::open(path, Arc::clone(&ambient.clock));
            let opened = patiently(&sqlite_name(path), (ambient, BUDGET), open).await?;
            Ok(Some(Arc::new(opened)))
        }
        Database::Postgres(url) => {
            let target = postgres(url, settings);
            let open = || PostgresStore::inspect(&target);
            let opened = patiently(&postgres_name(url), (ambient, BUDGET), open).await?;
            Ok(Some(Arc::new(opened)))
        }
    }
}

/// Migrates the schema and returns its state afterwards, one line a migration.
pub async fn migrate(settings: &Settings, migration: Migration) -> anyhow::Result<Vec<String>> {
    let ambient = Ambient::start();
    let states = match &settings.database {
        Database::Memory => {
            return Ok(vec!["memory has no schema".to_owned()]);
        }
        Database::Sqlite(path) => {
            make_folder(path, &sqlite_name(path))?;
            let go = || async {
                match migration {
                    Migration::Up => SqliteStore::migrate_up(path).await?,
                    Migration::Down(to) => SqliteStore::migrate_down(path, to).await?,
                    Migration::Status => {}
                }
                SqliteStore::migration_status(path).await
            };
            patiently(&sqlite_name(path), (&ambient, BUDGET), go).await?
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
            patiently(&postgres_name(url), (&ambient, BUDGET), go).await?
        }
    };
    Ok(states.iter().map(line).collect())
}

/// Writes the file of a database anew, so that it is as small as it can be; returns what was done.
pub async fn compact(settings: &Settings) -> anyhow::Result<&'static str> {
    let Database::Sqlite(path) = &settings.database else {
        bail!("only the file of an SQLite database is compacted; PostgreSQL has VACUUM FULL");
    };
    if !path.exists() {
        bail!("{}: there is no such file", sqlite_name(path));
    }
    let ambient = Ambient::start();
    patiently(&sqlite_name(path), (&ambient, BUDGET), || SqliteStore::compact(path)).await?;
    Ok("the file was written anew, and shrinks by itself from now on")
}

fn line(state: &MigrationState) -> String {
    let applied = if state.applied { "applied" } else { "missing" };
    format!("{:>4}  {applied}  {}", state.version, state.description)
}

/// Opens with patience, and gives the error a name without a password.
async fn patiently<T, F: Future<Output = Result<T, OpenError>>>(
    name: &str,
    (ambient, budget): (&Ambient, Duration),
    open: impl FnMut() -> F,
) -> anyhow::Result<T> {
    let may_pass = |e: &OpenError| matches!(e, OpenError::Unreachable(_) | OpenError::Busy(_));
    let ambient = (&*ambient.clock, &*ambient.entropy);
    let opened = open_with_patience(name, ambient, (may_pass, budget), open).await;
    opened.with_context(|| name.to_owned())
}

fn postgres(url: &SecretString, settings: &Settings) -> PostgresSettings {
    PostgresSettings { url: url.clone(), schema: settings.schema.clone(), pooler: settings.pooler }
}

/// Returns the name of the database for logs, without a password.
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

/// Makes the folder of the database file.
fn make_folder(path: &Path, name: &str) -> anyhow::Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else {
        return Ok(());
    };
    std::fs::create_dir_all(folder).with_context(|| format!("{name}: the folder can't be made"))
}
