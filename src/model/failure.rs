//! Recorded outcomes that are not successes.

use serde::{Deserialize, Serialize};

use super::StepId;
use super::named::named;

named!(
    /// What area a failure or problem belongs to; clients branch on it.
    Category {
        /// The request or the definition is wrong.
        Validation = "validation",
        /// Who calls is not known.
        Authentication = "authentication",
        /// Who calls may not do this.
        Authorization = "authorization",
        /// The thing is not there.
        NotFound = "not_found",
        /// The thing is in another state than the call expects.
        Conflict = "conflict",
        /// Too much at once.
        RateLimit = "rate_limit",
        /// Something took longer than its bound.
        Timeout = "timeout",
        /// The store could not do its work.
        Storage = "storage",
        /// A step's own work failed.
        Step = "step",
        /// A party outside this server failed.
        External = "external",
        /// Memory, disk, size or another bounded resource.
        Resource = "resource",
        /// The server's configuration does not allow it.
        Configuration = "configuration",
        /// A fault of this server.
        Internal = "internal",
    }
);

/// The codes of failures that steps end with.
pub mod codes {
    /// A reference of a template names something absent.
    pub const TEMPLATE_UNRESOLVED: &str = "template_unresolved";
    /// A `when` condition could not be evaluated.
    pub const CONDITION_FAILED: &str = "condition_failed";
    /// A step's `check` says that its output is a failure.
    pub const CHECK_FAILED: &str = "check_failed";
    /// A step's `check` could not be evaluated, or says something else than an outcome.
    pub const CHECK_ERROR: &str = "check_error";
    /// A jq filter ended with an error, or ran too long.
    pub const JQ_FAILED: &str = "jq_failed";
    /// The attempt took longer than the step's `timeout`.
    pub const STEP_TIMEOUT: &str = "step_timeout";
    /// Nobody sent the signal, or decided, in time.
    pub const WAIT_TIMEOUT: &str = "wait_timeout";
    /// A thread took longer than its workflow's `timeout`.
    pub const WORKFLOW_TIMEOUT: &str = "workflow_timeout";
    /// The attempt showed no sign of life for the step's `heartbeatTimeout`.
    pub const HEARTBEAT_TIMEOUT: &str = "heartbeat_timeout";
    /// A person had the attempt cancelled and the next one made.
    pub const CANCELLED: &str = "cancelled";
    /// The connection was refused or broke.
    pub const CONNECTION_FAILED: &str = "connection_failed";
    /// The circuit of the step's target is open: the attempt was refused without being made.
    pub const CIRCUIT_OPEN: &str = "circuit_open";
    /// An HTTP answer whose status was not expected.
    pub const HTTP_STATUS: &str = "http_status";
    /// The address is outside the egress policy.
    pub const EGRESS_DENIED: &str = "egress_denied";
    /// The program ended with a non-zero exit code or by a signal.
    pub const EXIT_NONZERO: &str = "exit_nonzero";
    /// The program could not be started.
    pub const SPAWN_FAILED: &str = "spawn_failed";
    /// The program is not on the server's allow-list.
    pub const EXEC_NOT_ALLOWED: &str = "exec_not_allowed";
    /// An output larger than `RETHREAD_MAX_EVENT`.
    pub const PAYLOAD_TOO_LARGE: &str = "payload_too_large";
    /// The server has no memory for what the step receives.
    pub const OVERLOADED: &str = "overloaded";
    /// An output that is not what the step promised (JSON, UTF-8, …).
    pub const OUTPUT_INVALID: &str = "output_invalid";
    /// The `with` of a step is wrong once its templates are filled in.
    pub const INVALID_CONFIGURATION: &str = "invalid_configuration";
    /// A person had the thread undone, and some of its steps could not be.
    pub const COMPENSATION_FAILED: &str = "compensation_failed";
    /// A fault of this server, isolated to one attempt.
    pub const INTERNAL: &str = "internal";
}

/// Why an attempt, a step or a thread failed; the `error` of a status document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// What happened, as a stable identifier.
    pub code: String,
    /// The area it belongs to.
    pub category: Category,
    /// What happened, for a person.
    pub message: String,
    /// Whether trying again may help.
    pub recoverable: bool,
    /// The step it happened in.
    pub step_id: Option<StepId>,
    /// The number of the attempt it happened in.
    pub attempt: Option<u32>,
}

/// Parts of a message that mark a failure as not worth a retry, in any case.
const FINAL_MESSAGES: [&str; 4] =
    ["validation failed", "invalid configuration", "unauthorized", "forbidden"];

impl Failure {
    /// A failure that a retry may mend, unless its message says otherwise.
    pub fn recoverable(code: &str, category: Category, message: impl Into<String>) -> Self {
        let message = message.into();
        let lower = message.to_lowercase();
        let recoverable = !FINAL_MESSAGES.iter().any(|part| lower.contains(part));
        Self { code: code.to_owned(), category, message, recoverable, step_id: None, attempt: None }
    }

    /// A failure that a retry cannot mend.
    pub fn permanent(code: &str, category: Category, message: impl Into<String>) -> Self {
        Self { recoverable: false, ..Self::recoverable(code, category, message) }
    }

    /// The same failure, naming the step and the attempt it happened in.
    #[must_use]
    pub fn at(mut self, step: &StepId, attempt: u32) -> Self {
        self.step_id = Some(step.clone());
        self.attempt = Some(attempt);
        self
    }
}
