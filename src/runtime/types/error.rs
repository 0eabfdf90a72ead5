//! Why the runtime did not do what a face asked, cut by what the client should do.

use std::time::Duration;

use crate::model::{Fault, Seq, StepId, StepStatus, ThreadStatus};

/// A refusal or a fault; HTTP statuses are chosen from it in one place (`api/problem.rs`).
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
        /// Where the thread stands.
        status: ThreadStatus,
        /// What was asked, as a participle: `resumed`, `aborted`, `deleted`.
        action: &'static str,
    },
    /// The thread's workflow has no such step.
    #[error("the workflow has no step {step}")]
    StepNotFound {
        /// What was asked for.
        step: StepId,
    },
    /// The step's state does not allow the call.
    #[error("step {step} is {}: it cannot be {action}", status.as_str())]
    WrongStep {
        /// The step.
        step: StepId,
        /// Where it stands.
        status: StepStatus,
        /// What was asked, as a participle.
        action: &'static str,
    },
    /// No such intervention.
    #[error("no such intervention")]
    InterventionNotFound,
    /// The intervention was decided already.
    #[error("it was decided already: {by} chose {choice}")]
    InterventionResolved {
        /// What was decided.
        choice: String,
        /// Who did.
        by: String,
    },
    /// No completed step of the thread is left that says how it is undone.
    #[error("the thread has no completed step that is still to be compensated")]
    NothingToCompensate,
    /// The thread was paused while it was being undone.
    #[error(
        "the thread was paused while its steps were being compensated, and cannot be {action}: \
         resume it as it is, or abort it first"
    )]
    Compensating {
        /// What was asked, as a participle.
        action: &'static str,
    },
    /// The intervention is about something else than what the caller has seen.
    #[error(
        "the intervention is about something else than what was seen: its digest is {}",
        digest.as_deref().unwrap_or("none")
    )]
    OtherDigest {
        /// The digest of what it is about.
        digest: Option<String>,
    },
    /// No such subscription.
    #[error("no such notification")]
    NotificationNotFound,
    /// There are as many subscriptions as there may be.
    #[error("there are {most} notifications already: delete one first")]
    TooManyNotifications {
        /// How many there may be.
        most: usize,
    },
    /// The egress policy does not let webhooks go there.
    #[error("the server may not connect to this address")]
    AddressNotAllowed(Vec<Fault>),
    /// The thread keeps as many signals as it may that nobody has taken.
    #[error("too many signals of this thread wait to be taken")]
    TooManySignals,
    /// Somebody else has to answer the approval.
    #[error("{why}")]
    NotAnApprover {
        /// Who, and why the caller is not.
        why: String,
    },
    /// The intervention does not offer this choice.
    #[error("the intervention offers {}", choices.join(", "))]
    NoSuchChoice {
        /// What it offers.
        choices: Vec<String>,
    },
    /// What is given is larger than an event may be.
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
    /// The history up to there is too long to be taken over.
    #[error("the history has more than {limit} bytes, which is the most that a fork takes over")]
    HistoryTooLarge {
        /// The most, in bytes.
        limit: usize,
    },
    /// Too many threads wait already.
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
    /// The call is stored, and nobody has taken the thread up to act on it yet.
    #[error(
        "the call is stored and is acted on once a replica takes the thread up, which none has in \
         time: send it again only with the same Idempotency-Key; GET /threads/{{id}}/explain says what the thread waits for"
    )]
    NotTaken {
        /// When to look again.
        retry_after: Duration,
    },
    /// There is no memory left for it now.
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

/// What can be done instead of a call that the thread's state does not allow, if there is something.
fn instead(status: ThreadStatus, action: &str) -> &'static str {
    let failed = matches!(status, ThreadStatus::Failed | ThreadStatus::Aborted);
    match action {
        "edited" if status.is_terminal() => ": fork it with edits instead",
        // While it is being undone, nothing goes forwards, paused or not.
        "edited" if status != ThreadStatus::Compensating => ": pause it first",
        "deleted" => ": abort it first",
        "signalled" if failed => ": resume it first",
        "resumed" | "retried" if status == ThreadStatus::Completed => {
            ": fork it to run a part of it again"
        }
        _ => "",
    }
}
