//! The machine's promises: tables of single decisions, and properties over random plans and
//! histories.
#![expect(clippy::needless_pass_by_value, reason = "JSON literals are handed over")]

mod breaker;
mod ends;
mod explain;
mod failures;
mod fallbacks;
mod journal;
mod properties;
mod random;
mod recovery;
mod skips;
mod snapshots;
mod theatre;
mod validation;
