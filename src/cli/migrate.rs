//! `rethread migrate`: moves the schema forward or back, or shows where it stands.

use super::args::Action;
use super::out;
use crate::app::{self, Migration};
use crate::config::{ConfigError, Settings};

/// Runs the migration and shows where the schema stands.
pub(super) async fn migrate(
    settings: &Settings,
    action: Action,
    to: Option<i64>,
) -> anyhow::Result<()> {
    for line in app::migrate(settings, migration(action, to)?).await? {
        out::line(&line);
    }
    Ok(())
}

fn migration(action: Action, to: Option<i64>) -> Result<Migration, ConfigError> {
    match (action, to) {
        (Action::Up, None) => Ok(Migration::Up),
        (Action::Status, None) => Ok(Migration::Status),
        (Action::Down, Some(to)) if to >= 0 => Ok(Migration::Down(to)),
        (Action::Down, _) => {
            Err(ConfigError::one("--to: allowed: 0, or the number of a migration".to_owned()))
        }
        (Action::Up | Action::Status, Some(_)) => {
            Err(ConfigError::one("--to goes with `migrate down` only".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goal_belongs_to_going_back() {
        assert_eq!(migration(Action::Down, Some(0)).unwrap(), Migration::Down(0));
        assert!(migration(Action::Down, Some(-1)).is_err());
        assert!(migration(Action::Up, Some(1)).is_err());
    }
}
