//! Server-rendered pages: recent threads, and one thread as it moves.
//!
//! There is no build step and nothing comes from elsewhere: the binary contains one script and one
//! style sheet, under a Content-Security-Policy that allows no other and no inline code. The
//! templates escape every text. Pages only read; `app` puts them behind the API's authentication.

mod assets;
mod page;
mod parts;
mod state;
mod thread;
mod threads;

use std::sync::Arc;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;

use crate::model::Clock;
use crate::runtime::Handle;
use state::Dashboard;

/// Returns the routes of the dashboard, to be merged with those of the API.
pub fn router(handle: Handle, clock: Arc<dyn Clock>) -> Router {
    Router::new()
        .route("/", get(threads::show))
        .route("/ui/threads/{threadId}", get(thread::show))
        .route("/ui/assets/app.js", get(assets::script))
        .route("/ui/assets/app.css", get(assets::style))
        .route("/ui", get(async || Redirect::permanent("/")))
        .route("/ui/", get(async || Redirect::permanent("/")))
        .route("/ui/{*rest}", get(page::nothing_here))
        .with_state(Dashboard { handle, clock })
}
