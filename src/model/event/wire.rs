//! The wire form of events: one compact line of JSON.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::model::{Seq, StepId, ThreadId, Timestamp};

/// A fact about one attempt of one step.
#[derive(Debug, Clone, PartialEq)]
pub struct OnStep<T> {
    /// The step.
    pub step: StepId,
    /// The number of the attempt; 0 where none was made.
    pub attempt: u32,
    /// The rest of it.
    pub data: T,
}

/// A record that cannot be read as an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventFault {
    /// A kind this version does not know: a newer server wrote it, and must read it.
    #[error("event kind {0:?} is not known to this version")]
    UnknownKind(String),
    /// The record is damaged.
    #[error("record cannot be read: {0}")]
    Malformed(String),
}

/// The wire form of every event; the order of its members is part of it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Frame<D = Box<RawValue>> {
    #[serde(rename = "type")]
    pub(super) kind: Cow<'static, str>,
    thread_id: ThreadId,
    pub(super) seq: Seq,
    step_id: Option<StepId>,
    attempt: Option<u32>,
    pub(super) at: Timestamp,
    data: D,
}

/// The members of a frame that say where and when.
pub(super) struct Head<'a> {
    pub(super) thread: &'a ThreadId,
    pub(super) seq: Seq,
    pub(super) at: Timestamp,
}

impl Head<'_> {
    /// The text of the whole frame.
    pub(super) fn frame<D: Serialize>(
        &self,
        kind: &'static str,
        place: Option<(&StepId, u32)>,
        data: &D,
    ) -> String {
        let frame = Frame {
            kind: Cow::Borrowed(kind),
            thread_id: self.thread.clone(),
            seq: self.seq,
            step_id: place.map(|(step, _)| step.clone()),
            attempt: place.map(|(_, attempt)| attempt),
            at: self.at,
            data,
        };
        // Every field is a plain struct of strings, numbers and JSON text: encoding cannot fail.
        serde_json::to_string(&frame).unwrap_or_default()
    }
}

impl Frame {
    pub(super) fn read(text: &str) -> Result<Self, EventFault> {
        serde_json::from_str(text).map_err(malformed)
    }

    pub(super) fn data<'a, T: Deserialize<'a>>(&'a self) -> Result<T, EventFault> {
        serde_json::from_str(self.data.get()).map_err(malformed)
    }

    pub(super) fn on_step<'a, T: Deserialize<'a>>(&'a self) -> Result<OnStep<T>, EventFault> {
        let missing = || EventFault::Malformed("a step event names no step".to_owned());
        Ok(OnStep {
            step: self.step_id.clone().ok_or_else(missing)?,
            attempt: self.attempt.ok_or_else(missing)?,
            data: self.data()?,
        })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function in map_err")]
fn malformed(fault: serde_json::Error) -> EventFault {
    EventFault::Malformed(fault.to_string())
}
