//! Counts durable events in the metrics.

use std::time::Duration;

use crate::machine::ThreadState;
use crate::model::{Event, EventBody, OnStep};
use crate::observe::Metrics;

pub(in crate::runtime) fn count(metrics: &Metrics, state: &ThreadState, events: &[Event]) {
    let namespace = state.thread_id.namespace();
    for event in events {
        if event.body.event_type().checkpoint {
            metrics.checkpoint(&namespace, event.body.kind());
        }
        match &event.body {
            EventBody::WorkflowStart(_) => {
                metrics.threads_started.inc();
            }
            EventBody::StepComplete(fact) => {
                let took = Duration::from_millis(fact.data.duration_ms);
                metrics.step_finished(kind(state, fact), "completed", Some(took));
            }
            EventBody::StepFailed(fact) => {
                let took = Duration::from_millis(fact.data.duration_ms);
                metrics.step_finished(kind(state, fact), "failed", Some(took));
            }
            EventBody::StepSkipped(fact) => {
                metrics.step_finished(kind(state, fact), "skipped", None);
            }
            EventBody::StepRetry(_) => {
                metrics.step_retries.inc();
            }
            EventBody::CompensationComplete(_) => metrics.compensated("completed"),
            EventBody::CompensationFailed(fact) => {
                metrics.compensated(if fact.data.is_final { "failed" } else { "retried" });
            }
            EventBody::WorkflowRecovered(data) => metrics.recovered(data.cause.as_str()),
            EventBody::WorkflowComplete(_) => metrics.thread_finished("completed"),
            EventBody::WorkflowFailed(_) => metrics.thread_finished("failed"),
            EventBody::WorkflowAborted(_) => metrics.thread_finished("aborted"),
            EventBody::StepStart(_)
            | EventBody::StepWaiting(_)
            | EventBody::StepEdited(_)
            | EventBody::StepTimeoutWarning(_)
            | EventBody::StepStale(_)
            | EventBody::CompensationStart(_)
            | EventBody::SignalReceived(_)
            | EventBody::InterventionOpened(_)
            | EventBody::InterventionEscalated(_)
            | EventBody::InterventionResolved(_)
            | EventBody::WorkflowPaused(_)
            | EventBody::WorkflowForked(_)
            | EventBody::WorkflowResumed(_) => {}
        }
    }
}

fn kind<T>(state: &ThreadState, fact: &OnStep<T>) -> &'static str {
    let step = state.plan.find(fact.step.as_str());
    step.map_or("unknown", |step| state.plan.steps[step].action.kind())
}
