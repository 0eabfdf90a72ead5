//! The readable reference: everything in maps behind one mutex, nothing survives the process.
//!
//! It keeps every promise but durability. Several replicas of one process may share it, so that a
//! new registration expires nobody's lease; expiry is judged by the injected monotonic clock. No
//! call awaits anything, so that the mutex is never held across an await.

mod archive;
mod audit;
mod calls;
mod history;
mod leases;
mod lists;
mod mail;
mod notices;
mod state;
mod store;
mod writes;

pub use store::MemoryStore;
