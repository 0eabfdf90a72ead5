//! Events as readers get them.

use std::sync::Arc;

use crate::model::{Json, Seq, ThreadId, ThreadStatus};
use crate::observe::Reservation;

/// One event as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEvent {
    /// The event's number within its thread.
    pub seq: Seq,
    /// The event's type, which is the SSE event name.
    pub kind: &'static str,
    /// The event's exact bytes.
    pub json: Json,
}

/// An event that a reader holds until it is sent.
#[derive(Debug)]
pub enum HeldEvent {
    /// A small event that only this reader holds.
    Own(RawEvent),
    /// A large event that other readers may hold as well.
    Shared(Arc<SharedEvent>),
}

impl HeldEvent {
    /// Returns the event.
    pub fn event(&self) -> &RawEvent {
        match self {
            Self::Own(event) => event,
            Self::Shared(shared) => shared.event(),
        }
    }
}

/// An event that several readers may hold.
#[derive(Debug)]
pub struct SharedEvent {
    event: RawEvent,
    _held: Reservation,
}

impl SharedEvent {
    /// Pairs an event with the reservation of its memory.
    pub(in crate::runtime) const fn new(event: RawEvent, held: Reservation) -> Self {
        Self { event, _held: held }
    }

    /// Returns the event.
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
    /// The name of the thread's workflow.
    pub workflow: Arc<str>,
    /// The thread's status after the event.
    pub status: ThreadStatus,
}
