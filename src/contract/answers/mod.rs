//! The answers that clients get.

mod audit;
mod diagnostics;
mod diff;
mod events;
mod health;
mod history;
mod invoke;
mod lists;
mod notifications;
mod status;

pub use audit::AuditItem;
pub use diagnostics::*;
pub use diff::*;
pub use events::{EventDocument, EventList};
pub use health::*;
pub use history::*;
pub use invoke::*;
pub use lists::{Checkpoint, StoredWorkflow, ThreadItem};
pub use notifications::{Notification, NotificationTest};
pub use status::*;
