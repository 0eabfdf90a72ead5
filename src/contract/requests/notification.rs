//! The settings of a subscription to events, as a client gives them.

use std::borrow::Cow;

use url::Url;

use super::read::{request, string};
use crate::contract::{Fields, SigningSecret};
use crate::model::{EventType, Faults};

/// The longest name, in bytes.
const MAX_NAME: usize = 200;
/// The longest URL, in bytes: as much as common servers accept.
const MAX_URL: usize = 2_048;
/// The longest workflow name of a filter, in bytes.
const MAX_WORKFLOW: usize = 512;

request! {
    /// A new subscription.
    pub struct NotificationRequest {
        /// What people call it.
        #[schema(max_length = 200)]
        name: Option<String> = name,
        /// Where messages go: `http` or `https`, without a user or password. The egress policy has to
        /// allow it.
        #[schema(format = "uri", max_length = 2048, value_type = String, required)]
        url: Option<String> = needed_url,
        /// The types of events that are sent.
        #[schema(min_items = 1, example = json!(["intervention_opened", "workflow_failed"]), value_type = Vec<String>, required)]
        types: Option<Vec<String>> = needed_types,
        /// Only of threads of this workflow; all if absent.
        #[schema(max_length = 512)]
        workflow: Option<String> = workflow,
        /// What messages are signed with: `whsec_` and the base64 of 24 to 64 random bytes. Made by the
        /// server if absent. Shown in this answer alone.
        #[schema(write_only, value_type = Option<String>)]
        secret: Option<SigningSecret> = secret,
        /// Whether anything is sent [true].
        enabled: Option<bool> = Fields::flag,
    }
}

request! {
    /// What changes of a subscription; what is left out stays as it is.
    #[derive(Default)]
    pub struct NotificationPatch {
        /// What people call it; `null` clears it.
        #[schema(max_length = 200)]
        name: Option<String> = name,
        /// Where messages go.
        #[schema(format = "uri", max_length = 2048)]
        url: Option<String> = url,
        /// The types of events that are sent.
        #[schema(min_items = 1)]
        types: Option<Vec<String>> = types,
        /// Only of threads of this workflow; `null` is all.
        #[schema(max_length = 512)]
        workflow: Option<String> = workflow,
        /// What messages are signed with from now on.
        #[schema(write_only, value_type = Option<String>)]
        secret: Option<SigningSecret> = secret,
        /// `true` sends what has waited as well.
        enabled: Option<bool> = Fields::flag,
    }
}

impl From<NotificationRequest> for NotificationPatch {
    /// The change that makes an empty subscription the new one.
    fn from(request: NotificationRequest) -> Self {
        let NotificationRequest { name, url, types, workflow, secret, enabled } = request;
        Self { name, url, types, workflow, secret, enabled }
    }
}

/// A text of so many bytes; `null` is the empty one, which clears.
fn clearable(
    fields: &Fields<'_>,
    (name, most): (&str, usize),
    faults: &mut Faults,
) -> Option<String> {
    let given = fields.exact(name)?;
    let text = if given.is_null() { Some("".into()) } else { given.text() };
    match &text {
        None => {
            let detail = format!("{name} is a string or null, not {}", given.type_name());
            fields.fault(name, detail, faults);
        }
        Some(text) if text.len() > most => {
            fields.fault(name, format!("is longer than {most} bytes"), faults);
        }
        Some(_) => {}
    }
    text.map(Cow::into_owned)
}

fn name(fields: &Fields<'_>, name: &str, faults: &mut Faults) -> Option<String> {
    clearable(fields, (name, MAX_NAME), faults)
}

fn workflow(fields: &Fields<'_>, name: &str, faults: &mut Faults) -> Option<String> {
    clearable(fields, (name, MAX_WORKFLOW), faults)
}

fn secret(fields: &Fields<'_>, name: &str, faults: &mut Faults) -> Option<SigningSecret> {
    let secret = SigningSecret::parse(&fields.text(name, faults)?);
    secret.map_err(|detail| fields.fault(name, detail, faults)).ok()
}

fn url(fields: &Fields<'_>, name: &str, faults: &mut Faults) -> Option<String> {
    let url = string(fields, name, faults)?;
    if let Err(detail) = check_url(&url) {
        fields.fault(name, detail, faults);
    }
    Some(url)
}

/// Checks a URL; one with credentials is refused, because lists show it.
fn check_url(text: &str) -> Result<(), String> {
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
    Ok(())
}

fn types(fields: &Fields<'_>, name: &str, faults: &mut Faults) -> Option<Vec<String>> {
    let Some(types) = fields.get(name)?.texts() else {
        fields.fault(name, "types is a list of types of events", faults);
        return None;
    };
    if types.is_empty() {
        fields.fault(name, "must name at least one type of event", faults);
    }
    let at = fields.at().key(name);
    for (index, kind) in types.iter().enumerate() {
        if faults.is_full() {
            break;
        }
        if EventType::find(kind).is_none() {
            let known = EventType::ALL.iter().map(|one| one.name).collect::<Vec<_>>().join(", ");
            faults.add(&at.index(index), format!("is no type of event; known are {known}"));
        }
    }
    Some(types)
}

fn needed_url(fields: &Fields<'_>, name: &str, faults: &mut Faults) -> Option<String> {
    if fields.get(name).is_none() {
        fields.fault(name, "is required", faults);
    }
    url(fields, name, faults)
}

fn needed_types(fields: &Fields<'_>, name: &str, faults: &mut Faults) -> Option<Vec<String>> {
    if fields.get(name).is_none() {
        fields.fault(name, "is required: a list of types of events", faults);
    }
    types(fields, name, faults)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::testing::read;

    #[test]
    fn every_fault_of_a_subscription_is_named_with_its_place() {
        let body = serde_json::json!({
            "secret": "short", "types": ["workflow_failed", "workflow_filed"],
            "url": "ftp://host/", "name": "x".repeat(201), "enabled": 1,
        });
        let faults = read::<NotificationPatch>(&body.to_string()).unwrap_err();
        let pointers: Vec<String> = faults.into_iter().map(|fault| fault.pointer).collect();
        assert_eq!(pointers, ["/name", "/url", "/types/1", "/secret", "/enabled"]);
        assert!(read::<NotificationPatch>("{}").is_ok());
    }

    #[test]
    fn a_new_subscription_needs_a_url_and_types() {
        let faults = read::<NotificationRequest>(r#"{"url":null}"#).unwrap_err();
        let pointers: Vec<String> = faults.into_iter().map(|fault| fault.pointer).collect();
        assert_eq!(pointers, ["/url", "/types"]);
    }

    #[test]
    fn null_clears_a_name_and_leaves_the_rest_alone() {
        let patch: NotificationPatch = read(r#"{"name":null,"url":null,"types":null}"#).unwrap();
        assert_eq!((patch.name.as_deref(), patch.url, patch.types), (Some(""), None, None));
    }

    #[test]
    fn urls_that_cannot_be_posted_to_are_refused() {
        for bad in ["", "host", "/path", "file:///etc/passwd", "http://", "http://u:p@host/"] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
        assert!(check_url("https://hooks.example.org/x?y=z").is_ok());
    }
}
