//! The issuer whose tokens are accepted beside API keys, made from the settings.

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::Context as _;

use crate::config::Settings;
use crate::identity::{ClaimNames, Issuer, IssuerSettings};
use crate::model::Clock;

/// Makes the issuer that the settings name, if they name one. It has not been asked for anything
/// yet.
pub(super) fn issuer(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Option<Arc<Issuer>>> {
    let Some(oidc) = &settings.oidc else { return Ok(None) };
    let settings = IssuerSettings {
        issuer: oidc.issuer.clone(),
        audience: oidc.audience.clone(),
        claims: ClaimNames {
            role: oidc.role_claim.clone(),
            default_role: oidc.default_role,
            namespace: oidc.namespace_claim.clone(),
        },
    };
    let issuer = Issuer::new(settings, Arc::clone(clock));
    Ok(Some(Arc::new(issuer.context("the client of the issuer can't be made")?)))
}

/// Keeps the issuer's keys new for as long as the server serves; never ends.
pub(super) async fn keep_new(issuer: Option<Arc<Issuer>>) -> Infallible {
    match issuer {
        Some(issuer) => issuer.run().await,
        None => std::future::pending().await,
    }
}
