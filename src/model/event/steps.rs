//! Data of the events about a step. The rules of `facts` hold here too.

use serde::{Deserialize, Deserializer, Serialize};

use crate::model::{Failure, Json, Timestamp};

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
pub(super) const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// A value that is there, be it `null`: beside `default` for one that is not.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

/// An attempt of a step was decided; it is performed once this is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepStart {
    /// The step's kind, or that of its fallback.
    pub kind: String,
    /// Whether it is an attempt of the step's fallback; left out if it is not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fallback: bool,
    /// The caller who had it started before it was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The step waits for a moment, without an attempt under way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepWaiting {
    /// The reason of the wait: `timer`, `signal`, `approval`, or `blocked` for a person's decision
    /// about the output.
    pub reason: String,
    /// Until when; `null` if for ever.
    pub until: Option<Timestamp>,
    /// The signal's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The output that its `check` has blocked: the step's, if a person accepts it.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
    /// How long the attempt took that gave this output, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// The agent session that this attempt ran in, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
}

impl StepWaiting {
    /// The reason of a wait for a time.
    pub const TIMER: &str = "timer";
    /// The reason of a wait for a signal.
    pub const SIGNAL: &str = "signal";
    /// The reason of a wait for a person's decision.
    pub const APPROVAL: &str = "approval";
    /// The reason of a wait for a person's decision about a blocked output.
    pub const BLOCKED: &str = "blocked";
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
    /// Whether the step has used its attempts and its fallback takes over with the next one; left
    /// out if it does not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fallback: bool,
    /// Whether a person had the attempt cancelled, which does not count against the retry policy;
    /// left out if nobody had.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cancelled: bool,
}

/// An attempt has run for longer than the step's `warnAfter`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepTimeoutWarning {
    /// How long it has run, in milliseconds.
    pub elapsed_ms: u64,
    /// After how long it will be ended, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// Whether it is an attempt of the step's compensation; left out if it is not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub compensation: bool,
}

/// An attempt has shown no sign of life for `RETHREAD_STALE_AFTER`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepStale {
    /// For how long it has been silent, in milliseconds.
    pub silent_ms: u64,
    /// Whether it is an attempt of the step's compensation; left out if it is not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub compensation: bool,
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
    /// Whether the output is that of the step's fallback; left out if it is not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fallback: bool,
    /// Why the last attempt failed, where the output of a fallback stands in for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
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
    /// `condition` if its `when` was false, `dependencies` if all it depends on was skipped; what a
    /// person gave as the reason, if one did it.
    pub reason: String,
    /// The person who did. What depends on the step runs then, and sees the output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The output that the person gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
}

/// A person put another output in the place of a completed step's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepEdited {
    /// The output from now on.
    pub output: Json,
    /// The caller who did.
    pub by: String,
    /// Why, if it was said.
    pub reason: Option<String>,
}
