//! Why a thread does not move: what it is waiting for, since when, what ends that, and the one call
//! that would.
//!
//! Pure: [`explain`] looks at a state and at what the runtime has found out besides (whose hands the
//! thread is in, what the answering replica knows), and comes to a list of [`Cause`]s. Every way to
//! stand still is one [`CauseKind`] and one small function that makes its cause: in [`thread`] what
//! follows from the thread's status, in [`terminal`] from its end, in [`bounds`] from what ends it, in
//! [`steps`] from a step's, in [`ownership`] from everything around it. It must never guess: what is not
//! known is left out. `runtime/calls/explain.rs` calls it.

mod bounds;
mod case;
mod cause;
mod facts;
mod format;
mod ownership;
mod question;
mod steps;
mod terminal;
mod thread;

pub use cause::{Call, Cause, CauseKind, Explanation};
pub use facts::{Answering, Facts, Hands, KnownCircuit, Letter};

use super::ThreadState;
use case::Case;

/// Says why a thread does not move. `state` is absent if it could not be rebuilt, which then is why.
///
/// There is always at least one cause, and the first is the one to act on.
pub fn explain(state: Option<&ThreadState>, facts: &Facts) -> Explanation {
    let status = state.map_or(facts.status, |state| state.status);
    let mut causes = ownership::causes(state, facts);
    if let Some(state) = state {
        causes.extend(thread::causes(&Case { state, facts }, causes.is_empty()));
    }
    // Stable: of causes of one kind those found first come first.
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

/// Whether an attempt is under way by somebody who lives.
fn is_moving(state: &ThreadState, facts: &Facts) -> bool {
    !state.status.is_terminal() && facts.is_driven() && state.has_running()
}
