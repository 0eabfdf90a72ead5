//! Writes to the journal, and their outcomes.

use serde::{Deserialize, Serialize};

use crate::model::{
    Epoch, ForkPoint, Json, Namespace, Seq, StepId, ThreadId, ThreadStatus, Timestamp,
};

#[cfg(doc)]
use super::FORK_LABEL;
use super::Side;

/// Consecutive events of one append, as their exact bytes. One append is one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    /// The number of the first event.
    pub first: Seq,
    /// Each event's JSON; compact, so it holds no line break.
    pub events: Vec<String>,
    /// When they were decided.
    pub at: Timestamp,
}

impl Records {
    /// The number of the last event.
    pub fn last(&self) -> Seq {
        self.first + Seq::try_from(self.events.len()).unwrap_or(0) - 1
    }
}

/// Derived state that lists show without reading the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The thread's status.
    pub status: ThreadStatus,
    /// Steps that have ended.
    pub completed: u32,
    /// Steps in all.
    pub total: u32,
    /// Steps that run, retry or wait.
    pub current_steps: Vec<StepId>,
    /// Current steps whose attempt was found to be silent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stale_steps: Vec<StepId>,
    /// Takeovers after a replica was lost.
    pub recoveries: u32,
    /// Code of the failure it ended with.
    pub error_code: Option<String>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// Where its history comes from, if it is a fork.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<ForkPoint>,
}

/// The change of a thread's ownership with a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// The writer goes on driving it.
    Keep,
    /// Nobody drives it until `wake_at` (`None`: no time) or a message. If untaken messages remain,
    /// it may be claimed at once.
    Release {
        /// When to claim it.
        wake_at: Option<Timestamp>,
    },
    /// Nobody drives it until then, even if messages wait: its driver cannot take them now and
    /// would only claim it again. A later message wakes it.
    SetAside {
        /// When to try it again.
        until: Timestamp,
    },
}

/// A client's key: all invokes with it are one thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The key as it is stored ([`IdempotencyKey::scoped`]).
    pub key: String,
    /// Hash of the request's body.
    pub request_hash: String,
}

/// Separates the namespace from a client's key; printable text does not contain it.
const KEY_SEPARATOR: char = '\u{1f}';

impl IdempotencyKey {
    /// A client's key as stored: distinct from keys of other namespaces.
    pub fn scoped(namespace: &Namespace, key: &str) -> String {
        if namespace.is_default() {
            key.replace(KEY_SEPARATOR, "")
        } else {
            format!("{namespace}{KEY_SEPARATOR}{key}")
        }
    }
}

/// A new thread.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// The thread.
    pub thread_id: ThreadId,
    /// Name of its workflow.
    pub workflow: String,
    /// Version of its workflow, if it is a stored one.
    pub workflow_version: Option<u32>,
    /// Hash of its definition.
    pub definition: String,
    /// The definition's text, unless the store is known to have it. The text of another start in
    /// the batch may do.
    pub definition_text: Option<String>,
    /// Hash of what the client asked for.
    pub request_hash: String,
    /// The client's metadata.
    pub metadata: Json,
    /// The scalar members of the metadata as text, for filters. [`FORK_LABEL`] holds the thread
    /// whose history this one begins with.
    pub labels: Vec<(String, String)>,
    /// The client's key, if any; an expired one is taken over.
    pub idempotency: Option<IdempotencyKey>,
    /// The first events, from 1 on.
    pub records: Records,
    /// The rows after them, if the thread begins with a history. The time of the last row is the
    /// thread's creation time.
    pub more: Vec<Records>,
    /// Derived state.
    pub summary: Summary,
    /// `Keep`: the writer drives it, under epoch 1; if its lease has expired, nobody does and it is
    /// due at once. Epoch 0 in all other cases.
    pub disposition: Disposition,
    /// Other changes with it.
    pub sides: Vec<Side>,
}

impl Start {
    /// Its journal's rows.
    pub fn rows(&self) -> impl Iterator<Item = &Records> {
        std::iter::once(&self.records).chain(&self.more)
    }

    /// The last of its journal's rows.
    pub fn newest(&self) -> &Records {
        self.more.last().unwrap_or(&self.records)
    }

    /// The events to notify of: after the first number, up to the second. A fork's inherited events
    /// were notified for the other thread.
    pub fn told(&self) -> (Seq, Seq) {
        let taken_over = self.summary.forked_from.as_ref().map_or(0, |point| point.seq);
        (taken_over, self.newest().last())
    }
}

/// More events of a thread that the writer drives.
#[derive(Debug, Clone, PartialEq)]
pub struct Append {
    /// The thread.
    pub thread_id: ThreadId,
    /// The fence it was claimed with.
    pub epoch: Epoch,
    /// The head of the journal before this write.
    pub prev: Seq,
    /// The events from `prev + 1` on; `None` to only change ownership or take messages.
    pub records: Option<Records>,
    /// Derived state.
    pub summary: Summary,
    /// Set if a step completed or a person decided; resets `claims`.
    pub progress: bool,
    /// The change of ownership.
    pub disposition: Disposition,
    /// Other changes with it.
    pub sides: Vec<Side>,
}

impl Append {
    /// The events to notify of: after the journal's head before this write, up to the head after
    /// it.
    pub fn told(&self) -> (Seq, Seq) {
        (self.prev, self.records.as_ref().map_or(self.prev, Records::last))
    }
}

/// One write of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// A new thread.
    Start(Box<Start>),
    /// More events of one.
    Append(Box<Append>),
}

impl Write {
    /// The thread it is about.
    pub fn thread_id(&self) -> &ThreadId {
        match self {
            Self::Start(start) => &start.thread_id,
            Self::Append(append) => &append.thread_id,
        }
    }
}

/// The outcome of one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// Durable.
    Written {
        /// Untaken messages of this thread.
        mail: u32,
    },
    /// An append: owner, epoch or head are not those it names. Drop the thread.
    Fenced,
    /// A start: the thread id is taken. Nothing was written. If the key is taken too, either
    /// outcome may be given.
    ThreadExists,
    /// A start: the idempotency key is taken. Nothing was written.
    KeyExists,
    /// A start without its definition's text, which the store does not have. Nothing was written;
    /// send it with the text.
    DefinitionMissing,
    /// Another transaction holds a row that this write needs. Nothing was written: send it again.
    /// The journal's writer does so and never passes this outcome on.
    Busy,
    /// The database will never accept this write (a text or size). Nothing was written.
    Refused,
}
