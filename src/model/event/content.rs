//! The content of an event without its place and time, for threads that share a history.
//!
//! A fork begins with the events of another thread as events of its own, and two threads are
//! compared by what happened in them. Called by the runtime; nothing here is ever written as it is
//! but by a fork.

use super::{EventBody, InterventionEscalated, InterventionOpened, InterventionResolved};
use crate::model::{Incarnation, ThreadId, Timestamp};

/// A time that stands for any.
const ANY_TIME: Timestamp = Timestamp::from_millis(0);
/// A replica that stands for any.
const ANY_REPLICA: Incarnation = 0;

impl EventBody {
    /// The same fact as one of another thread: the ids of interventions begin with their thread's.
    #[must_use]
    pub fn moved(mut self, from: &ThreadId, to: &str) -> Self {
        if let Self::InterventionOpened(InterventionOpened { id, .. })
        | Self::InterventionEscalated(InterventionEscalated { id, .. })
        | Self::InterventionResolved(InterventionResolved { id, .. }) = &mut self
            && let Some(number) = id.strip_prefix(from.text()).and_then(|id| id.strip_prefix('~'))
        {
            *id = format!("{to}~{number}");
        }
        self
    }

    /// The content of an event of `thread`, without members that differ between two equal runs: ids
    /// of threads and replicas, times, and durations.
    #[must_use]
    pub fn content(self, thread: &ThreadId) -> Self {
        let mut body = self.moved(thread, "");
        match &mut body {
            Self::WorkflowStart(data) => {
                data.traceparent = None;
                data.forked_from = None;
                any_time(&mut data.deadline);
            }
            Self::StepWaiting(fact) => {
                any_time(&mut fact.data.until);
                fact.data.duration_ms = fact.data.duration_ms.map(|_| 0);
            }
            Self::StepRetry(fact) => {
                fact.data.retry_at = ANY_TIME;
                fact.data.delay_ms = 0;
            }
            Self::StepTimeoutWarning(fact) => fact.data.elapsed_ms = 0,
            Self::StepStale(fact) => fact.data.silent_ms = 0,
            Self::StepComplete(fact) => fact.data.duration_ms = 0,
            Self::StepFailed(fact) => fact.data.duration_ms = 0,
            Self::InterventionOpened(data) => {
                any_time(&mut data.expires_at);
                any_time(&mut data.escalates_at);
            }
            Self::InterventionEscalated(data) => {
                data.opened_at = ANY_TIME;
                any_time(&mut data.expires_at);
            }
            Self::CompensationComplete(fact) => fact.data.duration_ms = 0,
            Self::CompensationFailed(fact) => {
                fact.data.duration_ms = 0;
                any_time(&mut fact.data.retry_at);
                fact.data.delay_ms = fact.data.delay_ms.map(|_| 0);
            }
            Self::WorkflowPaused(data) => any_time(&mut data.aborts_at),
            Self::WorkflowForked(data) => any_time(&mut data.deadline),
            Self::WorkflowResumed(data) => any_time(&mut data.deadline),
            Self::WorkflowRecovered(data) => data.previous_owner = ANY_REPLICA,
            Self::WorkflowComplete(data) => data.duration_ms = 0,
            Self::WorkflowFailed(data) => data.duration_ms = 0,
            Self::StepStart(_)
            | Self::StepSkipped(_)
            | Self::StepEdited(_)
            | Self::SignalReceived(_)
            | Self::InterventionResolved(_)
            | Self::CompensationStart(_)
            | Self::WorkflowAborted(_) => {}
        }
        body
    }
}

fn any_time(at: &mut Option<Timestamp>) {
    *at = at.map(|_| ANY_TIME);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Json, OnStep, StepComplete, StepId};

    #[test]
    fn an_intervention_follows_its_thread_and_a_name_alike_does_not() {
        let (from, to) = (ThreadId::parse("t").unwrap(), "u");
        let decided = |id: &str| {
            EventBody::InterventionResolved(InterventionResolved {
                id: id.to_owned(),
                choice: "approve".to_owned(),
                by: "ann".to_owned(),
                on_behalf_of: None,
                comment: None,
                digest: None,
            })
        };
        assert_eq!(decided("t~7").moved(&from, to), decided("u~7"));
        assert_eq!(decided("tt~7").moved(&from, to), decided("tt~7"));
    }

    #[test]
    fn two_runs_say_the_same_if_only_their_times_differ() {
        let done = |output: &str, duration_ms| {
            EventBody::StepComplete(OnStep {
                step: StepId::parse("a").unwrap(),
                attempt: 1,
                data: StepComplete {
                    output: Json::parse(output).unwrap(),
                    duration_ms,
                    session_id: None,
                    fallback: false,
                    error: None,
                },
            })
        };
        let thread = ThreadId::parse("t").unwrap();
        assert_eq!(done("1", 5).content(&thread), done("1", 9).content(&thread));
        assert_ne!(done("1", 5).content(&thread), done("2", 5).content(&thread));
    }
}
