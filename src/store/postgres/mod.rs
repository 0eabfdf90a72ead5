//! The store that several replicas share.
//!
//! Every call is one autocommitted statement on a pool of its purpose: a dropped future leaves no
//! transaction behind, and no call holds one connection while it waits for another. [`import`] alone
//! needs a transaction, and has a connection of its own for it; behind a pooler [`pool`] makes each
//! call one. Statements name the schema themselves and need no session state. Notifications, which
//! take a lock on all commits of the database, are sent by [`hints`] alone, on a connection of their
//! own; only it and [`presence`] keep a connection with state.

mod appends;
mod archive;
mod audit;
mod clock;
mod connect;
mod definitions;
mod fault;
mod hints;
mod import;
mod inbox;
mod interventions;
mod journal;
mod leases;
mod migrate;
mod notices;
mod pool;
mod presence;
mod recoveries;
mod retention;
mod settings;
mod shrink;
mod sides;
mod snapshots;
mod sqlstate;
mod starts;
mod statement;
mod steps;
mod store;
mod suspects;
mod sweep;
mod tallies;
mod threads;

pub use settings::PostgresSettings;
pub use store::PostgresStore;
