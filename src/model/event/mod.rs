//! The journal's records: one per state change, and the very frames that clients see.
//!
//! An event is encoded once, when it is decided; those bytes are stored, streamed and read back
//! for ever after. Adding a kind: a row in `table` and its data struct in `facts` or beside it; the
//! compiler then asks for its `apply` in `machine`.

mod content;
mod facts;
mod interventions;
mod steps;
mod table;
mod undo;
mod wire;

use std::time::Duration;

use super::{Seq, ThreadId, Timestamp};
use wire::{Frame, Head};

pub use facts::{
    ForkPoint, ForkedFrom, RecoveryCause, RecoveryStrategy, SignalReceived, WorkflowAborted,
    WorkflowComplete, WorkflowFailed, WorkflowForked, WorkflowPaused, WorkflowRecovered,
    WorkflowRef, WorkflowResumed, WorkflowStart,
};
pub use interventions::{
    InterventionEscalated, InterventionKind, InterventionOpened, InterventionResolved,
};
pub use steps::{
    StepComplete, StepEdited, StepFailed, StepRetry, StepSkipped, StepStale, StepStart,
    StepTimeoutWarning, StepWaiting,
};
pub use table::{EventBody, EventType};
pub use undo::{
    Compensation, CompensationComplete, CompensationFailed, CompensationStart, NotCompensated,
};
pub use wire::{EventFault, OnStep};

/// A past fact about one thread.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its number within the thread.
    pub seq: Seq,
    /// When it was decided.
    pub at: Timestamp,
    /// The fact.
    pub body: EventBody,
}

impl Event {
    /// The bytes of this event: what is stored, streamed and never changed.
    pub fn encode(&self, thread: &ThreadId) -> String {
        self.body.encode(&Head { thread, seq: self.seq, at: self.at })
    }

    /// The name of an encoded event's kind, without reading the rest; `unknown` for a newer version's.
    pub fn kind_of(text: &str) -> &'static str {
        let named = text.strip_prefix("{\"type\":\"").and_then(|rest| rest.split('"').next());
        named.and_then(EventType::find).map_or("unknown", |kind| kind.name)
    }

    /// Reads an event back from its bytes.
    pub fn decode(text: &str) -> Result<Self, EventFault> {
        let frame = Frame::read(text)?;
        Ok(Self { seq: frame.seq, at: frame.at, body: EventBody::decode(&frame)? })
    }

    /// How long after the thread's `start` this happened.
    pub fn since(&self, start: Timestamp) -> Duration {
        self.at.since(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Json, StepId};

    #[test]
    fn an_event_reads_back_as_it_was_written_and_has_the_contracts_shape() {
        let event = Event {
            seq: 4,
            at: Timestamp::from_millis(1_700_000_000_123),
            body: EventBody::StepComplete(OnStep {
                step: StepId::parse("fetch").unwrap(),
                attempt: 1,
                data: StepComplete {
                    output: Json::parse(r#"{"n":12345678901234567890,"z":-0,"a":"\u0000"}"#)
                        .unwrap(),
                    duration_ms: 12,
                    session_id: None,
                    fallback: false,
                    error: None,
                },
            }),
        };
        let text = event.encode(&ThreadId::parse("t1").unwrap());
        assert_eq!(
            text,
            concat!(
                r#"{"type":"step_complete","threadId":"t1","seq":4,"stepId":"fetch","attempt":1,"#,
                r#""at":"2023-11-14T22:13:20.123Z","data":{"output":{"n":12345678901234567890,"#,
                r#""z":-0,"a":"\u0000"},"durationMs":12,"sessionId":null}}"#
            )
        );
        assert_eq!(Event::decode(&text).unwrap(), event);
        assert_eq!(Event::kind_of(&text), "step_complete");
    }

    #[test]
    fn a_kind_from_a_newer_version_is_told_apart_from_damage() {
        let newer = r#"{"type":"step_teleported","threadId":"t","seq":1,"stepId":null,"attempt":null,"at":"2023-11-14T22:13:20.123Z","data":{}}"#;
        assert!(matches!(Event::decode(newer), Err(EventFault::UnknownKind(_))));
        assert!(matches!(Event::decode("{}"), Err(EventFault::Malformed(_))));
    }

    #[test]
    fn every_kind_is_told_by_the_beginning_of_its_text() {
        for kind in EventType::ALL {
            let text = format!(r#"{{"type":"{}","threadId":"t""#, kind.name);
            assert_eq!(Event::kind_of(&text), kind.name);
        }
        assert_eq!(Event::kind_of(r#"{"type":"step_teleported""#), "unknown");
    }
}
