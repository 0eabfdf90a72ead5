//! Makes what is decided durable.

pub(super) mod retry;
pub(super) mod writer;
