//! Drives the machine: load, decide, append, perform.
//!
//! Faces see [`Handle`] and the plain data of [`types`](mod@types), and nothing else of this layer;
//! this layer never sees a face. From a call to its end: [`calls`](mod@calls) has a file for each
//! call of a face; [`claim`](mod@claim) finds threads that nobody drives and takes them over;
//! [`drive`](mod@drive) drives them; [`write`](mod@write) makes decisions durable;
//! [`feed`](mod@feed) tells readers and other replicas, [`notices`] the receivers of webhooks.
//! [`lease`](mod@lease) keeps the right to do all that, [`upkeep`](mod@upkeep) the room for it.
//! [`core`](mod@core) is the state that they share, [`driven`](mod@driven) the threads driven here; [`verify`](mod@verify) checks a store and
//! drives nothing.

mod calls;
mod claim;
mod core;
mod drive;
mod driven;
mod feed;
mod handle;
mod lease;
mod notices;
mod settings;
mod shown;
mod start;
mod types;
mod upkeep;
mod verify;
mod write;

#[cfg(test)]
mod tests;

pub use core::RuntimeParts;
pub use drive::snapshots::SnapshotCounts;
pub use feed::heads::Follow;
pub use feed::live::LiveEvents;
pub use handle::Handle;
pub use settings::{RuntimeSettings, StoreRetry};
pub use start::Runtime;
pub use types::*;
pub use verify::{Finding, Verified, verify};
