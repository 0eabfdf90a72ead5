//! Drives threads: load, decide, append, perform. [`run`] is the place to start reading.

pub(super) mod admission;
pub(super) mod append;
pub(super) mod aside;
pub(super) mod attempts;
pub(super) mod breakers;
pub(super) mod commit;
pub(super) mod count;

pub(super) mod driver;
pub(super) mod inbox;
pub(super) mod load;
pub(super) mod plans;
pub(super) mod pulses;
pub(super) mod release;
pub(super) mod report;
pub(super) mod run;
pub(super) mod snapshots;
pub(super) mod tail;
pub(super) mod weights;
