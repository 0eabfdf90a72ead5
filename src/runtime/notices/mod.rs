//! Tells others of events: subscriptions, and signed webhooks from the journal.
//!
//! The append of an event that somebody subscribed to leaves a cursor behind, in the same statement
//! ([`desk`] says for whom). [`sender`] takes cursors, reads the journal from them, and sends what
//! is asked for: at least once, in the order of each thread, again until it is taken or given up.
//! Nothing here holds a thread up, and none of it is needed for a thread to go on.

mod deliver;
mod desk;
mod lane;
mod post;
mod sender;
mod settings;
mod signature;
mod subscriptions;

pub(super) use desk::Desk;
pub(super) use sender::{FAILING_FOR, run};
pub(super) use subscriptions::{create, delete, get, list, test, update};
