//! Answers commands with events: one file per group of commands.

mod control;
mod fork;
mod recover;
mod report;

pub use fork::{Fork, ForkRejection, fork};

use std::sync::Arc;

use super::bounds;
use super::decision::{Decided, Decision};
use super::ready::advance;
use super::{Command, DecisionContext, Rejection, ThreadState};
use crate::definition::{self, Allowance, Plan};
use crate::model::{Event, EventBody, ThreadId, WorkflowStart};

/// Begins a thread with its `workflow_start` alone. [`Command::Advance`] starts the first steps.
pub fn start(
    thread_id: ThreadId,
    plan: Arc<Plan>,
    body: WorkflowStart,
    context: DecisionContext,
) -> Option<(ThreadState, Event)> {
    let deadline = bounds::deadline(&plan, &context);
    let body = EventBody::WorkflowStart(WorkflowStart { deadline, ..body });
    let event = Event { seq: 1, at: context.now, body };
    Some((ThreadState::first(thread_id, plan, &event)?, event))
}

/// Decides what follows from a command, and folds the events into `state`.
///
/// A refused command changes nothing. After an accepted one, `state` is ahead of the journal until
/// the events are appended: if they cannot be, it must be dropped.
pub fn decide(
    state: &mut ThreadState,
    command: Command,
    context: DecisionContext,
) -> Result<Decided, Rejection> {
    definition::within(Allowance::DECISION, || decided(state, command, context))
}

fn decided(
    state: &mut ThreadState,
    command: Command,
    context: DecisionContext,
) -> Result<Decided, Rejection> {
    let plan = Arc::clone(&state.plan);
    let mut decision = Decision::new(&plan, state, context);
    match command {
        Command::Advance => advance(&mut decision),
        Command::Recover(takeover) => recover::recover(&mut decision, takeover),
        Command::Quarantine { takeover, losses } => {
            recover::quarantine(&mut decision, takeover, losses)?;
        }
        Command::Condemn { takeover, stood } => recover::condemn(&mut decision, takeover, stood)?,
        Command::Attempt { attempt, report } => {
            report::reported(&mut decision, attempt, report)?;
        }
        Command::Request(ask, actor) => control::asked(&mut decision, ask, &actor)?,
    }
    Ok(decision.into_decided())
}
