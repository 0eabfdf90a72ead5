//! Drives the machine: load, decide, append, perform.
//!
//! [`driver`] is the place to start reading. Around it: [`dispatcher`] finds threads to drive,
//! [`writer`] makes what is decided durable, [`attempts`] performs it, [`lease`] keeps the right to
//! do so, [`feed`] tells readers. Faces see [`Handle`] and the plain data it takes and gives, and
//! nothing else of this layer; this layer never sees a face.

mod attempts;
mod authority;
mod commit;
mod control;
mod core;
mod count;
mod disk;
mod dispatcher;
mod driver;
mod estimate;
mod existing;
mod feed;
mod handle;
mod health;
mod invoke;
mod lease;
mod load;
mod mail;
mod monitor;
mod plans;
mod query;
mod ramp;
mod retention;
mod retry;
mod settings;
mod stale;
mod start;
mod workflows;
mod writer;

pub use core::RuntimeParts;
pub use feed::Follow;
pub use handle::*;
pub use settings::{RuntimeSettings, StoreRetry};
pub use start::Runtime;
