//! Makes decisions durable.

pub(super) mod retry;
pub(super) mod writer;
