//! The machine's promises: tables of single choices, and properties over random plans and
//! histories.
#![expect(clippy::needless_pass_by_value, reason = "JSON literals are handed over")]

mod approved_data;
mod bounds;
mod breaker;
mod budgets;
mod checks;
mod crossings;
mod ends;
mod failures;
mod fallbacks;
mod forks;
mod four_eyes;
mod journal;
mod people;
mod properties;
mod questions;
pub(crate) mod random;
mod recovery;
mod sagas;
mod skips;
mod snapshots;
mod states;
mod templates;
pub(crate) mod theatre;
mod validation;
