//! Finds threads that nobody drives, judges what happened to them, and takes them over.

pub(super) mod adopt;
pub(super) mod dispatcher;
mod fairness;
pub(super) mod ramp;
pub(super) mod recoveries;
pub(super) mod recovering;
pub(super) mod stale;
pub(super) mod suspects;
pub(super) mod verdict;
