//! Reads whose bearer tokens are taken beside API keys.

use super::reader::{Faulty, Reader};
use crate::identity;
use crate::model::Role;

/// What is allowed as an issuer, for the message about what is not.
const ISSUER: &str = "an https URL such as https://id.example.com/realms/team, as the issuer writes itself; http on \
     loopback hosts alone";
/// What is allowed as the name of a claim.
const CLAIM: &str = "a claim's name, a path such as realm_access.roles, or a JSON pointer";

/// Whose tokens are taken, and how they are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcSettings {
    /// The issuer, exactly as its tokens name it.
    pub issuer: String,
    /// What tokens must be for.
    pub audience: String,
    /// The claim that names roles.
    pub role_claim: String,
    /// The role of a token that names none of ours.
    pub default_role: Option<Role>,
    /// The claim that names the namespace.
    pub namespace_claim: String,
}

/// Reads everything before it gives up on anything.
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
