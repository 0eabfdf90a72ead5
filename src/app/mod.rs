//! Composition: makes the layers from the settings and puts them together.
//!
//! The ambient clock and randomness come in here and nowhere else. Called by `cli` only.

mod ambient;
mod control;
mod files;
mod guard;
mod listen;
mod memory;
mod metrics;
mod moving;
mod patience;
mod secrets;
mod server;
mod store;
mod verify;
mod workers;

pub use crate::executor::Executors;
pub use ambient::{Ambient, OsEntropy, SystemClock, random_secret};
pub use control::STOOD;
pub use guard::{GUARD_COMMAND, guard_programs};
pub use listen::{bind, install_crypto};
pub use secrets::log_redaction;
pub use server::{Server, openapi_yaml};
pub use store::{Migration, migrate};
pub use verify::verify;
