//! `POST` and `GET /notifications`: makes and lists the subscriptions to events.

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::Api;
use crate::api::auth::Caller;
use crate::api::extract::{Body, FromBody, Within};
use crate::api::problem::Problem;
use crate::api::query::{DEFAULT_LIMIT, FromQuery, NoParams, Params, QueryString};
use crate::contract::{Notification, NotificationList, NotificationRequest};

/// Which page of subscriptions to list.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct NotificationsQuery {
    /// Items per page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 50)]
    limit: usize,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

impl FromQuery for NotificationsQuery {
    fn read(query: &mut Params) -> Self {
        Self { limit: query.limit(DEFAULT_LIMIT), cursor: query.text("cursor") }
    }
}

impl FromBody for NotificationRequest {}

/// Subscribe to events
///
/// Events of these types are sent to the URL as signed webhooks (Standard Webhooks) from now on: at
/// least once, in the order of each thread, again until they are taken with 2xx. A URL that the
/// egress policy does not allow is refused (403 `address_not_allowed`). The answer alone shows the
/// secret.
#[utoipa::path(
    post, path = "/notifications", operation_id = "createNotification", tag = "notifications",
    security(("bearer" = ["admin"])),
    request_body(content = NotificationRequest),
    responses((status = 201, description = "Subscribed", body = Notification,
        headers(("Location" = String, description = "The subscription"))))
)]
pub(in crate::api) async fn create(
    State(api): State<Api>,
    Within(namespace): Within,
    _: QueryString<NoParams>,
    caller: Caller,
    Body(request): Body<NotificationRequest>,
) -> Result<Response, Problem> {
    let made = api.handle.create_notification(&namespace, request, caller.name()).await?;
    let location = HeaderValue::try_from(format!("/notifications/{}", made.id));
    let mut response = (StatusCode::CREATED, JsonAnswer(made)).into_response();
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    // This is the only answer with a secret in it.
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, no_store);
    Ok(response)
}

/// List subscriptions, newest first
///
/// Each with what became of its messages. Whoever is no admin sees the origin of its URL alone.
#[utoipa::path(
    get, path = "/notifications", operation_id = "listNotifications", tag = "notifications",
    security(("bearer" = ["reader"])),
    params(NotificationsQuery),
    responses((status = 200, description = "A page of subscriptions", body = NotificationList))
)]
pub(in crate::api) async fn list(
    State(api): State<Api>,
    caller: Caller,
    QueryString(query): QueryString<NotificationsQuery>,
) -> Result<JsonAnswer<NotificationList>, Problem> {
    let namespace = caller.namespace();
    let page = api.handle.notifications(namespace, query.limit, query.cursor.as_deref()).await;
    let page = page.map_err(|error| Problem::from(error).without_pointers())?;
    Ok(JsonAnswer(page.map(|one| one.shown_to(caller.role()))))
}
