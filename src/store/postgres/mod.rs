//! The store that several replicas share.
//!
//! Every call is one autocommitted statement on a pool of its purpose: a dropped future leaves no
//! transaction behind, and no call holds one connection while it waits for another. [`intake`] alone
//! needs a transaction, and has a connection of its own for it; behind a pooler [`pool`] makes each
//! call one. Statements name the schema themselves and need no session state. Notifications, which
//! take a lock on all commits of the database, are sent by [`news`] alone, on a connection of their
//! own; only it and [`session`] keep a connection with state.

mod appends;
mod archive;
mod audit;
mod calls;
mod connect;
mod fault;
mod history;
mod intake;
mod leases;
mod mail;
mod migrate;
mod news;
mod notices;
mod pool;
mod reads;
mod retention;
mod session;
mod settings;
mod sqlstate;
mod starts;
mod steps;
mod store;
mod workflows;
mod writes;

pub use settings::PostgresSettings;
pub use store::PostgresStore;
