//! The embedded default: one file, one process, one writing task.
//!
//! One process at a time has the file, by whatever name: the lock file beside it and a lock on the
//! file itself keep others out, and once its name leads to another file or none the store fails.
//!
//! Group commit pays for `synchronous=FULL`. Reads go to a pool that cannot write and hold no
//! transaction beyond their one statement, so that the log can always be folded back. Leases are
//! kept as in Postgres, but only one incarnation lives at a time: a new one ends all others.

mod appends;
mod archive;
mod audit;
mod bounded;
mod definitions;
mod departure;
mod fault;
mod hold;
mod import;
mod inbox;
mod interventions;
mod journal;
mod leases;
mod lock;
mod log;
mod lost;
mod make;
mod notices;
mod open;
mod private;
mod recoveries;
mod retention;
mod rows;
mod shrink;
mod sides;
mod snapshots;
mod starts;
mod store;
mod suspects;
mod tallies;
mod threads;
mod writer;

pub use archive::SqliteArchive;
pub use hold::FileHold;
pub use store::SqliteStore;
