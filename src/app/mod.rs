//! Composition: makes the layers from the settings and connects them.
//!
//! Only this module makes the ambient clock and the ambient randomness, and only `cli` calls it.

mod ambient;
mod conceal;
mod control;
mod files;
mod import;
mod issuer;
mod listen;
mod memory;
mod metrics;
mod patience;
mod reload;
mod secrets;
mod server;
mod store;
mod supervise;
mod verify;
mod workers;

pub use crate::executor::Executors;
pub use ambient::{Ambient, OsEntropy, SystemClock, random_secret};
pub use conceal::{Started, conceal};
pub use control::STOOD;
pub use listen::{bind, install_crypto};
pub use secrets::log_redaction;
pub use server::{Departure, Server, openapi_yaml};
pub use store::{Migration, compact, migrate};
pub use supervise::{SUPERVISE_COMMAND, supervise_program};
pub use verify::verify;
