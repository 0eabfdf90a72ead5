//! The `http` step: one request, its redirects, one answer.
//!
//! The egress policy judges every hop before it is made, and the resolver of the client judges
//! names. Dropping the attempt closes its connection.

mod answer;
mod client;
mod connect;
mod connection;
mod egress;
mod expect;
mod fault;
mod idle;
mod names;
mod redirect;
mod request;
mod step;
mod webhook;

pub use egress::{EgressDenied, EgressPolicy, EgressRule};
pub use idle::MAX_IDLE_CONNECTIONS;
pub use webhook::{Webhook, WebhookFault, Webhooks};

pub(super) use step::HttpExecutor;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
