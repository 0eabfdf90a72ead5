//! HTTP: one file per operation under `ops/` and `stream/`, problem documents, authentication.
//!
//! Handlers are short: extract, call the runtime's handle, convert. Statuses of errors are chosen
//! in `problem.rs` and nowhere else. This layer sees of the runtime its [`Handle`] alone, and
//! never a store. `app` calls [`router`] and [`serve()`].

mod apart;
mod audit;
mod auth;
mod buckets;
mod conditional;
mod connections;
mod cors;
mod extract;
mod fields;
mod gate;
mod guessers;
mod keys;
mod memory;
mod openapi;
mod ops;
mod pace;
mod places;
mod problem;
mod progress;
mod query;
mod quota;
mod request;
mod roles;
mod serve;
mod session;
mod settings;
mod stream;
#[cfg(test)]
mod tests;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use tower::util::option_layer;

use crate::model::{Clock, Entropy};
use crate::runtime::Handle;

pub use connections::Bounds;
pub use cors::Origins;
pub use keys::{ApiKey, Keys};
pub use openapi::openapi;
pub use problem::{ProblemDocument, ProblemError};
pub use serve::{ServeSettings, serve};
pub use settings::{Answered, ApiSettings, DEFAULT_MAX_BODY, HttpMetrics, NoMetrics, Quotas, Rate};

use guessers::Guessers;
use problem::{METHOD_NOT_ALLOWED, Problem, ROUTE_NOT_FOUND};
use quota::Counters;
use roles::Roles;

/// What every handler needs; cheap to clone.
#[derive(Debug, Clone)]
pub struct Api {
    handle: Handle,
    settings: Arc<ApiSettings>,
    roles: Arc<Roles>,
    guessers: Arc<Guessers>,
    counters: Arc<Counters>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Api {
    /// Puts together what the handlers need.
    pub fn new(
        handle: Handle,
        settings: ApiSettings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let metrics = Arc::clone(&settings.metrics);
        let time = || Arc::clone(&clock);
        let guessers = Guessers::new(settings.wrong_keys, time(), Arc::clone(&metrics));
        let counters = Counters::new(settings.quotas, settings.max_body, time(), metrics);
        let (guessers, counters) = (Arc::new(guessers), Arc::new(counters));
        let (settings, roles) = (Arc::new(settings), Arc::default());
        Self { handle, settings, roles, guessers, counters, clock, entropy }
    }
}

/// All routes of the API, with `pages` (the dashboard's routes) beside them, behind the same gate,
/// authentication, logging and request ids.
pub fn router(api: Api, pages: Router) -> Router {
    let (routes, document) = openapi::routes().split_for_parts();
    let api = Api { roles: Arc::new(Roles::of(&document, &openapi::ALIASES)), ..api };
    openapi::with_aliases(routes)
        .with_state(api.clone())
        .merge(pages)
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(route_not_found)
        .layer(from_fn_with_state(api.clone(), apart::apart))
        .layer(from_fn_with_state(api.clone(), auth::authenticate))
        .layer(from_fn_with_state(api.clone(), memory::hold))
        .layer(option_layer(api.settings.origins.layer()))
        .layer(from_fn_with_state(api.clone(), gate::gate))
        .layer(from_fn_with_state(api.clone(), audit::record))
        .layer(from_fn_with_state(api, request::observe))
}

async fn method_not_allowed() -> Problem {
    Problem::new(&METHOD_NOT_ALLOWED, "the Allow header names the methods of this route")
}

async fn route_not_found() -> Problem {
    Problem::new(&ROUTE_NOT_FOUND, "GET /openapi.json names every route")
}
