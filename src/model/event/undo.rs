//! Data of the events of a compensation, and the summary of it in the event that ends a thread. The
//! rules of `facts` hold here too.

use serde::{Deserialize, Serialize};

use crate::model::{Failure, StepId, Timestamp};

/// An attempt to undo a completed step was decided; it is performed once this is durable. The first
/// one ends whatever else was under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompensationStart {
    /// The kind of the compensation.
    pub kind: String,
    /// The caller who had the thread undone, or this attempt made before it was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why the thread fails, where no step has said it before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// The step is undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompensationComplete {
    /// How long the attempt took, in milliseconds.
    pub duration_ms: u64,
}

/// An attempt to undo a step failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompensationFailed {
    /// Why.
    pub error: Failure,
    /// How long the attempt took, in milliseconds.
    pub duration_ms: u64,
    /// Whether it was the last one: the step is left as it is, and the others are undone.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// When the next one starts; drawn once, never computed again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// How long that is from now, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
}

/// What of a thread was undone, and what was not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compensation {
    /// The steps that are undone, those that completed last first.
    pub completed: Vec<StepId>,
    /// The completed steps with a compensation that are not, in the same order.
    pub left: Vec<NotCompensated>,
}

/// A completed step that was not undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotCompensated {
    /// The step.
    pub step_id: StepId,
    /// Why the last attempt failed; `null` where none has.
    pub error: Option<Failure>,
}
