//! The bodies of the calls that make and change subscriptions.

use secrecy::SecretString;
use utoipa::ToSchema;

use crate::api::Api;
use crate::api::extract::FromBody;
use crate::api::fields::Fields;
use crate::model::{Fault, Namespace};
use crate::runtime::NotificationChange;

const MEMBERS: &[&str] = &["name", "url", "types", "workflow", "secret", "enabled"];

/// A new subscription.
#[derive(ToSchema)]
#[schema(as = NotificationRequest)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the document's view of a body that is read member by member")]
pub(in crate::api) struct NewNotification {
    /// What people call it.
    #[schema(max_length = 200)]
    name: Option<String>,
    /// Where messages go: `http` or `https`, without a user or password. The egress policy has to
    /// allow it.
    #[schema(format = "uri", max_length = 2048)]
    url: String,
    /// The types of events that are sent.
    #[schema(min_items = 1, example = json!(["intervention_opened", "workflow_failed"]))]
    types: Vec<String>,
    /// Only of threads of this workflow; all if absent.
    #[schema(max_length = 512)]
    workflow: Option<String>,
    /// What messages are signed with: `whsec_` and the base64 of 24 to 64 random bytes. Made by the
    /// server if absent. Shown in this answer alone.
    #[schema(write_only)]
    secret: Option<String>,
    /// Whether anything is sent [true].
    enabled: Option<bool>,
}

/// What changes of a subscription; what is left out stays as it is.
#[derive(ToSchema)]
#[schema(as = NotificationPatch)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the document's view of a body that is read member by member")]
pub(in crate::api) struct PatchedNotification {
    /// What people call it; `null` clears it.
    #[schema(max_length = 200)]
    name: Option<String>,
    /// Where messages go.
    #[schema(format = "uri", max_length = 2048)]
    url: Option<String>,
    /// The types of events that are sent.
    #[schema(min_items = 1)]
    types: Option<Vec<String>>,
    /// Only of threads of this workflow; `null` is all.
    #[schema(max_length = 512)]
    workflow: Option<String>,
    /// What messages are signed with from now on.
    #[schema(write_only)]
    secret: Option<String>,
    /// `true` sends what has waited as well.
    enabled: Option<bool>,
}

/// The body of a call that makes a subscription.
pub(in crate::api) struct NewBody(pub(super) NotificationChange);

/// The body of a call that changes a subscription.
pub(in crate::api) struct PatchBody(pub(super) NotificationChange);

impl FromBody for NewBody {
    const MEMBERS: &'static [&'static str] = MEMBERS;

    fn read(fields: &mut Fields<'_>) -> Self {
        let change = change(fields);
        if change.url.is_none() {
            fields.fault("url", "is required");
        }
        if change.types.is_none() {
            fields.fault("types", "is required: a list of types of events");
        }
        Self(change)
    }

    async fn faults_within(&self, _: &Api, _: &Namespace) -> Vec<Fault> {
        self.0.faults()
    }
}

impl FromBody for PatchBody {
    const MEMBERS: &'static [&'static str] = MEMBERS;

    fn read(fields: &mut Fields<'_>) -> Self {
        Self(change(fields))
    }

    async fn faults_within(&self, _: &Api, _: &Namespace) -> Vec<Fault> {
        self.0.faults()
    }
}

fn change(fields: &mut Fields<'_>) -> NotificationChange {
    NotificationChange {
        name: clearable(fields, "name"),
        url: fields.string("url"),
        types: types(fields),
        workflow: clearable(fields, "workflow"),
        secret: fields.string("secret").map(SecretString::from),
        enabled: fields.boolean("enabled"),
    }
}

/// Takes a text; `null` is the empty one, which clears.
fn clearable(fields: &mut Fields<'_>, name: &str) -> Option<String> {
    let value = fields.json(name)?;
    if value.is_null() {
        return Some(String::new());
    }
    let text = value.decode::<String>().ok();
    if text.is_none() {
        fields.fault(name, "must be a string or null");
    }
    text
}

fn types(fields: &mut Fields<'_>) -> Option<Vec<String>> {
    let list = fields.value("types")?;
    let types = list.decode::<Vec<String>>().ok();
    if types.is_none() {
        fields.fault("types", "must be a list of types of events");
    }
    types
}
