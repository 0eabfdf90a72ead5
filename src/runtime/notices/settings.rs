//! The settings of a subscription: how they are stored, checked and shown.

use serde::{Deserialize, Serialize};
use url::Url;

use super::signature::read_secret;
use crate::model::{EventType, Fault, Faults, Json, Pointer, Timestamp};
use crate::runtime::types::{Notification, NotificationChange};
use crate::store::{NoticeCount, NotificationRow};

/// The longest name, in bytes.
const MAX_NAME: usize = 200;
/// The longest URL, in bytes: as much as common servers accept.
const MAX_URL: usize = 2_048;
/// The longest workflow name of a filter, in bytes.
const MAX_WORKFLOW: usize = 512;

/// The data stored beside the columns of a subscription's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Settings {
    pub(super) name: Option<String>,
    pub(super) url: String,
    pub(super) types: Vec<String>,
    pub(super) workflow: Option<String>,
    pub(super) by: String,
    pub(super) updated_by: String,
    pub(super) updated_at: Timestamp,
    pub(super) disabled_reason: Option<String>,
}

/// Reads the settings of a row; `None` if they are unreadable.
pub(super) fn read(row: &NotificationRow) -> Option<Settings> {
    row.body.decode().ok()
}

/// Encodes the settings for the store.
pub(super) fn write(settings: &Settings) -> Json {
    // Plain members of strings and times, so this cannot fail.
    Json::of(settings).unwrap_or_else(|_| Json::null())
}

impl NotificationChange {
    /// Returns all faults that can be found without I/O.
    pub fn faults(&self) -> Vec<Fault> {
        let (mut faults, root) = (Faults::default(), Pointer::root());
        for (member, text, most) in
            [("name", &self.name, MAX_NAME), ("workflow", &self.workflow, MAX_WORKFLOW)]
        {
            if text.as_ref().is_some_and(|text| text.len() > most) {
                faults.add(&root.key(member), format!("is longer than {most} bytes"));
            }
        }
        if let Some(Err(detail)) = self.url.as_deref().map(check_url) {
            faults.add(&root.key("url"), detail);
        }
        if let Some(types) = &self.types {
            check_types(types, &mut faults);
        }
        if let Some(Err(detail)) = self.secret.as_ref().map(read_secret) {
            faults.add(&root.key("secret"), detail);
        }
        faults.into_vec()
    }
}

fn check_types(types: &[String], faults: &mut Faults) {
    let at = Pointer::root().key("types");
    if types.is_empty() {
        faults.add(&at, "must name at least one type of event");
    }
    for (index, kind) in types.iter().enumerate() {
        if faults.is_full() {
            break;
        }
        if EventType::find(kind).is_none() {
            let known = EventType::ALL.iter().map(|one| one.name);
            let known = known.collect::<Vec<_>>().join(", ");
            faults.add(&at.index(index), format!("is no type of event; known are {known}"));
        }
    }
}

/// Checks a URL; one with credentials is refused, because lists show it.
fn check_url(text: &str) -> Result<Url, String> {
    if text.len() > MAX_URL {
        return Err(format!("is longer than {MAX_URL} bytes"));
    }
    let url = Url::parse(text).map_err(|fault| format!("is no URL: {fault}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err("must be an http or https URL".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or password: messages are signed".to_owned());
    }
    Ok(url)
}

/// Applies a change to settings; an empty text clears its member.
pub(super) fn apply(settings: &mut Settings, change: &NotificationChange) {
    let text = |new: &Option<String>, old: &mut Option<String>| {
        if let Some(text) = new {
            *old = Some(text.clone()).filter(|text| !text.is_empty());
        }
    };
    text(&change.name, &mut settings.name);
    text(&change.workflow, &mut settings.workflow);
    if let Some(url) = &change.url {
        settings.url.clone_from(url);
    }
    if let Some(types) = &change.types {
        settings.types.clone_from(types);
        settings.types.sort();
        settings.types.dedup();
    }
    match change.enabled {
        Some(true) => settings.disabled_reason = None,
        Some(false) => settings.disabled_reason = Some("a client disabled it".to_owned()),
        None => {}
    }
}

/// Converts a row for clients.
pub(super) fn show(row: NotificationRow, counts: &[NoticeCount]) -> Option<Notification> {
    let settings = read(&row)?;
    let count = counts.iter().find(|count| count.subscription == row.id);
    Some(Notification {
        id: row.id,
        name: settings.name,
        url: settings.url,
        types: settings.types,
        workflow: settings.workflow,
        enabled: row.enabled,
        disabled_reason: settings.disabled_reason,
        by: settings.by,
        updated_by: settings.updated_by,
        created_at: row.created_at,
        updated_at: settings.updated_at,
        pending: count.map_or(0, |count| count.pending),
        failing: count.map_or(0, |count| count.failing),
        pending_since: count.and_then(|count| count.since),
        last_success_at: row.last_success_at,
        last_failure_at: row.last_failure_at,
        last_error: row.last_error,
        given_up: row.given_up,
        secret: None,
    })
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    #[test]
    fn every_fault_of_a_subscription_is_named_with_its_place() {
        let change = NotificationChange {
            name: Some("x".repeat(201)),
            url: Some("ftp://host/".to_owned()),
            types: Some(vec!["workflow_failed".to_owned(), "workflow_filed".to_owned()]),
            secret: Some(SecretString::from("short")),
            ..NotificationChange::default()
        };
        let pointers: Vec<String> =
            change.faults().into_iter().map(|fault| fault.pointer).collect();
        assert_eq!(pointers, ["/name", "/url", "/types/1", "/secret"]);
        assert!(NotificationChange::default().faults().is_empty());
    }

    #[test]
    fn urls_that_cannot_be_posted_to_are_refused() {
        for bad in ["", "host", "/path", "file:///etc/passwd", "http://", "http://u:p@host/"] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
        assert!(check_url("https://hooks.example.org/x?y=z").is_ok());
    }
}
