//! The bodies of requests: each member is named once, with its type, its schema and its reader; and the
//! parameters of lists.

mod abort;
mod fork;
mod invoke;
mod lists;
mod notification;
mod read;
mod resolve;
mod resume;
mod step;
mod validate;

pub use abort::{AbortRequest, ReasonRequest};
pub use fork::ForkRequest;
pub use invoke::{InvokeRequest, StoredName, WorkflowSource};
pub use lists::{AuditQuery, CheckpointQuery, InterventionQuery, ThreadQuery};
pub use notification::{NotificationPatch, NotificationRequest};
pub use read::Request;
pub use resolve::ResolveRequest;
pub use resume::ResumeRequest;
pub use step::{EditRequest, SkipRequest};
pub use validate::{ValidateRequest, WorkflowCheck, WorkflowWithInput};
