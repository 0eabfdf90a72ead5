//! The messages to a driver: reports of attempts, and that the thread's inbox has messages.

use super::admission::Admitted;
use crate::definition::{Fallback, PlanStep};
use crate::executor::{AttemptError, Room};
use crate::machine::{AttemptId, Report};
use crate::model::Json;

/// The bytes of an output that a thread takes whatever memory is left: its attempt was let begin.
const SMALL_OUTPUT: usize = 4 << 10;

/// A message to a driver.
#[derive(Debug)]
pub(in crate::runtime) enum Message {
    /// An attempt has ended, is slow, or is silent.
    Report(Reported),
    /// There may be messages in the thread's inbox.
    Mail,
}

/// A report of an attempt on its way to its thread.
#[derive(Debug)]
pub(in crate::runtime) struct Reported {
    pub(in crate::runtime) attempt: AttemptId,
    pub(in crate::runtime) report: Report,
    /// The memory of an output, and the place of its attempt, until the thread holds the output.
    pub(in crate::runtime) held: Option<Box<(Room, Option<Admitted>)>>,
}

impl Reported {
    /// Reports the end of an attempt. The output of a success is counted in `room` until it is
    /// decided, and keeps the place until then: else outputs pile up that nobody counts.
    pub(in crate::runtime) fn end(
        attempt: AttemptId,
        result: Result<Json, AttemptError>,
        (room, admitted): (Room, Option<Admitted>),
    ) -> Self {
        let held = result.as_ref().ok().map(|output| {
            room.keep(output.as_str().len());
            Box::new((room, admitted))
        });
        Self { attempt, report: result.into(), held }
    }
}

impl From<Result<Json, AttemptError>> for Report {
    fn from(result: Result<Json, AttemptError>) -> Self {
        match result {
            Ok(output) => Self::Done { output, session_id: None },
            Err(AttemptError { failure, retry_after }) => Self::Failed { failure, retry_after },
        }
    }
}

impl Report {
    /// Returns whether the attempt has ended.
    pub(in crate::runtime) const fn is_end(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Failed { .. })
    }

    /// Returns about how many bytes the report will take in the journal.
    pub(in crate::runtime) fn weight(&self) -> usize {
        match self {
            Self::Done { output, .. } => output.as_str().len(),
            Self::Failed { failure, .. } => failure.message.len(),
            Self::Slow | Self::Stale { .. } => 0,
        }
    }

    /// Returns whether the thread may become larger by this report of a step: by its output, or by
    /// one that takes its place.
    pub(in crate::runtime) fn grows(&self, step: &PlanStep) -> bool {
        match self {
            Self::Done { output, .. } => output.as_str().len() > SMALL_OUTPUT,
            Self::Failed { .. } => matches!(step.fallback, Some(Fallback::Output(_))),
            Self::Slow | Self::Stale { .. } => false,
        }
    }
}
