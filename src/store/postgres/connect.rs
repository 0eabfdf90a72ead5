//! Makes a store of its settings, and moves the schema under it.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr};

use crate::store::{MigrationState, OpenError};

use super::migrate::{self, Goal};
use super::settings::{Schema, Target};
use super::starts::{self, Extent};
use super::store::{Door, Statements};
use super::{PostgresSettings, PostgresStore, appends, leases};

impl PostgresStore {
    /// Connects and brings the schema up to date. Several replicas may do so at once.
    pub async fn connect(settings: &PostgresSettings) -> Result<Self, OpenError> {
        let target = Target::parse(settings)?;
        migrate::migrate(&target, Goal::Up).await?;
        Ok(Self::over(target))
    }

    /// Connects to a database that has the schema this server knows, and changes nothing there.
    pub async fn inspect(settings: &PostgresSettings) -> Result<Self, OpenError> {
        let target = Target::parse(settings)?;
        migrate::require_current(&target).await?;
        Ok(Self::over(target))
    }

    fn over(target: Target) -> Self {
        Self {
            statements: Statements::of(&target.schema),
            writer: target.writers(),
            general: target.general(),
            readers: target.readers(),
            lists: target.lists(),
            leases: target.leases(),
            hints: target.hints(),
            listener: Arc::default(),
            missed: Arc::default(),
            door: Door::new(target.options()),
            clock: None,
            target: Arc::new(target),
        }
    }

    /// Applies the migrations that are missing.
    pub async fn migrate_up(settings: &PostgresSettings) -> Result<(), OpenError> {
        migrate::migrate(&Target::parse(settings)?, Goal::Up).await
    }

    /// Undoes the migrations after version `to`; 0 undoes all, with all data.
    pub async fn migrate_down(settings: &PostgresSettings, to: i64) -> Result<(), OpenError> {
        migrate::migrate(&Target::parse(settings)?, Goal::Down(to)).await
    }

    /// Every known migration and whether the database has it.
    pub async fn migration_status(
        settings: &PostgresSettings,
    ) -> Result<Vec<MigrationState>, OpenError> {
        migrate::status(&Target::parse(settings)?).await
    }
}

impl Statements {
    fn of(schema: &Schema) -> Self {
        let shared =
            |text: &str| AssertSqlSafe(Arc::<str>::from(schema.sql(text).0)).into_sql_str();
        let append = |with_sides| shared(&appends::statement(0, &[], with_sides).text());
        let start = |extent| shared(&starts::statement(0, &[], extent).text());
        Self {
            append: append(false),
            append_sided: append(true),
            start: start(Extent::Plain),
            start_sided: start(Extent::Sided),
            start_history: start(Extent::History),
            claim: shared(&leases::claim_statement()),
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Arguments;

    use super::*;

    #[test]
    fn long_statements_have_no_hole_and_use_every_parameter() {
        let append = |with_sides| appends::statement(0, &[], with_sides);
        let start = |extent| starts::statement(0, &[], extent);
        let all = [
            append(false),
            append(true),
            start(Extent::Plain),
            start(Extent::Sided),
            start(Extent::History),
        ];
        for statement in all {
            let text = statement.text();
            assert!(!text.contains(['{', '}']), "{text}");
            for place in 1..=statement.arguments().unwrap().len() {
                assert!(text.contains(&format!("${place}::")), "${place} in {text}");
            }
        }
    }
}
