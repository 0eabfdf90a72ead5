//! The settings of a subscription: how they are stored, checked and shown.

use serde::{Deserialize, Serialize};

use crate::contract::{Notification, NotificationPatch};
use crate::model::{Json, Timestamp};
use crate::store::{NoticeCount, NotificationRow};

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

/// Applies a change to settings; an empty text clears its member.
pub(super) fn apply(settings: &mut Settings, change: &NotificationPatch) {
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
