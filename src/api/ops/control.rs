//! The common parts of the calls that change a thread.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;

use super::invoke::answer;
use crate::api::Api;
use crate::api::auth::Caller;
use crate::api::conditional::if_match;
use crate::api::extract::{FromBody, idempotency_key};
use crate::api::problem::Problem;
use crate::api::query::{NoParams, QueryString};
use crate::contract::{Invoked, ReasonRequest};
use crate::runtime::Control;

/// The caller that changes a thread, and the version that the change is for, which come from
/// outside the body.
pub(in crate::api) struct Change(pub(super) Control);

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

impl FromBody for ReasonRequest {
    const OPTIONAL: bool = true;
}
