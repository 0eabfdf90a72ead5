//! Answers commands with events: one file per group of commands.

mod compensation;
mod control;
mod fork;
mod recover;
mod result;

pub use fork::{Fork, ForkRejection, fork};

use std::sync::Arc;

use super::bounds;
use super::draft::Draft;
use super::ready::advance;
use super::{Command, Moment, Rejection, ThreadState};
use crate::definition::{self, Plan};
use crate::model::{Event, EventBody, ThreadId, WorkflowStart};

/// What all conditions and checks of one decision may use, in units of about a tenth of a microsecond:
/// a few seconds for a thousand of them over a megabyte, and nothing that anybody waits for: large ones
/// are decided apart.
const ALLOWANCE: u64 = 20_000_000;

/// Begins a thread: its `workflow_start` alone. [`Command::Advance`] starts the first steps.
pub fn start(
    thread_id: ThreadId,
    plan: Arc<Plan>,
    body: WorkflowStart,
    moment: Moment,
) -> Option<(ThreadState, Event)> {
    let deadline = bounds::deadline(&plan, &moment);
    let body = EventBody::WorkflowStart(WorkflowStart { deadline, ..body });
    let event = Event { seq: 1, at: moment.now, body };
    Some((ThreadState::first(thread_id, plan, &event)?, event))
}

/// Decides what follows from a command, and folds it into `state`.
///
/// A refused command changes nothing. After an accepted one, `state` is ahead of the journal until
/// the events are appended: if they cannot be, it must be dropped.
pub fn decide(
    state: &mut ThreadState,
    command: Command,
    moment: Moment,
) -> Result<Vec<Event>, Rejection> {
    definition::within(ALLOWANCE, || decided(state, command, moment))
}

fn decided(
    state: &mut ThreadState,
    command: Command,
    moment: Moment,
) -> Result<Vec<Event>, Rejection> {
    let mut draft = Draft::new(state, moment);
    match command {
        Command::Advance => advance(&mut draft),
        Command::Recover(takeover) => recover::recover(&mut draft, takeover),
        Command::Quarantine { takeover, losses } => {
            recover::quarantine(&mut draft, takeover, losses)?;
        }
        Command::Condemn { takeover, stood } => recover::condemn(&mut draft, takeover, stood)?,
        Command::Attempt { step, attempt, undoes: false, report } => {
            result::reported(&mut draft, (step, attempt), report)?;
        }
        Command::Attempt { step, attempt, undoes: true, report } => {
            compensation::reported(&mut draft, (step, attempt), report)?;
        }
        Command::Ask(ask, who) => control::asked(&mut draft, ask, &who)?,
    }
    Ok(draft.into_events())
}
