//! Drives the machine: load, decide, append, perform.
//!
//! Faces see [`Handle`] and the plain data it takes and gives, and nothing else of this layer.

mod handle;

pub use handle::*;
