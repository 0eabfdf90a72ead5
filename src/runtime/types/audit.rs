//! Plain data about the audit list.

use crate::model::Role;

/// An action to be recorded in the audit list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// The namespace whose admins see the entry.
    pub namespace: String,
    /// The actor: a key's name, or `anonymous`.
    pub by: String,
    /// The role of the key, if there was one.
    pub role: Option<Role>,
    /// The action, in a word.
    pub action: String,
    /// The object of the action: the method and the path, or for a refusal the route's pattern,
    /// since paths come in any number.
    pub about: String,
    /// The HTTP status of the answer.
    pub status: Option<u16>,
    /// Further details.
    pub detail: Option<String>,
    /// The address that the request came from.
    pub address: Option<String>,
}
