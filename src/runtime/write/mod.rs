//! Makes decisions durable.

pub(super) mod availability;
pub(super) mod retry;
pub(super) mod streak;
pub(super) mod writer;
