//! Reads the settings of the issuer whose bearer tokens are accepted beside API keys.

use super::reader::{Faulty, Reader};
use crate::identity;
use crate::model::Role;

/// The allowed issuers, for the message that refuses another text.
const ISSUER: &str = "an https URL such as https://id.example.com/realms/team, as the issuer writes itself; http on \
     loopback hosts alone";
/// The allowed names of a claim.
const CLAIM: &str = "a claim's name, a path such as realm_access.roles, or a JSON pointer";

/// The issuer whose tokens are accepted, and the way to read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcSettings {
    /// The issuer, exactly as its tokens name it.
    pub issuer: String,
    /// The audience that tokens must name.
    pub audience: String,
    /// The claim that names roles.
    pub role_claim: String,
    /// The role of a token that names none of our roles.
    pub default_role: Option<Role>,
    /// The claim that names the namespace.
    pub namespace_claim: String,
}

/// Reads all settings before it gives up on any, so that all faults are named.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<Option<OidcSettings>, Faulty> {
    let issuer = reader.read_optional("oidc_issuer", ISSUER, |text| {
        let text = text.trim();
        identity::endpoint(text).map(|_| text.to_owned())
    });
    let audience = reader.read_optional("oidc_audience", "the name of this server", named);
    let role_claim = reader.read("oidc_role_claim", CLAIM, named);
    let default_role =
        reader.read_optional("oidc_default_role", "reader, invoker, operator, admin", |text| {
            Role::parse(text).ok_or_else(|| "not a role".to_owned())
        });
    let namespace_claim = reader.read("oidc_namespace_claim", CLAIM, named);
    let (issuer, audience, default_role) = (issuer?, audience?, default_role?);
    let (role_claim, namespace_claim) = (role_claim.ok_or(Faulty)?, namespace_claim.ok_or(Faulty)?);
    match (issuer, audience) {
        (Some(issuer), Some(audience)) => {
            Ok(Some(OidcSettings { issuer, audience, role_claim, default_role, namespace_claim }))
        }
        (None, None) => Ok(None),
        (Some(_), None) => {
            reader.faults.push(
                "RETHREAD_OIDC_AUDIENCE is not set, but RETHREAD_OIDC_ISSUER is: without it tokens for \
                 other programs of the issuer would be taken; set it to the name that tokens for this \
                 server have in aud"
                    .to_owned(),
            );
            Err(Faulty)
        }
        (None, Some(_)) => {
            reader.faults.push(
                "RETHREAD_OIDC_AUDIENCE is set, but RETHREAD_OIDC_ISSUER is not: no tokens would be taken"
                    .to_owned(),
            );
            Err(Faulty)
        }
    }
}

fn named(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() { Err("nothing is named".to_owned()) } else { Ok(text.to_owned()) }
}
