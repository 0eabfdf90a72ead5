//! Rethread: a durable workflow server. `ARCHITECTURE.md` is the map.

pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod contract;
pub mod dashboard;
pub mod definition;
pub mod executor;
pub mod explain;
pub mod identity;
pub mod machine;
pub mod model;
pub mod observe;
pub mod runtime;
pub mod store;
pub mod telemetry;

#[cfg(test)]
#[path = "../tests/fuzz/mod.rs"]
mod fuzz;
