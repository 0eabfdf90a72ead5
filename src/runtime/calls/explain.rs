//! Gathers the facts about a thread that does not move, for `GET …/explain`.
//!
//! [`crate::explain`], which does no I/O, draws the conclusions. Nothing
//! is changed here, and nothing is guessed: of circuits only this replica's knowledge is reported,
//! of other replicas only the store's.

use std::collections::BTreeMap;
use std::time::Duration;

use super::patience::persistently;
use crate::contract::Explanation;
use crate::definition::{self, Allowance, StepIx};
use crate::explain::{self, Answering, Facts, Hands, KnownCircuit, PendingMessage};
use crate::machine::ThreadState;
use crate::model::{ThreadId, Timestamp};
use crate::runtime::claim::recoveries;
use crate::runtime::core::Core;
use crate::runtime::drive::attempts::circuit_of;
use crate::runtime::drive::inbox;
use crate::runtime::drive::load::{LoadError, load_to_show};
use crate::runtime::lease::renew::BEATS;
use crate::runtime::types::RuntimeError;
use crate::store::{Ownership, ThreadRow};

/// The tries to read the row and the journal of a thread in the same state: a thread that changes
/// between the two reads in each of them does move.
const LOOKS: u32 = 3;
/// The number of heartbeats that a replica may miss before that is reported: hiccups of the network
/// cost one or two.
const LATE_BEATS: u32 = 3;
/// The number of inbox messages that are named.
const MAX_LETTERS: usize = 20;

/// A thread as it was found.
struct Found {
    row: ThreadRow,
    ownership: Ownership,
    state: Result<ThreadState, String>,
}

/// Explains why a thread does not move.
pub(in crate::runtime) async fn explain(
    core: &Core,
    thread: &ThreadId,
) -> Result<Explanation, RuntimeError> {
    let found = find(core, thread).await?;
    let facts = facts(core, &found).await?;
    Ok(explain::explain(found.state.as_ref().ok(), &facts))
}

/// Reads until the row and the journal agree, or the thread is seen to move.
async fn find(core: &Core, thread: &ThreadId) -> Result<Found, RuntimeError> {
    let mut looks = 0;
    loop {
        looks += 1;
        let found = persistently(core, || look(core, thread)).await?;
        let agree = found.state.as_ref().is_ok_and(|state| state.last_seq == found.row.last_seq);
        if agree || looks >= LOOKS {
            return Ok(found);
        }
    }
}

async fn look(core: &Core, thread: &ThreadId) -> Result<Found, RuntimeError> {
    let state = match load_to_show(core, thread, None).await {
        Ok(loaded) => Ok(loaded.state),
        Err(LoadError::Store(error)) if error.is_transient() => return Err(error.into()),
        Err(LoadError::Overloaded(refused)) => return Err(refused.into()),
        Err(error) => Err(error),
    };
    let row = core.shown.store().thread(thread).await?.ok_or(RuntimeError::ThreadNotFound)?;
    let ownership =
        core.shown.store().ownership(thread).await?.ok_or(RuntimeError::ThreadNotFound)?;
    let state = state.map_err(|error| {
        tracing::warn!(%thread, %error, "a thread that is to be explained cannot be read");
        if error.is_damage() || matches!(error, LoadError::Definition(..) | LoadError::Event(_)) {
            error.to_string()
        } else {
            "its journal cannot be read; the server's log has the details".to_owned()
        }
    });
    Ok(Found { row, ownership, state })
}

async fn facts(core: &Core, found: &Found) -> Result<Facts, RuntimeError> {
    let Found { row, ownership, state } = found;
    let now = core.parts.clock.now();
    let settings = &core.parts.settings;
    Ok(Facts {
        thread_id: row.thread_id.clone(),
        status: row.summary.status,
        last_seq: row.last_seq,
        updated_at: row.updated_at,
        now,
        replica: Answering {
            name: settings.replica.clone(),
            holds: core.authority().holds(),
            draining: core.draining.is_cancelled(),
            driving: core.driven.count(),
            max_running: settings.max_running,
            full: core.room_for(&row.thread_id.namespace()) == 0,
            timeouts: settings.timeouts,
        },
        hands: hands(core, found, now),
        wake_at: row.wake_at,
        claims: row.claims,
        waits: core.bench.waits(&row.thread_id),
        replicas: ownership.replicas,
        ahead: ownership.ahead,
        mail: letters(core, found).await?,
        unreadable: state.as_ref().err().cloned(),
        failed_recovery: failed_recovery(core, found, now).await?,
        circuits: match &state {
            Ok(state) if state.is_large() => {
                core.aside.run_for(&state.thread_id.namespace(), || circuits(core, state)).await
            }
            Ok(state) => circuits(core, state),
            Err(_) => BTreeMap::new(),
        },
        silences: state.as_ref().map(|state| silences(core, state)).unwrap_or_default(),
    })
}

/// Returns who has the thread.
fn hands(core: &Core, found: &Found, now: Timestamp) -> Hands {
    let Found { row, ownership, .. } = found;
    if core.driven.has(&row.thread_id) {
        return Hands::Here;
    }
    if row.owner == core.authority().incarnation || core.driven.is_at_work(&row.thread_id) {
        return Hands::TakenUpHere;
    }
    if row.owner == 0 {
        return Hands::Nobody;
    }
    let Some(holder) = &ownership.holder else {
        return Hands::Lost { replica: None, since: None };
    };
    let ends = Timestamp::from_millis(now.millis().saturating_add(holder.lease_left_ms));
    let replica = holder.replica.clone();
    if holder.lease_left_ms <= 0 {
        // It has written since: a lease that was ended by the next replica to start has no time.
        return Hands::Lost { replica: Some(replica), since: Some(ends.max(row.updated_at)) };
    }
    let lease = core.parts.settings.lease;
    let left = Duration::from_millis(holder.lease_left_ms.unsigned_abs());
    let silent = lease.saturating_sub(left);
    let late = silent > lease / BEATS * LATE_BEATS;
    Hands::Elsewhere { replica, lease_until: ends, silent: late.then_some(silent) }
}

/// Returns the messages in the thread's inbox.
async fn letters(core: &Core, found: &Found) -> Result<Vec<PendingMessage>, RuntimeError> {
    if found.ownership.mail == 0 {
        return Ok(Vec::new());
    }
    let thread = &found.row.thread_id;
    let inbox =
        persistently(core, || async { Ok(core.shown.store().inbox(thread).await?) }).await?;
    let letter = |body: &crate::model::Json| match body.decode::<inbox::MessageBody>() {
        Ok(inbox::MessageBody::Request { request, actor, .. }) => {
            PendingMessage { asks: request.name(), by: actor.by }
        }
        Ok(inbox::MessageBody::Stood(_)) => {
            PendingMessage { asks: "condemn", by: inbox::REPORTER.to_owned() }
        }
        Err(_unreadable) => PendingMessage { asks: "something unreadable", by: "?".to_owned() },
    };
    Ok(inbox.iter().take(MAX_LETTERS).map(|message| letter(&message.body)).collect())
}

/// Returns why nobody drives the thread now, if that is because it could not be recovered.
async fn failed_recovery(
    core: &Core,
    found: &Found,
    now: Timestamp,
) -> Result<Option<String>, RuntimeError> {
    let row = &found.row;
    // A failed recovery sets a thread aside for no longer than this: one that sleeps longer needs
    // no look.
    let latest = now.plus(recoveries::LONGEST_PAUSE);
    let rests = row.owner == 0 && row.wake_at.is_some_and(|due| due <= latest);
    if row.summary.status.is_terminal() || !rests {
        return Ok(None);
    }
    recoveries::failure(core, row).await
}

/// Returns for each attempt under way here the time since its last sign of life.
fn silences(core: &Core, state: &ThreadState) -> BTreeMap<StepIx, Duration> {
    let running = state.placed().filter(|(.., step)| step.own.is_running());
    running
        .filter_map(|(at, _, step)| {
            Some((at, core.pulses.silence(&(state.thread_id.clone(), step.current(at)))?))
        })
        .collect()
}

/// Returns what this replica knows of the circuits of steps that wait for their next attempt. To know
/// a circuit, its step is filled in as its next attempt would be: of a thread whose steps read much,
/// only the first ones are.
fn circuits(core: &Core, state: &ThreadState) -> BTreeMap<StepIx, KnownCircuit> {
    definition::within(Allowance::LOOK, || known_circuits(core, state))
}

fn known_circuits(core: &Core, state: &ThreadState) -> BTreeMap<StepIx, KnownCircuit> {
    let waiting = state
        .placed()
        .filter(|(.., step)| step.own.is_retrying() || step.compensation.is_retrying());
    waiting
        .take_while(|_| !definition::is_enough())
        .filter_map(|(at, ..)| {
            let circuit = circuit_of(core, state, at)?;
            let seen = core.breakers.look(&circuit);
            let seen = seen.as_ref();
            let known = KnownCircuit {
                state: seen.map(|seen| seen.state),
                failures: seen.map_or(0, |seen| seen.failures),
                opened_at: seen.and_then(|seen| seen.opened_at),
                retry_at: seen.and_then(|seen| seen.retry_at),
                cools_until: seen.and_then(|seen| seen.cools_until),
                key: circuit.target.as_str().to_owned(),
            };
            Some((at, known))
        })
        .collect()
}
