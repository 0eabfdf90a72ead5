//! The answers that clients get.

mod advice;
mod audit;
mod diagnostics;
mod diff;
mod events;
mod explanation;
mod health;
mod history;
mod invoke;
mod lists;
mod monitor;
mod notifications;
mod page;
mod problem;
mod status;

pub use advice::{Advice, Call, Operation};
pub use audit::AuditItem;
pub use diagnostics::*;
pub use diff::*;
pub use events::{EventDocument, EventList};
pub use explanation::{Cause, CauseKind, Explanation};
pub use health::*;
pub use history::*;
pub use invoke::*;
pub use lists::{Checkpoint, StoredWorkflow, ThreadItem};
pub use monitor::{Monitor, MonitoredThread};
pub use notifications::{Notification, NotificationTest};
pub use page::*;
pub use problem::{ProblemDocument, ProblemError};
pub use status::*;
