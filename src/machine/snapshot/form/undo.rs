//! The members that tell how far a thread was undone: like `form`, by whose rules they go.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::values::{FailureForm, Time, moment, time};
use crate::machine::snapshot::SnapshotFault;
use crate::machine::{Ending, Stopped, Undo, Undoing, Who};
use crate::model::StepStatus;

/// How far a compensation has come.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct UndoForm<'a> {
    attempt_at: Option<Time>,
    error: Option<FailureForm<'a>>,
    failures: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    stale: bool,
    status: StepStatus,
    wake_at: Option<Time>,
    warned: bool,
}

impl<'a> UndoForm<'a> {
    pub(super) fn of(undo: &'a Undo) -> Self {
        let Undo { status, failures, attempt_at, wake_at, error, warned, stale } = undo;
        Self {
            attempt_at: attempt_at.map(time),
            error: error.as_ref().map(FailureForm::of),
            failures: *failures,
            stale: *stale,
            status: *status,
            wake_at: wake_at.map(time),
            warned: *warned,
        }
    }

    pub(super) fn into_undo(self) -> Result<Undo, SnapshotFault> {
        Ok(Undo {
            status: self.status,
            failures: self.failures,
            attempt_at: self.attempt_at.map(moment),
            wake_at: self.wake_at.map(moment),
            error: self.error.map(FailureForm::into_failure).transpose()?,
            warned: self.warned,
            stale: self.stale,
        })
    }
}

/// Why a thread is undone: the person who has aborted it, if it has not failed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct UndoingForm<'a> {
    by: Option<Cow<'a, str>>,
    reason: Option<Cow<'a, str>>,
}

impl<'a> UndoingForm<'a> {
    pub(super) fn of(undoing: &'a Undoing) -> Self {
        match undoing {
            Undoing::Failure => Self { by: None, reason: None },
            Undoing::Abort(Who { by, reason, .. }) => {
                Self { by: Some(by.into()), reason: reason.as_deref().map(Cow::from) }
            }
        }
    }

    pub(super) fn into_undoing(self) -> Undoing {
        let reason = self.reason.map(Cow::into_owned);
        match self.by {
            Some(by) => Undoing::Abort(Who { by: by.into_owned(), reason, ..Who::default() }),
            None => Undoing::Failure,
        }
    }
}

/// How a thread was stopped.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct StoppedForm<'a> {
    at: Time,
    by: Cow<'a, str>,
    ending: Option<EndingForm>,
    reason: Option<Cow<'a, str>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EndingForm {
    at: Time,
    compensate: bool,
}

impl<'a> StoppedForm<'a> {
    pub(super) fn of(stopped: &'a Stopped) -> Self {
        let Stopped { at, who: Who { by, reason, .. }, ending } = stopped;
        let ending =
            ending.map(|Ending { at, compensate }| EndingForm { at: time(at), compensate });
        let reason = reason.as_deref().map(Cow::Borrowed);
        Self { at: time(*at), by: by.as_str().into(), ending, reason }
    }

    pub(super) fn into_state(self) -> Stopped {
        let (by, reason) = (self.by.into_owned(), self.reason.map(Cow::into_owned));
        let ending =
            self.ending.map(|EndingForm { at, compensate }| Ending { at: moment(at), compensate });
        Stopped { at: moment(self.at), who: Who { by, reason, ..Who::default() }, ending }
    }
}
