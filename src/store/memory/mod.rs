//! The readable reference: everything in maps behind one mutex, nothing survives the process.
//!
//! It keeps every promise but durability. Several replicas of one process may share it, so that a
//! new registration expires nobody's lease; expiry is judged by the injected monotonic clock. No
//! call awaits anything, so that the mutex is never held across an await.

mod archive;
mod audit;
mod definitions;
mod inbox;
mod interventions;
mod journal;
mod leases;
mod notices;
mod recoveries;
mod sides;
mod snapshots;
mod state;
mod store;
mod suspects;
mod tallies;
mod threads;

pub use store::MemoryStore;
