//! Answers commands with events: one file per request of people and clients, one for the reports
//! of attempts, one for takeovers.

mod abort;
mod edit;
mod fork;
mod onward;
mod pause;
mod recover;
mod refuse;
mod report;
mod resolve;
mod resume;
mod retry;
mod signal;
mod skip;

pub use fork::{Fork, ForkRejection, fork};
pub use recover::pause_unread;

use std::sync::Arc;

use super::bounds;
use super::decision::{Decided, Decision};
use super::ready::advance;
use super::{Actor, Command, DecisionContext, Rejection, Request, ThreadState};
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
        Command::Request(request, actor) => requested(&mut decision, request, &actor)?,
    }
    Ok(decision.into_decided())
}

/// Decides a request: it becomes one event with actor and reason, and the events that follow from
/// it.
fn requested(
    decision: &mut Decision<'_>,
    request: Request,
    actor: &Actor,
) -> Result<(), Rejection> {
    match request {
        Request::Pause => pause::pause(decision, actor),
        Request::Resume(how) => resume::resume(decision, how, actor),
        Request::Abort(how) => abort::abort(decision, how, actor),
        Request::Retry { step } => retry::retry(decision, step, actor),
        Request::Skip { step, output } => skip::skip(decision, step, output, actor),
        Request::Edit { step, output } => edit::edit(decision, step, output, actor),
        Request::Signal { name, payload } => signal::signal(decision, &name, payload, actor),
        Request::Resolve { id, choice, digest } => {
            let decided = resolve::resolution(decision, (id, choice), digest.as_deref(), actor)?;
            resolve::resolve(decision, decided, actor)
        }
    }
}
