//! The members that tell where a step stands: like `form`, by whose rules they go.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::undo::UndoForm;
use super::values::{FailureForm, Time, Wide, json, moment, text, time};
use crate::machine::snapshot::SnapshotFault;
use crate::machine::{Held, StepState};
use crate::model::{Seq, StepStatus};

/// A step.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, as in the state")]
pub(super) struct StepForm<'a> {
    admitted: bool,
    attempt_at: Option<Time>,
    attempts: u32,
    bypassed: bool,
    completed_at: Option<Time>,
    completed_seq: Wide<Seq>,
    continued: bool,
    error: Option<FailureForm<'a>>,
    failed_at: Option<Time>,
    failures: u32,
    fallback: bool,
    held: Option<HeldForm<'a>>,
    pub(super) id: Cow<'a, str>,
    output: Option<Cow<'a, str>>,
    rounds: u32,
    session_id: Option<Cow<'a, str>>,
    signal: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    stale: bool,
    started_at: Option<Time>,
    status: StepStatus,
    undo: Option<UndoForm<'a>>,
    undo_attempts: u32,
    wake_at: Option<Time>,
    warned: bool,
}

impl<'a> StepForm<'a> {
    pub(super) fn of(id: &'a str, state: &'a StepState) -> Self {
        let StepState {
            status,
            attempts,
            failures,
            started_at,
            attempt_at,
            completed_at,
            failed_at,
            wake_at,
            output,
            error,
            session_id,
            continued,
            warned,
            stale,
            admitted,
            bypassed,
            signal,
            fallback,
            completed_seq,
            undo,
            undo_attempts,
            rounds,
            held,
        } = state;
        Self {
            admitted: *admitted,
            attempt_at: attempt_at.map(time),
            attempts: *attempts,
            bypassed: *bypassed,
            completed_at: completed_at.map(time),
            completed_seq: Wide(*completed_seq),
            continued: *continued,
            error: error.as_ref().map(FailureForm::of),
            failed_at: failed_at.map(time),
            failures: *failures,
            fallback: *fallback,
            held: held.as_ref().map(HeldForm::of),
            id: id.into(),
            output: output.as_ref().map(text),
            rounds: *rounds,
            session_id: session_id.as_deref().map(Cow::Borrowed),
            signal: signal.as_deref().map(Cow::Borrowed),
            stale: *stale,
            started_at: started_at.map(time),
            status: *status,
            undo: undo.as_deref().map(UndoForm::of),
            undo_attempts: *undo_attempts,
            wake_at: wake_at.map(time),
            warned: *warned,
        }
    }

    pub(super) fn into_state(self) -> Result<StepState, SnapshotFault> {
        Ok(StepState {
            status: self.status,
            attempts: self.attempts,
            failures: self.failures,
            started_at: self.started_at.map(moment),
            attempt_at: self.attempt_at.map(moment),
            completed_at: self.completed_at.map(moment),
            failed_at: self.failed_at.map(moment),
            wake_at: self.wake_at.map(moment),
            output: self.output.map(json).transpose()?,
            error: self.error.map(FailureForm::into_failure).transpose()?,
            session_id: self.session_id.map(Cow::into_owned),
            continued: self.continued,
            warned: self.warned,
            stale: self.stale,
            admitted: self.admitted,
            bypassed: self.bypassed,
            signal: self.signal.map(Cow::into_owned),
            fallback: self.fallback,
            completed_seq: self.completed_seq.0,
            undo: self.undo.map(UndoForm::into_undo).transpose()?.map(Box::new),
            undo_attempts: self.undo_attempts,
            rounds: self.rounds,
            held: self.held.map(HeldForm::into_state).transpose()?,
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HeldForm<'a> {
    duration_ms: Wide<u64>,
    output: Cow<'a, str>,
    session_id: Option<Cow<'a, str>>,
}

impl<'a> HeldForm<'a> {
    pub(super) fn of(held: &'a Held) -> Self {
        let Held { output, duration_ms, session_id } = held;
        Self {
            duration_ms: Wide(*duration_ms),
            output: text(output),
            session_id: session_id.as_deref().map(Cow::Borrowed),
        }
    }

    pub(super) fn into_state(self) -> Result<Held, SnapshotFault> {
        Ok(Held {
            output: json(self.output)?,
            duration_ms: self.duration_ms.0,
            session_id: self.session_id.map(Cow::into_owned),
        })
    }
}
