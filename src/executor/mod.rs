//! Executors, which perform the work of steps: one file per kind, behind one trait.
//!
//! An executor gets an attempt with everything filled in and reports one outcome. It never reads
//! the journal, never decides about retries, and never outlives its attempt: dropping the future it
//! returns ends its work (connections closed, children killed).

mod apart;
mod attempt;
mod exec;
mod http;
mod places;
mod pulse;
mod redact;
mod registry;
mod room;
mod secrets;
mod settings;
mod text;
mod transform;

pub use attempt::{Attempt, AttemptError, StepExecutor};
pub use exec::{exec_allowed, prepare_programs, supervise_program, tend_programs};
pub use http::{
    EgressDenied, EgressPolicy, EgressRule, MAX_IDLE_CONNECTIONS, Webhook, WebhookFault, Webhooks,
};
pub use places::{Place, Places};
pub use pulse::Pulse;
pub use redact::{RedactedStream, Redactor};
pub use registry::{Executors, Registry};
pub use room::{Room, Rooms};
pub use secrets::Secrets;
pub use settings::{DEFAULT_MAX_OUTPUT_BYTES, ExecutorSettings, ProgramLimits};
