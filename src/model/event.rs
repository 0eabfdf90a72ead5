//! The journal's records: one per state change, and the very frames that clients see.
//!
//! An event is encoded once, when it is decided; those bytes are stored, streamed and read back
//! for ever after. Adding a kind: a variant here, its data struct, a line in [`EventBody::kind`]
//! and in the two tables at the end; the compiler then asks for its `apply` in `machine`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Failure, Incarnation, Json, Seq, StepId, ThreadId, Timestamp};

/// A past fact about one thread.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its number within the thread.
    pub seq: Seq,
    /// When it was decided.
    pub at: Timestamp,
    /// What happened.
    pub body: EventBody,
}

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

impl<T> OnStep<T> {
    #[expect(clippy::unnecessary_wraps, reason = "beside `None` for events of no step")]
    const fn place(&self) -> Option<(&StepId, u32)> {
        Some((&self.step, self.attempt))
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each data struct documents its event")]
pub enum EventBody {
    WorkflowStart(WorkflowStart),
    StepStart(OnStep<StepStart>),
    StepWaiting(OnStep<StepWaiting>),
    StepRetry(OnStep<StepRetry>),
    StepTimeoutWarning(OnStep<StepTimeoutWarning>),
    StepComplete(OnStep<StepComplete>),
    StepFailed(OnStep<StepFailed>),
    StepSkipped(OnStep<StepSkipped>),
    WorkflowResumed(WorkflowResumed),
    WorkflowRecovered(WorkflowRecovered),
    WorkflowComplete(WorkflowComplete),
    WorkflowFailed(WorkflowFailed),
    WorkflowAborted(WorkflowAborted),
}

/// Which definition a thread executes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowRef {
    /// The workflow's name.
    pub name: String,
    /// Its version if it was stored under its name, else `null`.
    pub version: Option<u32>,
    /// SHA-256 of the definition's text, in hex: the key under which the store keeps it.
    pub hash: String,
}

/// The thread was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowStart {
    /// The definition it executes.
    pub workflow: WorkflowRef,
    /// The input, exactly as it came.
    pub input: Json,
    /// What the client attached, an object.
    pub metadata: Json,
    /// Who started it: an API key's name, or `anonymous`.
    pub by: String,
    /// The named queue it was put in, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Its priority, if one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// W3C trace context of the invoke, handed on by every http attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// An attempt of a step was decided; it is performed once this is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepStart {
    /// The step's kind.
    pub kind: String,
}

/// The step waits for a moment, without an attempt under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepWaiting {
    /// What it waits for: `timer` for a `sleep`.
    pub reason: String,
    /// Until when.
    pub until: Timestamp,
}

/// An attempt failed and another will follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepRetry {
    /// Why the attempt failed.
    pub error: Failure,
    /// When the next one starts; drawn once, never computed again.
    pub retry_at: Timestamp,
    /// How long that is from now, in milliseconds.
    pub delay_ms: u64,
}

/// An attempt has run for longer than the step's `warnAfter`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepTimeoutWarning {
    /// How long it has run, in milliseconds.
    pub elapsed_ms: u64,
    /// After how long it will be ended, in milliseconds.
    pub timeout_ms: Option<u64>,
}

/// The step ended with an output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepComplete {
    /// The output, exactly as the step gave it.
    pub output: Json,
    /// How long the attempt took, in milliseconds.
    pub duration_ms: u64,
    /// The agent session it ran in, if any.
    pub session_id: Option<String>,
}

/// The step used up its attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepFailed {
    /// Why the last attempt failed.
    pub error: Failure,
    /// Whether the thread goes on all the same (`continueOnError`).
    pub continued: bool,
    /// How long the last attempt took, in milliseconds.
    pub duration_ms: u64,
}

/// The step will not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepSkipped {
    /// `condition` if its `when` was false, `dependencies` if all it depends on was skipped.
    pub reason: String,
}

/// A person or a client set an ended or paused thread going again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowResumed {
    /// Who did.
    pub by: String,
    /// Why, if it was said.
    pub reason: Option<String>,
}

/// Why another incarnation took a thread over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryCause {
    /// The replica that drove it was lost.
    ReplicaLost,
    /// The replica that drove it handed it over while a step was under way.
    Handover,
}

impl RecoveryCause {
    /// The cause as events and metrics name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReplicaLost => "replica_lost",
            Self::Handover => "handover",
        }
    }
}

/// The thread goes on under another incarnation, from its last completed step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowRecovered {
    /// Why it had to.
    pub cause: RecoveryCause,
    /// The incarnation that drove it before.
    pub previous_owner: Incarnation,
    /// The last event before the takeover.
    pub from_seq: Seq,
    /// The steps whose attempts were lost and are made again.
    pub steps: Vec<StepId>,
}

/// Every step ended well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowComplete {
    /// The thread's output.
    pub output: Json,
    /// How long the thread took from its start, in milliseconds.
    pub duration_ms: u64,
}

/// A step used up its attempts, and no other attempt is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowFailed {
    /// Why.
    pub error: Failure,
    /// How long the thread took from its start, in milliseconds.
    pub duration_ms: u64,
}

/// A person stopped the thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowAborted {
    /// Who did.
    pub by: String,
    /// Why, if it was said.
    pub reason: Option<String>,
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

/// Every type of event that this version writes.
const KINDS: [&str; 13] = [
    "workflow_start",
    "step_start",
    "step_waiting",
    "step_retry",
    "step_timeout_warning",
    "step_complete",
    "step_failed",
    "step_skipped",
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

    /// How long after the thread's `start` this happened.
    pub fn since(&self, start: Timestamp) -> Duration {
        self.at.since(start)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function in map_err")]
fn malformed(fault: serde_json::Error) -> EventFault {
    EventFault::Malformed(fault.to_string())
}

impl EventBody {
    /// The event's type as clients see it: also the SSE event name.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::WorkflowStart(_) => "workflow_start",
            Self::StepStart(_) => "step_start",
            Self::StepWaiting(_) => "step_waiting",
            Self::StepRetry(_) => "step_retry",
            Self::StepTimeoutWarning(_) => "step_timeout_warning",
            Self::StepComplete(_) => "step_complete",
            Self::StepFailed(_) => "step_failed",
            Self::StepSkipped(_) => "step_skipped",
            Self::WorkflowResumed(_) => "workflow_resumed",
            Self::WorkflowRecovered(_) => "workflow_recovered",
            Self::WorkflowComplete(_) => "workflow_complete",
            Self::WorkflowFailed(_) => "workflow_failed",
            Self::WorkflowAborted(_) => "workflow_aborted",
        }
    }

    /// Whether the thread has ended with this event.
    pub const fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::WorkflowComplete(_) | Self::WorkflowFailed(_) | Self::WorkflowAborted(_)
        )
    }

    /// The step it is about, if it is about one.
    pub const fn step(&self) -> Option<&StepId> {
        match self {
            Self::StepStart(fact) => Some(&fact.step),
            Self::StepWaiting(fact) => Some(&fact.step),
            Self::StepRetry(fact) => Some(&fact.step),
            Self::StepTimeoutWarning(fact) => Some(&fact.step),
            Self::StepComplete(fact) => Some(&fact.step),
            Self::StepFailed(fact) => Some(&fact.step),
            Self::StepSkipped(fact) => Some(&fact.step),
            Self::WorkflowStart(_)
            | Self::WorkflowResumed(_)
            | Self::WorkflowRecovered(_)
            | Self::WorkflowComplete(_)
            | Self::WorkflowFailed(_)
            | Self::WorkflowAborted(_) => None,
        }
    }

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
            Self::StepComplete(fact) => on(fact.place()).text(&fact.data),
            Self::StepFailed(fact) => on(fact.place()).text(&fact.data),
            Self::StepSkipped(fact) => on(fact.place()).text(&fact.data),
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
            "step_complete" => Self::StepComplete(frame.on_step()?),
            "step_failed" => Self::StepFailed(frame.on_step()?),
            "step_skipped" => Self::StepSkipped(frame.on_step()?),
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
