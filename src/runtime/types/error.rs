//! Why the runtime refused or failed a face's request, grouped by what the client should do.

use std::time::Duration;

use crate::model::{Fault, Seq, StepId, StepStatus, ThreadStatus};

/// A refusal or a fault; `api/problem.rs` alone chooses an HTTP status for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// The request's body is wrong; every fault is listed.
    #[error("the request is not valid")]
    Invalid(Vec<Fault>),
    /// The workflow names programs that are not on the allow-list.
    #[error("the workflow runs programs that this server does not allow")]
    ExecNotAllowed(Vec<Fault>),
    /// The thread was started by somebody else, and the caller is no operator.
    #[error(
        "this wants the role operator; the key has the role invoker, which controls the threads it \
         started"
    )]
    NotStarter,
    /// No such thread.
    #[error("no such thread")]
    ThreadNotFound,
    /// No such stored workflow or version.
    #[error("no such workflow")]
    WorkflowNotFound,
    /// The thread id is used by another workflow or input.
    #[error("this thread id belongs to another workflow or input")]
    ThreadConflict,
    /// The idempotency key was used with another body.
    #[error("this idempotency key was used with another request")]
    IdempotencyMismatch,
    /// The thread's state does not allow the call.
    #[error("a thread that is {} cannot be {action}{}", status.as_str(), instead(*status, action))]
    WrongState {
        /// The thread's status.
        status: ThreadStatus,
        /// The request, as a participle: `resumed`, `aborted`, `deleted`.
        action: &'static str,
    },
    /// The thread's workflow has no such step.
    #[error("the workflow has no step {step}")]
    StepNotFound {
        /// The id that was requested.
        step: StepId,
    },
    /// The step's state does not allow the call.
    #[error("step {step} is {}: it cannot be {action}", status.as_str())]
    WrongStep {
        /// The step.
        step: StepId,
        /// The step's status.
        status: StepStatus,
        /// The request, as a participle.
        action: &'static str,
    },
    /// No such intervention.
    #[error("no such intervention")]
    InterventionNotFound,
    /// The intervention was decided already.
    #[error("it was decided already: {by} chose {choice}")]
    InterventionResolved {
        /// The choice that was made.
        choice: String,
        /// The person who made it.
        by: String,
    },
    /// No completed step of the thread with a compensation is left to compensate.
    #[error("the thread has no completed step that is still to be compensated")]
    NothingToCompensate,
    /// The thread was paused while its steps were being compensated.
    #[error(
        "the thread was paused while its steps were being compensated, and cannot be {action}: \
         resume it as it is, or abort it first"
    )]
    Compensating {
        /// The request, as a participle.
        action: &'static str,
    },
    /// The intervention's content differs from the content that the caller has seen.
    #[error(
        "the intervention is about something else than what was seen: its digest is {}",
        digest.as_deref().unwrap_or("none")
    )]
    OtherDigest {
        /// The digest of its content.
        digest: Option<String>,
    },
    /// No such subscription.
    #[error("no such notification")]
    NotificationNotFound,
    /// The number of subscriptions has reached its limit.
    #[error("there are {most} notifications already: delete one first")]
    TooManyNotifications {
        /// The most subscriptions that there may be.
        most: usize,
    },
    /// The egress policy does not allow webhooks to this address.
    #[error("the server may not connect to this address")]
    AddressNotAllowed(Vec<Fault>),
    /// The thread keeps as many untaken signals as it may.
    #[error("too many signals of this thread wait to be taken")]
    TooManySignals,
    /// The approval has to be answered by somebody else.
    #[error("{why}")]
    NotAnApprover {
        /// Who has to answer, and why the caller may not.
        why: String,
    },
    /// The intervention does not offer this choice.
    #[error("the intervention offers {}", choices.join(", "))]
    NoSuchChoice {
        /// The choices that it offers.
        choices: Vec<String>,
    },
    /// The value is larger than an event may be.
    #[error("it has {size} bytes; at most {limit} are kept")]
    TooLarge {
        /// Its size, in bytes.
        size: usize,
        /// The limit (`RETHREAD_MAX_EVENT`), in bytes.
        limit: usize,
    },
    /// `If-Match` named another version: somebody acted first.
    #[error("the thread has changed since: its last event is {last_seq}")]
    PreconditionFailed {
        /// The head of its journal.
        last_seq: Seq,
    },
    /// The journal has no such event (yet).
    #[error("the thread has no such event: its last one is {last_seq}")]
    SeqOutOfRange {
        /// The head of its journal.
        last_seq: Seq,
    },
    /// The history up to the fork point is too long to be copied.
    #[error("the history has more than {limit} bytes, which is the most that a fork takes over")]
    HistoryTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// Too many threads are queued already.
    #[error("too many threads wait already")]
    QueueFull {
        /// When to try again.
        retry_after: Duration,
    },
    /// The store cannot be reached now.
    #[error("storage cannot be reached")]
    Unavailable {
        /// When to try again.
        retry_after: Duration,
    },
    /// The request is stored, and no replica has taken the thread up to act on it yet.
    #[error(
        "the call is stored and is acted on once a replica takes the thread up, which none has in \
         time: send it again only with the same Idempotency-Key; GET /threads/{{id}}/explain says what the thread waits for"
    )]
    NotTaken {
        /// When to look again.
        retry_after: Duration,
    },
    /// The server has no memory left for the request now.
    #[error("the server has no memory left for this now; what runs goes on")]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// A record of this thread is damaged.
    #[error("a stored record of this thread is damaged")]
    Corrupt,
    /// A fault of this server; the details are in its log.
    #[error("internal error")]
    Internal,
}

/// Names what can be done instead of a call that the thread's state does not allow; empty if there
/// is nothing.
fn instead(status: ThreadStatus, action: &str) -> &'static str {
    let failed = matches!(status, ThreadStatus::Failed | ThreadStatus::Aborted);
    match action {
        "edited" if status.is_terminal() => ": fork it with edits instead",
        // Nothing goes forwards while steps are being compensated, paused or not.
        "edited" if status != ThreadStatus::Compensating => ": pause it first",
        "deleted" => ": abort it first",
        "signalled" if failed => ": resume it first",
        "resumed" | "retried" if status == ThreadStatus::Completed => {
            ": fork it to run a part of it again"
        }
        _ => "",
    }
}
