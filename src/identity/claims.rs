//! Converts a token's claims into a caller: a name, a role, a namespace, and an end.

use std::time::Duration;

use serde_json::{Map, Value};

use super::refusal::Refusal;
use crate::model::{Namespace, Role, Timestamp};

/// The prefix of the subject in a caller's name. The name of an API key has no colon in it, so that
/// no token is taken for a key, and no key for a token.
pub const NAME_PREFIX: &str = "oidc:";
/// The largest number of characters of a subject. They are ASCII (OpenID Connect Core 1.0, section
/// 2), so that no two subjects that look alike are two callers.
const MAX_SUBJECT: usize = 255;

/// The claims of a token with a valid signature.
pub(super) type Claims = Map<String, Value>;

/// The claims of a token that give its bearer's role and namespace.
#[derive(Debug, Clone)]
pub struct ClaimNames {
    /// The claim that names roles.
    pub role: String,
    /// The role of a token that names none of this server's roles.
    pub default_role: Option<Role>,
    /// The claim that names the namespace.
    pub namespace: String,
}

/// The caller that a token names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// [`NAME_PREFIX`] and the subject.
    pub name: String,
    /// The highest role that the token names; a caller without one may do nothing.
    pub role: Option<Role>,
    /// The namespace whose threads the caller sees.
    pub namespace: Namespace,
    /// The time from which the token is not accepted any more.
    pub expires: Timestamp,
}

impl ClaimNames {
    /// Reads the caller out of the claims. A clock may be `leeway` behind.
    pub(super) fn read(&self, claims: &Claims, leeway: Duration) -> Result<Claimed, Refusal> {
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        if subject.is_empty()
            || subject.len() > MAX_SUBJECT
            || !subject.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
        {
            return Err(Refusal::invalid("the token's sub is no name"));
        }
        let expires = claims.get("exp").and_then(seconds);
        let expires = expires.ok_or_else(|| Refusal::invalid("the token's exp is no time"))?;
        Ok(Claimed {
            name: format!("{NAME_PREFIX}{subject}"),
            role: at(claims, &self.role).and_then(highest).or(self.default_role),
            namespace: self.namespace(claims)?,
            expires: Timestamp::from_millis(expires.saturating_mul(1000)).plus(leeway),
        })
    }

    /// Reads the namespace. A claim that is present and not a namespace is never taken for
    /// `default`.
    fn namespace(&self, claims: &Claims) -> Result<Namespace, Refusal> {
        let Some(value) = at(claims, &self.namespace) else { return Ok(Namespace::default()) };
        value.as_str().and_then(Namespace::parse).ok_or_else(|| {
            Refusal::invalid(format!("the token's claim {} is no namespace", self.namespace))
        })
    }
}

/// Returns the claim of this name; if there is none, the value that a JSON pointer
/// (`/realm_access/roles`) or a path with dots (`realm_access.roles`) leads to. The whole name
/// comes first, since names may be URLs.
fn at<'a>(claims: &'a Claims, name: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let parts: Vec<String> = match name.strip_prefix('/') {
        Some(pointer) => pointer.split('/').map(unescaped).collect(),
        None => name.split('.').map(str::to_owned).collect(),
    };
    let (first, rest) = parts.split_first()?;
    rest.iter().try_fold(claims.get(first)?, |value, part| value.get(part))
}

/// Decodes a part of a JSON pointer (RFC 6901, section 4).
fn unescaped(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

/// Returns the highest role that a text or a list names; other names belong to other programs.
fn highest(value: &Value) -> Option<Role> {
    match value {
        Value::String(name) => Role::parse(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).filter_map(Role::parse).max(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

/// Returns the whole seconds of a time, which may have a fraction (RFC 7519, section 2).
fn seconds(value: &Value) -> Option<i64> {
    let Value::Number(number) = value else { return None };
    number.to_string().split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LEEWAY: Duration = Duration::from_secs(30);

    fn read_at(role: &str, namespace: &str, claims: &Value) -> Result<Claimed, Refusal> {
        let names = ClaimNames {
            role: role.to_owned(),
            default_role: None,
            namespace: namespace.to_owned(),
        };
        let mut all = json!({ "sub": "ann", "exp": 1000 });
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        names.read(all.as_object().unwrap(), LEEWAY)
    }

    fn role(name: &str, claims: &Value) -> Option<Role> {
        read_at(name, "ns", claims).unwrap().role
    }

    #[test]
    fn a_caller_has_the_prefixed_subject_as_its_name_and_ends_with_the_token() {
        let claimed = read_at("role", "ns", &json!({ "role": "invoker", "ns": "team" })).unwrap();
        assert_eq!(
            claimed,
            Claimed {
                name: "oidc:ann".to_owned(),
                role: Some(Role::Invoker),
                namespace: Namespace::parse("team").unwrap(),
                expires: Timestamp::from_millis(1_030_000),
            }
        );
        let half = read_at("role", "ns", &json!({ "exp": 1000.5 })).unwrap();
        assert_eq!(half.expires, claimed.expires);
        for bad in [
            json!({ "sub": "" }),
            json!({ "sub": 1 }),
            json!({ "sub": "a\nb" }),
            json!({ "sub": "\u{430}nn" }),
            json!({ "sub": "a".repeat(256) }),
            json!({ "exp": "1000" }),
        ] {
            assert!(read_at("role", "ns", &bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_highest_role_that_is_named_counts() {
        let list = json!({ "role": ["uma", "reader", "operator", 7, "invoker"] });
        assert_eq!(role("role", &list), Some(Role::Operator));
        assert_eq!(role("role", &json!({ "role": "admin" })), Some(Role::Admin));
        for none in [
            json!({}),
            json!({ "role": "Admin" }),
            json!({ "role": "admin reader" }),
            json!({ "role": [] }),
            json!({ "role": [["admin"]] }),
            json!({ "role": { "admin": true } }),
            json!({ "role": true }),
        ] {
            assert_eq!(role("role", &none), None, "{none}");
        }
    }

    #[test]
    fn claims_are_found_by_name_by_dots_and_by_pointer() {
        let nested = json!({ "realm_access": { "roles": ["reader"] } });
        assert_eq!(role("realm_access.roles", &nested), Some(Role::Reader));
        assert_eq!(role("/realm_access/roles", &nested), Some(Role::Reader));
        assert_eq!(role("realm_access.other", &nested), None);
        assert_eq!(role("/role", &json!({ "role": "reader" })), Some(Role::Reader));
        let url = json!({ "https://rethread.example.com/role": "reader" });
        assert_eq!(role("https://rethread.example.com/role", &url), Some(Role::Reader));
        let deep = json!({ "resource_access": { "rethread": { "roles": ["invoker"] } } });
        assert_eq!(role("resource_access.rethread.roles", &deep), Some(Role::Invoker));
    }

    #[test]
    fn only_an_absent_namespace_is_the_default_one() {
        let space = |claims: &Value| read_at("role", "a.ns", claims).map(|read| read.namespace);
        assert_eq!(space(&json!({})), Ok(Namespace::default()));
        let team = Namespace::parse("team").unwrap();
        assert_eq!(space(&json!({ "a": { "ns": "team" } })), Ok(team));
        for bad in [json!("Team"), json!(""), json!(null), json!(["team"]), json!(1)] {
            assert!(space(&json!({ "a": { "ns": bad } })).is_err(), "{bad}");
        }
    }
}
