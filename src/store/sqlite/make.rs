//! Makes a database, and tells one of this server's from others.
//!
//! A database is made under another name and gets its own once it has the table by which it is
//! known, so that a file without that table is never one of a start that was cut off.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;

use sqlx::migrate::Migrate as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use crate::store::OpenError;

use super::fault::unusable;
use super::lock::unfit;
use super::private::{self, beside};
use super::shrink;

/// The table of the schema's version, as `sqlx` names it.
pub(super) const VERSIONS: &str = "_sqlx_migrations";
/// The end of the name under which a database is made.
const UNFINISHED: &str = ".unfinished";
/// Foreign tables that a refusal names.
const NAMED: i64 = 3;

/// Removes what a start that was cut off left. The caller holds the lock file.
pub(super) fn tidy(database: &Path) -> Result<(), OpenError> {
    let unfinished = beside(database, UNFINISHED);
    for path in [beside(&unfinished, "-journal"), unfinished] {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(unfit(&path, &error)),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Makes a database without migrations, and puts it on the disk. The caller holds the lock file
/// and found no database.
pub(super) async fn make(database: &Path) -> Result<(), OpenError> {
    let unfinished = beside(database, UNFINISHED);
    // SQLite makes none with a mode of its own.
    private::open(&unfinished).map_err(|error| unfit(&unfinished, &error))?;
    let options = SqliteConnectOptions::new().filename(&unfinished);
    let options = options.synchronous(SqliteSynchronous::Full).auto_vacuum(shrink::MODE);
    let mut connection = options.connect().await.map_err(|error| unusable(&error))?;
    let made = connection.ensure_migrations_table(VERSIONS).await;
    made.map_err(|error| OpenError::Migration(error.to_string()))?;
    connection.close().await.map_err(|error| unusable(&error))?;
    name(&unfinished, database).map_err(|error| unfit(database, &error))
}

/// Gives the file its name, unless a file of that name has appeared meanwhile.
fn name(unfinished: &Path, database: &Path) -> io::Result<()> {
    match std::fs::hard_link(unfinished, database) {
        Ok(()) => std::fs::remove_file(unfinished)?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return std::fs::remove_file(unfinished);
        }
        // Not every file system has links.
        Err(_) => std::fs::rename(unfinished, database)?,
    }
    let folder = database.parent().ok_or(ErrorKind::InvalidInput)?;
    File::open(folder)?.sync_all()
}

/// Refuses a database that this server has not made.
pub(super) async fn require_own(
    connection: &mut SqliteConnection,
    path: &Path,
) -> Result<(), OpenError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?)";
    let own = sqlx::query_scalar(sql).bind(VERSIONS).fetch_one(&mut *connection).await;
    if own.map_err(|error| unusable(&error))? {
        return Ok(());
    }
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name LIMIT ?";
    let tables = sqlx::query_scalar(sql).bind(NAMED).fetch_all(connection).await;
    let tables: Vec<String> = tables.map_err(|error| unusable(&error))?;
    let path = path.display();
    Err(OpenError::Unfit(if tables.is_empty() {
        format!(
            "{path} is a database without tables: its contents are lost, or another program made \
             it. Put a backup in its place, or remove the file for a new database"
        )
    } else {
        format!(
            "{path} is the database of another program (its tables begin with {}): name another file",
            tables.join(", ")
        )
    }))
}
