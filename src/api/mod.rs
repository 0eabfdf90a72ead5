//! HTTP: one file per operation under `ops/` and `stream/`, problem documents, authentication.
//!
//! Handlers are short: extract, call the runtime's handle, convert. Only `problem.rs` chooses the
//! statuses of errors. Of the runtime, this layer sees its [`Handle`](crate::runtime::Handle)
//! alone, and it never sees a store. `app` calls [`router()`] and [`serve()`].

mod apart;
mod audit;
mod auth;
mod buckets;
mod compress;
mod conditional;
mod connections;
mod cors;
mod extract;
mod gate;
mod guessers;
mod holding;
mod keys;
mod memory;
mod multiplex;
mod openapi;
mod ops;
mod pace;
mod places;
mod problem;
mod progress;
mod protocol;
mod query;
mod quota;
mod request;
mod roles;
mod router;
mod seal;
mod serve;
mod session;
mod settings;
mod state;
mod stream;
#[cfg(test)]
mod tests;
mod token;

pub use connections::Bounds;
pub use cors::Origins;
pub use keys::{ApiKey, KeyChange, Keys};
pub use openapi::openapi;
pub use router::router;
pub use serve::{ServeSettings, serve};
pub use settings::{Answered, ApiSettings, DEFAULT_MAX_BODY, HttpMetrics, NoMetrics, Quotas, Rate};
pub use state::Api;
