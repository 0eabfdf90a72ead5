//! Rethread: a durable workflow server. `ARCHITECTURE.md` is the map.

pub mod api;
pub mod dashboard;
pub mod definition;
pub mod executor;
pub mod machine;
pub mod model;
pub mod runtime;
pub mod store;
