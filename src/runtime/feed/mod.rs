//! Tells readers here, and other replicas, how far journals have come.

pub(super) mod heads;
pub(super) mod hints;
pub(super) mod live;
pub(super) mod queue;
pub(super) mod shared;
