//! Checks every record of the store that the settings name, while servers may run on it.

use anyhow::Context as _;

use super::Ambient;
use crate::config::Settings;
use crate::runtime::{self, Finding};

/// Checks the store, passes each line of the outcome to `line`, and returns whether all is well.
pub async fn verify(
    settings: &Settings,
    mut line: impl FnMut(&str) + Send,
) -> anyhow::Result<bool> {
    let ambient = Ambient::start();
    let Some(archive) = super::store::open_archive(settings, &ambient).await? else {
        line("memory holds nothing that could be checked");
        return Ok(true);
    };
    let mut report = |finding: &Finding| line(&finding.to_string());
    let checked = runtime::verify(&*archive, &mut report).await;
    let checked = checked.context("the check could not be finished")?;
    line(&format!(
        "checked {} threads, {} events, {} bytes: {} bad",
        checked.threads, checked.events, checked.bytes, checked.bad
    ));
    Ok(checked.bad == 0)
}
