//! How an event is written and read back: one compact line of JSON.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Event, EventBody, EventFault, OnStep};
use crate::model::{Seq, StepId, ThreadId, Timestamp};

/// Every type of event that this version writes.
const KINDS: [&str; 23] = [
    "workflow_start",
    "step_start",
    "step_waiting",
    "step_retry",
    "step_timeout_warning",
    "step_complete",
    "step_failed",
    "step_skipped",
    "step_edited",
    "compensation_start",
    "compensation_complete",
    "compensation_failed",
    "signal_received",
    "intervention_opened",
    "intervention_escalated",
    "intervention_resolved",
    "workflow_forked",
    "workflow_paused",
    "workflow_resumed",
    "workflow_recovered",
    "workflow_complete",
    "workflow_failed",
    "workflow_aborted",
];

/// The wire form of every event; the order of its members is part of it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Frame<D> {
    #[serde(rename = "type")]
    kind: std::borrow::Cow<'static, str>,
    thread_id: ThreadId,
    seq: Seq,
    step_id: Option<StepId>,
    attempt: Option<u32>,
    at: Timestamp,
    data: D,
}

impl Event {
    /// The bytes of this event: what is stored, streamed and never changed.
    pub fn encode(&self, thread: &ThreadId) -> String {
        self.body.encode(thread, self.seq, self.at)
    }

    /// Every type of event that this version writes.
    pub const fn kinds() -> &'static [&'static str] {
        &KINDS
    }

    /// The type of an encoded event, without reading the rest; `unknown` for a newer version's.
    pub fn kind_of(text: &str) -> &'static str {
        let named = text.strip_prefix("{\"type\":\"").and_then(|rest| rest.split('"').next());
        let known = named.and_then(|name| KINDS.iter().find(|kind| **kind == name));
        known.copied().unwrap_or("unknown")
    }

    /// Reads an event back from its bytes.
    pub fn decode(text: &str) -> Result<Self, EventFault> {
        let frame: Frame<Box<RawValue>> = serde_json::from_str(text).map_err(malformed)?;
        let (seq, at) = (frame.seq, frame.at);
        Ok(Self { seq, at, body: EventBody::decode(&frame)? })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function in map_err")]
fn malformed(fault: serde_json::Error) -> EventFault {
    EventFault::Malformed(fault.to_string())
}
impl EventBody {
    fn encode(&self, thread: &ThreadId, seq: Seq, at: Timestamp) -> String {
        let kind = self.kind();
        let on = |step: Option<(&StepId, u32)>| Frame {
            kind: kind.into(),
            thread_id: thread.clone(),
            seq,
            step_id: step.map(|(id, _)| id.clone()),
            attempt: step.map(|(_, attempt)| attempt),
            at,
            data: (),
        };
        match self {
            Self::WorkflowStart(data) => on(None).text(data),
            Self::StepStart(fact) => on(fact.place()).text(&fact.data),
            Self::StepWaiting(fact) => on(fact.place()).text(&fact.data),
            Self::StepRetry(fact) => on(fact.place()).text(&fact.data),
            Self::StepTimeoutWarning(fact) => on(fact.place()).text(&fact.data),
            Self::StepStale(fact) => on(fact.place()).text(&fact.data),
            Self::StepComplete(fact) => on(fact.place()).text(&fact.data),
            Self::StepFailed(fact) => on(fact.place()).text(&fact.data),
            Self::StepSkipped(fact) => on(fact.place()).text(&fact.data),
            Self::StepEdited(fact) => on(fact.place()).text(&fact.data),
            Self::CompensationStart(fact) => on(fact.place()).text(&fact.data),
            Self::CompensationComplete(fact) => on(fact.place()).text(&fact.data),
            Self::CompensationFailed(fact) => on(fact.place()).text(&fact.data),
            Self::SignalReceived(data) => on(None).text(data),
            Self::InterventionOpened(data) => on(None).text(data),
            Self::InterventionEscalated(data) => on(None).text(data),
            Self::InterventionResolved(data) => on(None).text(data),
            Self::WorkflowForked(data) => on(None).text(data),
            Self::WorkflowPaused(data) => on(None).text(data),
            Self::WorkflowResumed(data) => on(None).text(data),
            Self::WorkflowRecovered(data) => on(None).text(data),
            Self::WorkflowComplete(data) => on(None).text(data),
            Self::WorkflowFailed(data) => on(None).text(data),
            Self::WorkflowAborted(data) => on(None).text(data),
        }
    }

    fn decode(frame: &Frame<Box<RawValue>>) -> Result<Self, EventFault> {
        Ok(match frame.kind.as_ref() {
            "workflow_start" => Self::WorkflowStart(frame.data()?),
            "step_start" => Self::StepStart(frame.on_step()?),
            "step_waiting" => Self::StepWaiting(frame.on_step()?),
            "step_retry" => Self::StepRetry(frame.on_step()?),
            "step_timeout_warning" => Self::StepTimeoutWarning(frame.on_step()?),
            "step_stale" => Self::StepStale(frame.on_step()?),
            "step_complete" => Self::StepComplete(frame.on_step()?),
            "step_failed" => Self::StepFailed(frame.on_step()?),
            "step_skipped" => Self::StepSkipped(frame.on_step()?),
            "step_edited" => Self::StepEdited(frame.on_step()?),
            "compensation_start" => Self::CompensationStart(frame.on_step()?),
            "compensation_complete" => Self::CompensationComplete(frame.on_step()?),
            "compensation_failed" => Self::CompensationFailed(frame.on_step()?),
            "signal_received" => Self::SignalReceived(frame.data()?),
            "intervention_opened" => Self::InterventionOpened(frame.data()?),
            "intervention_escalated" => Self::InterventionEscalated(frame.data()?),
            "intervention_resolved" => Self::InterventionResolved(frame.data()?),
            "workflow_forked" => Self::WorkflowForked(frame.data()?),
            "workflow_paused" => Self::WorkflowPaused(frame.data()?),
            "workflow_resumed" => Self::WorkflowResumed(frame.data()?),
            "workflow_recovered" => Self::WorkflowRecovered(frame.data()?),
            "workflow_complete" => Self::WorkflowComplete(frame.data()?),
            "workflow_failed" => Self::WorkflowFailed(frame.data()?),
            "workflow_aborted" => Self::WorkflowAborted(frame.data()?),
            unknown => return Err(EventFault::UnknownKind(unknown.to_owned())),
        })
    }
}

impl Frame<()> {
    fn text<T: Serialize>(self, data: &T) -> String {
        let frame = Frame {
            kind: self.kind,
            thread_id: self.thread_id,
            seq: self.seq,
            step_id: self.step_id,
            attempt: self.attempt,
            at: self.at,
            data,
        };
        // Every field is a plain struct of strings, numbers and JSON text: encoding cannot fail.
        serde_json::to_string(&frame).unwrap_or_default()
    }
}

impl Frame<Box<RawValue>> {
    fn data<'a, T: Deserialize<'a>>(&'a self) -> Result<T, EventFault> {
        serde_json::from_str(self.data.get()).map_err(malformed)
    }

    fn on_step<'a, T: Deserialize<'a>>(&'a self) -> Result<OnStep<T>, EventFault> {
        let missing = || EventFault::Malformed("a step event names no step".to_owned());
        Ok(OnStep {
            step: self.step_id.clone().ok_or_else(missing)?,
            attempt: self.attempt.ok_or_else(missing)?,
            data: self.data()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Json, StepComplete};

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
}
