//! `rethread verify`: checks every record of the store, and names what is bad.

use anyhow::bail;

use super::out;
use crate::app;
use crate::config::Settings;

/// Fails if anything is bad.
pub(super) async fn verify(settings: &Settings) -> anyhow::Result<()> {
    if !app::verify(settings, out::line).await? {
        bail!("the store is damaged");
    }
    Ok(())
}
