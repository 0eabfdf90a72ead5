//! The calls of faces, with a file for each.

pub(super) mod audit;
pub(super) mod audit_book;
pub(super) mod checkpoint;
pub(super) mod checkpoints;
pub(super) mod control;
pub(super) mod diagnostics;
pub(super) mod diff;
pub(super) mod estimate;
pub(super) mod existing;
pub(super) mod explain;
pub(super) mod fork;
pub(super) mod health;
pub(super) mod interventions;
pub(super) mod invoke;
pub(super) mod lists;
pub(super) mod monitor;
pub(super) mod patience;
pub(super) mod query;
pub(super) mod request_hash;
pub(super) mod stats;
pub(super) mod storage;
pub(super) mod tallied;
pub(super) mod token_key;
pub(super) mod workflows;
