//! Notifications: subscriptions to events, and signed webhooks sent from the journal.
//!
//! The append of an event with a subscription leaves a delivery cursor behind, in the same
//! statement ([`desk`] says for which subscriptions). [`sender`] claims cursors, reads the journal
//! from them, and sends the wanted events: at least once, in the order of each thread, again until
//! they are taken or given up. Nothing here delays a thread, and no thread needs any of it to go
//! on.

mod capacity;
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
