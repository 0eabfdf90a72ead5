//! Drives the machine: load, decide, append, perform.
//!
//! [`drive`] is the place to start reading. Around it: [`dispatcher`] finds threads to drive and
//! [`adopt`] takes them over, [`writer`] makes what is decided durable, [`attempts`] performs it,
//! [`lease`] keeps the right to do so, [`feed`] tells readers, [`news`] other replicas, [`notices`] the
//! receivers of webhooks. Faces see
//! [`Handle`] and the plain data it takes and gives, and nothing else of this layer; this layer
//! never sees a face. Beside all that, [`verify`](mod@verify) checks a store and drives nothing.

mod adopt;
mod append;
mod aside;
mod attempts;
mod audit;
mod audit_book;
mod authority;
mod breakers;
mod checkpoint;
mod checkpoints;
mod commit;
mod control;
mod core;
mod count;
mod diagnostics;
mod diff;
mod disk;
mod dispatcher;
mod drive;
mod driver;
mod estimate;
mod existing;
mod explain;
mod feed;
mod fork;
mod handle;
mod health;
mod interventions;
mod invoke;
mod lease;
mod live;
mod load;
mod mail;
mod memory;
mod monitor;
mod news;
mod notices;
mod outbox;
mod outcome;
mod peers;
mod plans;
mod pulses;
mod query;
mod ramp;
mod recoveries;
mod recovering;
mod release;
mod request_hash;
mod retention;
mod retry;
mod roster;
mod settings;
mod shared;
mod snapshots;
mod stale;
mod start;
mod stats;
mod stood;
mod suspects;
mod tail;
mod tallied;
mod types;
mod verdict;
mod verify;
mod watchdog;
mod workflows;
mod writer;

#[cfg(test)]
mod tests;

pub use core::RuntimeParts;
pub use feed::Follow;
pub use handle::Handle;
pub use live::LiveEvents;
pub use settings::{RuntimeSettings, StoreRetry};
pub use snapshots::SnapshotCounts;
pub use start::Runtime;
pub use types::*;
pub use verify::{Finding, Verified, verify};
