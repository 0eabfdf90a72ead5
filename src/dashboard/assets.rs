//! The one script and the one style sheet, which the binary contains.

use axum::http::{HeaderName, header};
use axum::response::IntoResponse;

const SCRIPT: &str = include_str!("assets/app.js");
const STYLE: &str = include_str!("assets/app.css");
/// The caching rule of the assets. Pages name them with the server's version, so browsers may keep
/// them.
const KEEP: &str = "private, max-age=86400";

pub(super) async fn script() -> impl IntoResponse {
    asset("text/javascript; charset=utf-8", SCRIPT)
}

pub(super) async fn style() -> impl IntoResponse {
    asset("text/css; charset=utf-8", STYLE)
}

fn asset(media_type: &'static str, text: &'static str) -> impl IntoResponse {
    let headers: [(HeaderName, &str); 2] =
        [(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, KEEP)];
    (headers, text)
}
