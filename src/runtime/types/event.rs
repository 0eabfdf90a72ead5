//! Events as readers get them.

use std::sync::Arc;

use crate::model::{Json, Seq, ThreadId, ThreadStatus};
use crate::observe::Reservation;

/// One event as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEvent {
    /// Its number.
    pub seq: Seq,
    /// Its type: the SSE event name.
    pub kind: &'static str,
    /// Its exact bytes.
    pub json: Json,
}

/// An event that a reader holds until it is sent.
#[derive(Debug)]
pub enum HeldEvent {
    /// A small one: the reader's own.
    Own(RawEvent),
    /// A large one, which others may hold as well.
    Shared(Arc<SharedEvent>),
}

impl HeldEvent {
    /// The event.
    pub fn event(&self) -> &RawEvent {
        match self {
            Self::Own(event) => event,
            Self::Shared(shared) => shared.event(),
        }
    }
}

/// An event that others may hold as well.
#[derive(Debug)]
pub struct SharedEvent {
    event: RawEvent,
    _held: Reservation,
}

impl SharedEvent {
    /// An event with the memory that it takes.
    pub(in crate::runtime) const fn new(event: RawEvent, held: Reservation) -> Self {
        Self { event, _held: held }
    }

    /// The event.
    pub const fn event(&self) -> &RawEvent {
        &self.event
    }
}

/// A stretch of a thread's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// The events, in order.
    pub events: Vec<RawEvent>,
    /// The head of the journal when they were read.
    pub head: Seq,
    /// Whether the event at the head is terminal: nothing follows unless the thread is resumed.
    pub ended: bool,
}

/// An event of any thread, for the live stream of all.
#[derive(Debug, Clone)]
pub struct LiveEvent {
    /// The event.
    pub event: RawEvent,
    /// Its thread.
    pub thread_id: ThreadId,
    /// Name of the thread's workflow.
    pub workflow: Arc<str>,
    /// The thread's status after it.
    pub status: ThreadStatus,
}
