//! The common parts of the calls that change a thread.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use utoipa::ToSchema;

use super::invoke::answer;
use crate::api::Api;
use crate::api::auth::Caller;
use crate::api::conditional::if_match;
use crate::api::extract::{FromBody, idempotency_key};
use crate::api::fields::Fields;
use crate::api::problem::Problem;
use crate::api::query::{NoParams, QueryString};
use crate::runtime::{Control, Invoked};

/// The longest `reason`, in bytes: it is kept in the journal for ever.
const MAX_REASON: usize = 2_048;

/// The caller that changes a thread, and the version that the change is for, which come from
/// outside the body.
pub(in crate::api) struct Change(Control);

impl Change {
    /// Adds the reason.
    pub(super) fn because(self, reason: Option<String>) -> Control {
        Control { reason, ..self.0 }
    }
}

impl FromRequestParts<Api> for Change {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        QueryString::<NoParams>::from_request_parts(parts, api).await?;
        let caller = Caller::from_request_parts(parts, api).await?;
        Ok(Self(Control {
            by: caller.name(),
            on_behalf_of: None,
            role: caller.role(),
            reason: None,
            if_match: if_match(&parts.headers)?,
            idempotency_key: idempotency_key(&parts.headers)?,
        }))
    }
}

/// Makes the answer to a call that has changed a thread.
pub(super) fn changed(invoked: &Invoked, status: StatusCode) -> Response {
    let mut response = answer(invoked);
    *response.status_mut() = status;
    response
}

/// Why a thread is changed, where there is nothing more to say.
#[derive(Debug, ToSchema)]
#[schema(as = ReasonRequest)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct ReasonBody {
    /// Recorded in the journal.
    #[schema(max_length = 2048)]
    pub(super) reason: Option<String>,
}

impl FromBody for ReasonBody {
    const MEMBERS: &'static [&'static str] = &["reason"];
    const OPTIONAL: bool = true;

    fn read(fields: &mut Fields<'_>) -> Self {
        Self { reason: reason(fields) }
    }
}

/// Takes the member `reason` of a body.
pub(super) fn reason(fields: &mut Fields<'_>) -> Option<String> {
    let reason = fields.string("reason")?;
    if reason.len() > MAX_REASON {
        fields.fault("reason", format!("is longer than {MAX_REASON} bytes"));
        return None;
    }
    Some(reason)
}
