//! Why the runtime refused or failed a face's request, grouped by what the client should do.

use std::time::Duration;

use crate::machine::Rejection;
use crate::model::{Fault, Seq};

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
    /// The thread of that id was deleted, and is not removed yet.
    #[error(
        "a thread of this id was deleted and is still being removed: try again, or take another id"
    )]
    ThreadDeleting {
        /// The time to wait before another try.
        retry_after: Duration,
    },
    /// The idempotency key was used with another body.
    #[error("this idempotency key was used with another request")]
    IdempotencyMismatch,
    /// The machine refuses the request.
    #[error("{}", rejection.sentence(action))]
    Refused {
        /// The reason.
        rejection: Rejection,
        /// The request, as a participle: `resumed`, `aborted`, `deleted`.
        action: &'static str,
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
        /// The failure, for the log alone.
        cause: String,
    },
    /// The store is read-only now.
    #[error("storage is read-only now: it answers, and takes nothing")]
    StorageReadOnly {
        /// When to try again.
        retry_after: Duration,
        /// The failure, for the log alone.
        cause: String,
    },
    /// The store has no room for what is new.
    #[error("storage is full: nothing new is taken until there is room")]
    StorageFull {
        /// When to try again.
        retry_after: Duration,
        /// The failure, for the log alone.
        cause: String,
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

/// The failure behind an answer, for the log alone: an extension of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause(pub String);

impl RuntimeError {
    /// Returns whether the store was away: the same call may succeed in a moment.
    pub const fn is_of_an_outage(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::StorageReadOnly { .. })
    }

    /// Returns the failure behind it, which no client is told.
    pub fn cause(&self) -> Option<Cause> {
        let (Self::Unavailable { cause, .. }
        | Self::StorageReadOnly { cause, .. }
        | Self::StorageFull { cause, .. }) = self
        else {
            return None;
        };
        Some(Cause(cause.clone()))
    }
}

/// Why a replica can take and drive no threads now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unready {
    /// It is about to end.
    #[error("this server is about to end")]
    Ending,
    /// The store is read-only.
    #[error("storage is read-only")]
    StorageReadOnly,
    /// The store's disk is full.
    #[error("storage is full")]
    StorageFull,
    /// It may drive nothing.
    #[error("this replica has no lease: its heartbeats do not reach storage")]
    NoLease,
}
