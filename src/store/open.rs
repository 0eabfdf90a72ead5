//! The failures of opening a store, and the state of its schema.

use sqlx::migrate::{MigrateError, Migrator};

/// Why a store could not be opened, cut by what the operator does next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Nobody answers, or not now. Trying again later may help.
    #[error("the database can't be reached: {0}")]
    Unreachable(String),
    /// The database answers, and another server is changing its schema. Trying again later helps.
    #[error("the database is busy: {0}")]
    Busy(String),
    /// The database answered and does not let us in: role, password, database or privileges.
    #[error("the database refuses the connection: {0}")]
    Refused(String),
    /// The settings cannot be used (the URL, the schema's name).
    #[error("{0}")]
    Settings(String),
    /// A newer version of this server has migrated the schema.
    #[error(
        "the schema is at version {found}, newer than this server knows ({known}): \
         use the newer server, or migrate down with it first"
    )]
    Newer {
        /// The version of the schema.
        found: i64,
        /// The newest version this server knows.
        known: i64,
    },
    /// Another process has this database file open.
    #[error("{0} is in use by another process")]
    Locked(String),
    /// The schema could not be brought up to date.
    #[error("migration failed: {0}")]
    Migration(String),
    /// The database itself is unfit (too old, damaged, not writable).
    #[error("{0}")]
    Unfit(String),
}

/// One step of the schema's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationState {
    /// Its number.
    pub version: i64,
    /// Its description.
    pub description: String,
    /// Whether the database has it.
    pub applied: bool,
}

impl MigrationState {
    /// Every step that `migrator` knows, compared with those that were `applied`.
    pub(super) fn of(migrator: &Migrator, applied: &[i64]) -> Vec<Self> {
        let up = migrator.iter().filter(|step| !step.migration_type.is_down_migration());
        let state = up.map(|step| Self {
            version: step.version,
            description: step.description.to_string(),
            applied: applied.contains(&step.version),
        });
        state.collect()
    }
}

impl MigrationState {
    /// Refuses a schema that is not exactly the one `migrator` makes.
    pub(super) fn require_current(migrator: &Migrator, applied: &[i64]) -> Result<(), OpenError> {
        let known = migrator.iter().map(|step| step.version).max().unwrap_or(0);
        if let Some(found) = applied.iter().copied().max().filter(|found| *found > known) {
            return Err(OpenError::Newer { found, known });
        }
        if Self::of(migrator, applied).iter().all(|step| step.applied) {
            return Ok(());
        }
        let missing = "the schema is not up to date: start the server, or `rethread migrate`";
        Err(OpenError::Unfit(missing.to_owned()))
    }
}

impl OpenError {
    /// Why migrating failed.
    pub(super) fn migration(error: &MigrateError, migrator: &Migrator) -> Self {
        let known = migrator.iter().map(|step| step.version).max().unwrap_or(0);
        if let MigrateError::VersionMissing(found) = *error
            && found > known
        {
            return Self::Newer { found, known };
        }
        Self::Migration(error.to_string())
    }
}
