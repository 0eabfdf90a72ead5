//! `rethread health`: asks a server whether it is alive, for container health checks.

use anyhow::{Context as _, bail};

use super::client::{Api, local_url};
use super::out;
use crate::config::{Values, read_address};

/// Fails unless `GET /health/live` is answered with 2xx.
pub(super) async fn check(url: Option<&str>, values: &Values) -> anyhow::Result<()> {
    let base = match url {
        Some(url) => url.to_owned(),
        None => local_url(&read_address(values)?),
    };
    let api = Api::new(&base, None)?;
    if !api.is_fine("/health/live").await.with_context(|| format!("{base} does not answer"))? {
        bail!("{base} is not alive");
    }
    out::line(&format!("{base} is alive"));
    Ok(())
}
