//! Receives a signal that somebody sends to a thread.

use super::super::attempt::deliver;
use super::super::decision::Decision;
use super::super::ready::settle_dependents;
use super::super::{Actor, Rejection, Signal};
use crate::model::{EventBody, Json, SignalReceived};

/// The number of signals that a thread keeps for steps that do not wait for them yet: more come
/// from a client in a loop.
const MAX_SIGNALS: usize = 1_000;

/// The size of a thread's untaken signals, in bytes (a larger one is kept alone): a replica that
/// loads the thread holds them all.
const MAX_SIGNAL_BYTES: usize = 4 << 20;

/// Takes a signal: a step that waits for it goes on, else the signal is kept.
pub(super) fn signal(
    decision: &mut Decision<'_>,
    name: &str,
    payload: Json,
    actor: &Actor,
) -> Result<(), Rejection> {
    if decision.state.status.is_terminal() {
        return Err(Rejection::WrongState(decision.state.status));
    }
    let awaited = decision.state.steps.iter().any(|step| step.own.signal() == Some(name));
    let kept: usize = decision.state.signals.iter().map(Signal::weight).sum();
    let too_many = decision.state.signals.len() >= MAX_SIGNALS
        || (kept > 0 && kept.saturating_add(payload.as_str().len()) > MAX_SIGNAL_BYTES);
    if too_many && !awaited {
        return Err(Rejection::TooManySignals);
    }
    let Actor { by, reason, .. } = actor.clone();
    let received = SignalReceived { name: name.to_owned(), payload, by, reason };
    decision.emit(EventBody::SignalReceived(received));
    for step in deliver(decision, name) {
        settle_dependents(decision, step);
    }
    Ok(())
}
