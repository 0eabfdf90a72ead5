//! What a driver hears: how attempts ended, and that messages wait.

use crate::definition::Work;
use crate::executor::AttemptError;
use crate::machine::{AttemptId, Command, Report};
use crate::model::{Category, Failure, Json, codes};

/// What a driver is told.
#[derive(Debug)]
pub(in crate::runtime) enum Message {
    /// An attempt has ended, or is worth a warning.
    Attempt(Outcome),
    /// There may be messages in the thread's inbox.
    Mail,
}

/// What became of an attempt: how it ended, or that it is worth a warning.
#[derive(Debug)]
pub(in crate::runtime) struct Outcome {
    pub(in crate::runtime) attempt: AttemptId,
    pub(in crate::runtime) report: Report,
}

impl Outcome {
    /// An attempt has ended.
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

    /// How many bytes the journal will have of it, about.
    pub(in crate::runtime) fn weight(&self) -> usize {
        match &self.report {
            Report::Done { output, .. } => output.as_str().len(),
            Report::Failed { failure, .. } => failure.message.len(),
            Report::Slow | Report::Stale { .. } => 0,
        }
    }

    /// Whether it brings an output that is worth being held against what memory there is.
    pub(in crate::runtime) fn output(&self) -> Option<usize> {
        match &self.report {
            Report::Done { output, .. } => Some(output.as_str().len()),
            Report::Failed { .. } | Report::Slow | Report::Stale { .. } => None,
        }
    }

    /// The same attempt, failed for good: the thread has as much as this server holds of one.
    pub(in crate::runtime) fn too_much(mut self, most: usize) -> Self {
        let message = format!(
            "the outputs of this thread have more than {most} bytes in all, which is the most that \
             this server holds of one thread (RETHREAD_MEMORY_LIMIT)"
        );
        let failure = Failure::permanent(codes::PAYLOAD_TOO_LARGE, Category::Resource, message);
        self.report = Report::Failed { failure, retry_after: None };
        self
    }

    /// The command that tells the machine; an output beyond `max_event` bytes fails the step.
    pub(in crate::runtime) fn into_command(self, max_event: usize) -> Command {
        let Self { attempt, report } = self;
        let undoes = attempt.work == Work::Compensation;
        let report = match report {
            // What a compensation gives is not kept, however large.
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
