//! Explains why a thread does not move: the reason, since when, the end of it, and the one
//! operation that would end it.
//!
//! Pure: [`explain`] reads a state and the [`Facts`] that the runtime has found out besides (who
//! owns the thread, what the answering replica knows), and makes a list of [`Cause`](crate::contract::Cause)s. Every way to
//! stand still is one [`CauseKind`](crate::contract::CauseKind) and one small function that makes its cause: [`thread`] has
//! those of the thread's status, [`terminal`] those of its end, [`bounds`] those of its deadline,
//! abort or compensation, [`steps`] those of a step's status, and [`ownership`] those of everything
//! around it. It must never guess: unknown facts are left out. It gives advice as an [`Operation`](crate::contract::Operation);
//! the contract says how that is called. `runtime/calls/explain.rs` calls it.

mod bounds;
mod case;
mod cause;
mod facts;
mod format;
mod ownership;
mod question;
mod steps;
mod terminal;
#[cfg(test)]
mod tests;
mod thread;

pub use facts::{Answering, Facts, Hands, KnownCircuit, PendingMessage};

use crate::contract::Explanation;
use crate::machine::ThreadState;
use case::Case;

/// Explains why a thread does not move. `state` is absent if it could not be rebuilt, which is then
/// the cause.
///
/// There is always at least one cause, and the first is the one to act on.
pub fn explain(state: Option<&ThreadState>, facts: &Facts) -> Explanation {
    let status = state.map_or(facts.status, |state| state.status);
    let mut causes = ownership::causes(state, facts);
    if let Some(state) = state {
        causes.extend(thread::causes(&Case { state, facts }, causes.is_empty()));
    }
    // The sort is stable: causes of one kind stay in the order in which they were found.
    causes.sort_by_key(|cause| cause.kind);
    let sentence = causes.first().map(|cause| cause.sentence.clone()).unwrap_or_default();
    let sentence = match causes.len() {
        0 | 1 => sentence,
        2 => format!("{sentence} (One more cause follows.)"),
        all => format!("{sentence} ({} more causes follow.)", all - 1),
    };
    Explanation {
        thread_id: facts.thread_id.clone(),
        status,
        moving: state.is_some_and(|state| is_moving(state, facts)),
        sentence,
        causes,
        last_seq: state.map_or(facts.last_seq, |state| state.last_seq),
        updated_at: state.map_or(facts.updated_at, |state| state.updated_at),
        owner: if status.is_terminal() { None } else { facts.owner() },
        replica: facts.replica.name.clone(),
        at: facts.now,
    }
}

/// Returns whether an attempt is under way on a living replica.
fn is_moving(state: &ThreadState, facts: &Facts) -> bool {
    !state.status.is_terminal() && facts.is_driven() && state.has_running()
}
