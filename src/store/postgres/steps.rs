//! Applies the schema's steps without a prepared statement left behind.
//!
//! The driver's own way prepares statements under names and never frees them: behind a pooler they
//! would stay in a session that others use next. Called by `migrate.rs`, which has opened
//! the one transaction that all of it happens in, under its lock.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx::migrate::{AppliedMigration, Migrate, MigrateError, Migration};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor};

/// A connection in a transaction.
#[derive(Debug)]
pub(super) struct Steps<'a>(pub(super) &'a mut PgConnection);

impl Steps<'_> {
    async fn run(&mut self, migration: &Migration) -> Result<(), MigrateError> {
        let done = self.0.execute(migration.sql.clone()).await;
        done.map_err(|error| MigrateError::ExecuteMigration(error, migration.version))?;
        Ok(())
    }

    async fn put_down(&mut self, table: &str, migration: &Migration) -> Result<(), MigrateError> {
        let sql = format!(
            "INSERT INTO {table} (version, description, success, checksum, execution_time)
             VALUES ($1, $2, TRUE, $3, 0)"
        );
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(migration.version)
            .bind(&*migration.description)
            .bind(&*migration.checksum);
        query.persistent(false).execute(&mut *self.0).await?;
        Ok(())
    }
}

impl Migrate for Steps<'_> {
    fn create_schema_if_not_exists<'e>(
        &'e mut self,
        schema: &'e str,
    ) -> BoxFuture<'e, Result<(), MigrateError>> {
        self.0.create_schema_if_not_exists(schema)
    }

    fn ensure_migrations_table<'e>(
        &'e mut self,
        table: &'e str,
    ) -> BoxFuture<'e, Result<(), MigrateError>> {
        // One statement without arguments: the driver sends it without preparing it.
        self.0.ensure_migrations_table(table)
    }

    fn dirty_version<'e>(
        &'e mut self,
        table: &'e str,
    ) -> BoxFuture<'e, Result<Option<i64>, MigrateError>> {
        let sql = format!("SELECT min(version) FROM {table} WHERE NOT success");
        let query = sqlx::query_scalar(AssertSqlSafe(sql)).persistent(false);
        async move { Ok(query.fetch_one(&mut *self.0).await?) }.boxed()
    }

    fn list_applied_migrations<'e>(
        &'e mut self,
        table: &'e str,
    ) -> BoxFuture<'e, Result<Vec<AppliedMigration>, MigrateError>> {
        let sql = format!("SELECT version, checksum FROM {table} ORDER BY version");
        let query = sqlx::query_as(AssertSqlSafe(sql)).persistent(false);
        async move {
            let rows: Vec<(i64, Vec<u8>)> = query.fetch_all(&mut *self.0).await?;
            let applied = rows
                .into_iter()
                .map(|(version, checksum)| AppliedMigration { version, checksum: checksum.into() });
            Ok(applied.collect())
        }
        .boxed()
    }

    fn lock(&mut self) -> BoxFuture<'_, Result<(), MigrateError>> {
        // Held already, for the transaction.
        async { Ok(()) }.boxed()
    }

    fn unlock(&mut self) -> BoxFuture<'_, Result<(), MigrateError>> {
        async { Ok(()) }.boxed()
    }

    fn apply<'e>(
        &'e mut self,
        table: &'e str,
        migration: &'e Migration,
    ) -> BoxFuture<'e, Result<Duration, MigrateError>> {
        async move {
            self.run(migration).await?;
            self.put_down(table, migration).await?;
            Ok(Duration::ZERO)
        }
        .boxed()
    }

    fn revert<'e>(
        &'e mut self,
        table: &'e str,
        migration: &'e Migration,
    ) -> BoxFuture<'e, Result<Duration, MigrateError>> {
        async move {
            self.run(migration).await?;
            let sql = format!("DELETE FROM {table} WHERE version = $1");
            let query = sqlx::query(AssertSqlSafe(sql)).bind(migration.version);
            query.persistent(false).execute(&mut *self.0).await?;
            Ok(Duration::ZERO)
        }
        .boxed()
    }

    fn skip<'e>(
        &'e mut self,
        table: &'e str,
        migration: &'e Migration,
    ) -> BoxFuture<'e, Result<(), MigrateError>> {
        async move { self.put_down(table, migration).await }.boxed()
    }
}
