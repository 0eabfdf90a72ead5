//! The machine's promises: tables of single decisions, and properties over random plans and
//! histories.

mod ends;
mod failures;
mod journal;
mod properties;
mod random;
mod recovery;
mod skips;
mod theatre;
