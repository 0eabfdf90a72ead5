//! `rethread migrate`: the schema forward, back, or as it is.

use super::args::Migration;
use super::out;
use crate::app;
use crate::config::Settings;

/// Does it and shows where the schema stands.
pub(super) async fn migrate(settings: &Settings, action: Option<Migration>) -> anyhow::Result<()> {
    let migration = match action {
        None | Some(Migration::Up) => app::Migration::Up,
        Some(Migration::Down { to }) => app::Migration::Down(to),
        Some(Migration::Status) => app::Migration::Status,
    };
    for line in app::migrate(settings, migration).await? {
        out::line(&line);
    }
    Ok(())
}
