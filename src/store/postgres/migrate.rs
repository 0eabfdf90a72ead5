//! Brings the schema up to date.
//!
//! Everything happens in one transaction under a transaction-scoped advisory lock that is tried
//! for, never waited for: a waiting lock pins vacuum, a session lock is stranded by poolers. No
//! statement is prepared under a name, which a pooler would leave to others.

use std::time::Duration;

use sqlx::migrate::{AppliedMigration, Migrate, MigrateError, Migration, Migrator};
use sqlx::postgres::{PgConnection, PgTransaction};
use sqlx::{ConnectOptions, Connection, Executor};

use crate::store::{MigrationState, OpenError};

use super::fault::open_fault;
use super::settings::{ACQUIRE_TIMEOUT, Target};
use super::steps::Steps;

/// Tries to get the lock, and the wait between them: a minute, longer than our migrations take.
const LOCK_TRIES: u32 = 600;
const LOCK_PAUSE: Duration = Duration::from_millis(100);
/// "rethread" in ASCII; the schema's hash is the other half of the lock's key.
const LOCK_CLASS: i32 = 0x7265_7468;

/// Where the driver puts down what was applied.
const TABLE: &str = "_sqlx_migrations";

/// The goal of a migration.
#[derive(Debug, Clone, Copy)]
pub(super) enum Goal {
    /// Apply what is missing.
    Up,
    /// Undo everything after this version.
    Down(i64),
}

/// Moves the schema to its goal. One that stands there already is only read, so that a role that
/// may read and write rows, and change no schema, can serve it.
pub(super) async fn migrate(target: &Target, goal: Goal) -> Result<(), OpenError> {
    let mut connection = connect(target).await?;
    let moved = move_to(&mut connection, target, goal).await;
    part_from(connection).await;
    moved
}

async fn move_to(
    connection: &mut PgConnection,
    target: &Target,
    goal: Goal,
) -> Result<(), OpenError> {
    if matches!(goal, Goal::Up) && is_current(&look(connection, target).await?) {
        return Ok(());
    }
    locked(connection, target, goal).await
}

/// Whether exactly the steps that this server knows were applied, with the texts it knows.
fn is_current(applied: &[AppliedMigration]) -> bool {
    let migrator = migrator();
    let known = || migrator.iter().filter(|step| step.migration_type.is_up_migration());
    let same = |step: &Migration| {
        applied.iter().any(|row| row.version == step.version && row.checksum == step.checksum)
    };
    applied.len() == known().count() && known().all(same)
}

/// Every known step and whether the database has it.
pub(super) async fn status(target: &Target) -> Result<Vec<MigrationState>, OpenError> {
    let mut connection = connect(target).await?;
    let applied = look(&mut connection, target).await;
    part_from(connection).await;
    Ok(MigrationState::of(&migrator(), &versions(&applied?)))
}

/// Refuses a schema that is not exactly the one this server makes.
pub(super) async fn require_current(target: &Target) -> Result<(), OpenError> {
    let mut connection = connect(target).await?;
    let applied = applied(&mut connection, target).await;
    part_from(connection).await;
    MigrationState::require_current(&migrator(), &versions(&applied?))
}

/// Ends a connection in good order; the work on it is done either way.
pub(super) async fn part_from(connection: PgConnection) {
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "a connection was not closed in good order");
    }
}

pub(super) async fn connect(target: &Target) -> Result<PgConnection, OpenError> {
    let options = target.options();
    match tokio::time::timeout(ACQUIRE_TIMEOUT, options.connect()).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(fault(target, &error)),
        Err(_) => Err(OpenError::Unreachable("no answer in time".to_owned())),
    }
}

async fn locked(
    connection: &mut PgConnection,
    target: &Target,
    goal: Goal,
) -> Result<(), OpenError> {
    for _ in 0..LOCK_TRIES {
        let mut transaction = connection.begin().await.map_err(|e| fault(target, &e))?;
        let got: bool = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1, hashtext($2))")
            .bind(LOCK_CLASS)
            .bind(target.schema.name())
            .persistent(false)
            .fetch_one(&mut *transaction)
            .await
            .map_err(|e| fault(target, &e))?;
        if got {
            run(&mut transaction, target, goal).await?;
            return transaction.commit().await.map_err(|e| fault(target, &e));
        }
        transaction.rollback().await.map_err(|e| fault(target, &e))?;
        tokio::time::sleep(LOCK_PAUSE).await;
    }
    Err(OpenError::Busy("another server is still migrating the schema".to_owned()))
}

async fn run(
    transaction: &mut PgTransaction<'_>,
    target: &Target,
    goal: Goal,
) -> Result<(), OpenError> {
    let schema = target.schema.name();
    // Asked first, as CREATE SCHEMA wants a privilege even where there is nothing to do.
    let exists: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)")
            .bind(schema)
            .persistent(false)
            .fetch_one(&mut **transaction)
            .await
            .map_err(|e| fault(target, &e))?;
    if !exists {
        let create = sqlx::AssertSqlSafe(format!("CREATE SCHEMA IF NOT EXISTS {schema}"));
        transaction.execute(create).await.map_err(|e| fault(target, &e))?;
    }
    let path = sqlx::AssertSqlSafe(format!("SET LOCAL search_path = {schema}"));
    transaction.execute(path).await.map_err(|e| fault(target, &e))?;
    let migrator = migrator();
    let moved = match goal {
        Goal::Up => migrator.run_direct(None, &mut Steps(transaction), false).await,
        Goal::Down(to) => undo(&migrator, &mut Steps(transaction), to).await,
    };
    moved.map_err(|error| OpenError::migration(&error, &migrator))
}

/// Undoes the steps after `to`. (The driver's way wants a connection, and would prepare.)
async fn undo(migrator: &Migrator, steps: &mut Steps<'_>, to: i64) -> Result<(), MigrateError> {
    // Nothing is missing, nothing is newer: the same checks as on the way up.
    migrator.run_direct(Some(0), steps, false).await?;
    let applied = steps.list_applied_migrations(TABLE).await?;
    let down = migrator.iter().rev().filter(|step| step.migration_type.is_down_migration());
    for step in down {
        if step.version > to && applied.iter().any(|applied| applied.version == step.version) {
            steps.revert(TABLE, step).await?;
        }
    }
    Ok(())
}

/// The applied migrations, read in a transaction so that a pooler keeps to one session.
async fn look(
    connection: &mut PgConnection,
    target: &Target,
) -> Result<Vec<AppliedMigration>, OpenError> {
    let mut transaction = connection.begin().await.map_err(|e| fault(target, &e))?;
    let applied = applied(&mut transaction, target).await?;
    transaction.rollback().await.map_err(|e| fault(target, &e))?;
    Ok(applied)
}

async fn applied(
    connection: &mut PgConnection,
    target: &Target,
) -> Result<Vec<AppliedMigration>, OpenError> {
    let table = format!("{}.{TABLE}", target.schema.name());
    let exists: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(&table)
        .persistent(false)
        .fetch_one(&mut *connection)
        .await
        .map_err(|e| fault(target, &e))?;
    if !exists {
        return Ok(Vec::new());
    }
    let applied = Steps(connection).list_applied_migrations(&table).await;
    applied.map_err(|error| OpenError::Migration(error.to_string()))
}

fn versions(applied: &[AppliedMigration]) -> Vec<i64> {
    applied.iter().map(|step| step.version).collect()
}

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("migrations/postgres");
    migrator.set_locking(false);
    migrator
}

pub(super) fn fault(target: &Target, error: &sqlx::Error) -> OpenError {
    let (user, database) = target.names();
    open_fault(error, user, database)
}
