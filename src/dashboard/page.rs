//! The frame of every page, and the pages for errors.

use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use crate::runtime::{Cause, RuntimeError};

/// The policy of every page: only our own script, style and event streams; no inline code, no
/// frames, no foreign forms.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; \
     frame-ancestors 'none'";

/// Renders a whole page around its content.
pub(super) fn page(status: StatusCode, title: &str, content: &Markup) -> Response {
    let version = env!("CARGO_PKG_VERSION");
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Rethread" }
                link rel="icon" href="data:,";
                link rel="stylesheet" href={ "/ui/assets/app.css?v=" (version) };
                script src={ "/ui/assets/app.js?v=" (version) } defer {}
            }
            body {
                a .skip href="#content" { "Skip to content" }
                header {
                    a .brand href="/" { "Rethread" }
                    nav aria-label="Main" {
                        a href="/" { "Threads" }
                        a href="/monitor" { "Monitor" }
                        a href="/health" { "Health" }
                        a href="/openapi.json" { "API" }
                    }
                }
                main #content tabindex="-1" { (content) }
                footer { "Rethread " (version) }
            }
        }
    };
    let headers: [(HeaderName, &str); 4] = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    (status, headers, markup).into_response()
}

/// Renders the page for a failed call of the runtime.
pub(super) fn failed(error: &RuntimeError) -> Response {
    let status = match error {
        RuntimeError::ThreadNotFound | RuntimeError::WorkflowNotFound => StatusCode::NOT_FOUND,
        RuntimeError::Invalid(_) | RuntimeError::SeqOutOfRange { .. } => StatusCode::BAD_REQUEST,
        RuntimeError::Unavailable { .. }
        | RuntimeError::StorageReadOnly { .. }
        | RuntimeError::StorageFull { .. }
        | RuntimeError::NotTaken { .. }
        | RuntimeError::Overloaded { .. }
        | RuntimeError::QueueFull { .. } => StatusCode::SERVICE_UNAVAILABLE,
        RuntimeError::NotStarter
        | RuntimeError::ExecNotAllowed(_)
        | RuntimeError::NotificationNotFound
        | RuntimeError::TooManyNotifications { .. }
        | RuntimeError::AddressNotAllowed(_)
        | RuntimeError::ThreadConflict
        | RuntimeError::ThreadDeleting { .. }
        | RuntimeError::IdempotencyMismatch
        | RuntimeError::Refused { .. }
        | RuntimeError::TooLarge { .. }
        | RuntimeError::PreconditionFailed { .. }
        | RuntimeError::HistoryTooLarge { .. }
        | RuntimeError::Corrupt
        | RuntimeError::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut page = message(status, &error.to_string());
    page.extensions_mut().insert(error.cause().unwrap_or_else(|| Cause(error.to_string())));
    page
}

/// Answers a path that leads nowhere.
pub(super) async fn nothing_here() -> Response {
    message(StatusCode::NOT_FOUND, "there is no such page")
}

/// Renders a page with one message.
pub(super) fn message(status: StatusCode, text: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let content = html! {
        h1 { (title) }
        p { (text) "." }
        p { a href="/" { "All threads" } }
    };
    page(status, title, &content)
}
