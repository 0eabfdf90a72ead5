//! Composition: makes the layers from the settings and puts them together.
//!
//! The ambient clock and randomness come in here and nowhere else. Called by `cli` only.

mod ambient;
mod listen;
mod patience;
mod server;

pub use ambient::{OsEntropy, SystemClock, random_secret};
pub use listen::{bind, install_crypto};
pub use server::{Migration, Server, migrate, openapi_yaml};
