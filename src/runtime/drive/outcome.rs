//! The messages to a driver: outcomes of attempts, and that the thread's inbox has messages.

use crate::definition::{Fallback, Plan, Work};
use crate::executor::AttemptError;
use crate::machine::{AttemptId, Command, Report, too_much};
use crate::model::{Category, Failure, Json, codes};

/// The bytes of an output that a thread takes whatever memory is left: its attempt was let begin.
const SMALL_OUTPUT: usize = 4 << 10;

/// A message to a driver.
#[derive(Debug)]
pub(in crate::runtime) enum Message {
    /// A report of an attempt: it has ended, is slow, or is silent.
    Attempt(Outcome),
    /// There may be messages in the thread's inbox.
    Mail,
}

/// A report of an attempt: how it ended, or that it is worth a warning.
#[derive(Debug)]
pub(in crate::runtime) struct Outcome {
    pub(in crate::runtime) attempt: AttemptId,
    pub(in crate::runtime) report: Report,
}

impl Outcome {
    /// Creates the outcome of an attempt that has ended.
    pub(in crate::runtime) fn ended(
        attempt: AttemptId,
        result: Result<Json, AttemptError>,
    ) -> Self {
        let report = match result {
            Ok(output) => Report::Done { output, session_id: None },
            Err(AttemptError { failure, retry_after }) => Report::Failed { failure, retry_after },
        };
        Self { attempt, report }
    }

    /// Returns whether the attempt has ended.
    pub(in crate::runtime) const fn is_end(&self) -> bool {
        matches!(self.report, Report::Done { .. } | Report::Failed { .. })
    }

    /// Returns about how many bytes the outcome will take in the journal.
    pub(in crate::runtime) fn weight(&self) -> usize {
        match &self.report {
            Report::Done { output, .. } => output.as_str().len(),
            Report::Failed { failure, .. } => failure.message.len(),
            Report::Slow | Report::Stale { .. } => 0,
        }
    }

    /// Returns the size of the output, in bytes, if there is one to check against the thread's
    /// memory limit.
    pub(in crate::runtime) fn output(&self) -> Option<usize> {
        match &self.report {
            Report::Done { output, .. } => Some(output.as_str().len()),
            Report::Failed { .. } | Report::Slow | Report::Stale { .. } => None,
        }
    }

    /// Returns whether the thread may become larger by this outcome: by its output, or by one that
    /// takes its place.
    pub(in crate::runtime) fn grows(&self, plan: &Plan) -> bool {
        match &self.report {
            Report::Done { output, .. } => output.as_str().len() > SMALL_OUTPUT,
            Report::Failed { .. } => {
                matches!(plan.steps[self.attempt.step].fallback, Some(Fallback::Output(_)))
            }
            Report::Slow | Report::Stale { .. } => false,
        }
    }

    /// Fails the attempt for good, because the thread already takes as much as this server holds of
    /// one.
    pub(in crate::runtime) fn too_much(mut self, most: usize) -> Self {
        let failure = too_much(most);
        self.report = Report::Failed { failure, retry_after: None };
        self
    }

    /// Converts the outcome into a command; an output beyond `max_event` bytes fails the step.
    pub(in crate::runtime) fn into_command(self, max_event: usize) -> Command {
        let Self { attempt, report } = self;
        let undoes = attempt.work == Work::Compensation;
        let report = match report {
            // The output of a compensation is not kept, so its size does not matter.
            Report::Done { output, .. } if !undoes && output.as_str().len() > max_event => {
                let size = output.as_str().len();
                let failure = Failure::permanent(
                    codes::PAYLOAD_TOO_LARGE,
                    Category::Resource,
                    format!("the output has {size} bytes; at most {max_event} are kept"),
                );
                Report::Failed { failure, retry_after: None }
            }
            report @ (Report::Done { .. }
            | Report::Failed { .. }
            | Report::Slow
            | Report::Stale { .. }) => report,
        };
        Command::Attempt { attempt, report }
    }
}
