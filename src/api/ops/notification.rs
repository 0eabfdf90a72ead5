//! `GET`, `PATCH` and `DELETE /notifications/{notificationId}`, and a test of it.

use axum::Json as JsonAnswer;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;

use crate::api::Api;
use crate::api::auth::Caller;
use crate::api::extract::{Body, FromBody, Within, path_parameter};
use crate::api::problem::Problem;
use crate::api::query::{NoParams, QueryString};
use crate::contract::{Notification, NotificationPatch, NotificationTest};

/// The subscription that the path names.
pub(in crate::api) struct NotificationPath(String);

impl FromRequestParts<Api> for NotificationPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        path_parameter(parts, "notificationId").await.map(Self)
    }
}

/// Read a subscription
///
/// Includes pending and failed messages with their errors. Never includes the secret. Callers below
/// `admin` see only the origin of the URL.
#[utoipa::path(
    get, path = "/notifications/{notificationId}", operation_id = "getNotification", tag = "notifications",
    security(("bearer" = ["reader"])),
    params(("notificationId" = String, Path, description = "The subscription")),
    responses((status = 200, description = "The subscription", body = Notification))
)]
pub(in crate::api) async fn get(
    State(api): State<Api>,
    Within(namespace): Within,
    NotificationPath(id): NotificationPath,
    _: QueryString<NoParams>,
    caller: Caller,
) -> Result<JsonAnswer<Notification>, Problem> {
    let found = api.handle.notification((&namespace, &id)).await?;
    Ok(JsonAnswer(found.shown_to(caller.role())))
}

impl FromBody for NotificationPatch {}

/// Change a subscription
///
/// Omitted members keep their values. A disabled subscription collects no events. Messages that were
/// pending before are sent once it is enabled again, if that is within three days.
#[utoipa::path(
    patch, path = "/notifications/{notificationId}", operation_id = "changeNotification", tag = "notifications",
    security(("bearer" = ["admin"])),
    params(("notificationId" = String, Path, description = "The subscription")),
    request_body(content = NotificationPatch),
    responses((status = 200, description = "The subscription as it is now", body = Notification))
)]
pub(in crate::api) async fn change(
    State(api): State<Api>,
    NotificationPath(id): NotificationPath,
    _: QueryString<NoParams>,
    caller: Caller,
    Body(patch): Body<NotificationPatch>,
) -> Result<JsonAnswer<Notification>, Problem> {
    let id = (caller.namespace(), id.as_str());
    Ok(JsonAnswer(api.handle.change_notification(id, patch, &caller.name()).await?))
}

/// Delete a subscription
///
/// Its pending messages are deleted with it.
#[utoipa::path(
    delete, path = "/notifications/{notificationId}", operation_id = "deleteNotification", tag = "notifications",
    security(("bearer" = ["admin"])),
    params(("notificationId" = String, Path, description = "The subscription")),
    responses((status = 204, description = "Deleted"))
)]
pub(in crate::api) async fn delete(
    State(api): State<Api>,
    Within(namespace): Within,
    NotificationPath(id): NotificationPath,
    _: QueryString<NoParams>,
) -> Result<StatusCode, Problem> {
    api.handle.delete_notification((&namespace, &id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Send a test message
///
/// Sends one signed message of the type `notification_test`, even to a disabled subscription.
#[utoipa::path(
    post, path = "/notifications/{notificationId}/test", operation_id = "testNotification", tag = "notifications",
    security(("bearer" = ["admin"])),
    params(("notificationId" = String, Path, description = "The subscription")),
    responses((status = 200, description = "The result of the delivery", body = NotificationTest))
)]
pub(in crate::api) async fn test(
    State(api): State<Api>,
    Within(namespace): Within,
    NotificationPath(id): NotificationPath,
    _: QueryString<NoParams>,
    caller: Caller,
) -> Result<JsonAnswer<NotificationTest>, Problem> {
    let id = (&namespace, id.as_str());
    Ok(JsonAnswer(api.handle.test_notification(id, &caller.name()).await?))
}
