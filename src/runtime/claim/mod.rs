//! Finds threads that nobody drives, judges what happened to them, and takes them over.

pub(super) mod adopt;
pub(super) mod bench;
#[cfg(test)]
mod crashes;
pub(super) mod dispatcher;
mod fairness;
#[cfg(test)]
mod judged;
pub(super) mod ramp;
pub(super) mod recoveries;
pub(super) mod recovering;
pub(super) mod stale;
mod suspicion;
pub(super) mod trials;
mod turns;
mod unread;
pub(super) mod verdict;
