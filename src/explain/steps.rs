//! Causes that follow from the status of a step.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::bounds::undoes;
use super::case::Case;
use super::format::{asked_since, at, failure, list, since, span};
use super::question::asked;
use super::{Hands, KnownCircuit};
use crate::contract::{Advice, Cause, CauseKind, Operation};
use crate::definition::{PlanStep, StepIx, Wait};
use crate::machine::{Intervention, StepState};
use crate::model::{
    Category, Failure, InterventionKind, InterventionOpened, StepStatus, ThreadStatus, codes,
    millis,
};

/// The number of signals of other names that are listed: enough to see a typo, and short enough to
/// be read.
const MAX_NAMES: usize = 5;

/// A step of the thread that is explained: the plan of the work it is at, and its state.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    case: &'a Case<'a>,
    at: StepIx,
    planned: &'a PlanStep,
    step: &'a StepState,
}

/// Returns the causes of all steps that wait or run, in the order of the plan.
pub(super) fn all(case: &Case<'_>) -> Vec<Cause> {
    places(case).filter_map(|place| cause(&place)).collect()
}

/// Returns the causes of attempts under way.
pub(super) fn under_way(case: &Case<'_>) -> Vec<Cause> {
    places(case).filter_map(|place| own_or_undo(&place)).collect()
}

/// Explains the attempt of a step, or of its compensation, that is under way.
fn own_or_undo(place: &Place<'_>) -> Option<Cause> {
    let undo = &place.step.compensation;
    if undo.is_running() {
        return Some(undoes(place.case, &place.planned.id, undo));
    }
    place.step.own.is_running().then(|| attempt(place))
}

/// Returns the causes of waits that people or clients can end while the thread is paused.
pub(super) fn of_people(case: &Case<'_>) -> Vec<Cause> {
    let waiting = places(case).filter(|place| place.step.status() == StepStatus::Waiting);
    waiting
        .filter(|place| place.step.own.signal().is_some() || intervention(place).is_some())
        .map(|place| waits(&place))
        .collect()
}

fn places<'a>(case: &'a Case<'a>) -> impl Iterator<Item = Place<'a>> {
    case.state.placed().map(move |(at, planned, step)| {
        let planned = planned.work(step.work());
        Place { case, at, planned, step }
    })
}

/// Explains what a step waits for; `None` if it has ended, or its turn has not come.
fn cause(place: &Place<'_>) -> Option<Cause> {
    match place.step.status() {
        StepStatus::Running => Some(attempt(place)),
        StepStatus::Retrying => Some(retries(place)),
        StepStatus::Waiting => Some(waits(place)),
        StepStatus::Pending
        | StepStatus::Completed
        | StepStatus::Failed
        | StepStatus::Skipped
        | StepStatus::Compensated => None,
    }
}

/// Explains the wait of a step that makes no attempt.
fn waits(place: &Place<'_>) -> Cause {
    if let Some(name) = place.step.own.signal() {
        return signal(place, name);
    }
    match intervention(place) {
        Some(one) => match one.opened.kind {
            InterventionKind::Approval => approval(place, one),
            InterventionKind::Blocked => blocked(place, one),
            InterventionKind::Poison | InterventionKind::Failure => other(place),
        },
        None => match place.planned.action.wait() {
            Some(Wait::Sleep) => sleep(place),
            Some(Wait::Signal | Wait::Approval { .. }) | None => other(place),
        },
    }
}

/// Returns the open intervention that a step waits for.
fn intervention<'a>(place: &Place<'a>) -> Option<&'a Intervention> {
    let id = &place.planned.id;
    let mut open = place.case.state.open_interventions();
    open.find(|one| one.opened.steps.contains(id))
}

/// Explains that an attempt is under way, or was while somebody drove the thread.
fn attempt(place: &Place<'_>) -> Cause {
    let Place { case, planned, step, .. } = place;
    let (id, now) = (&planned.id, case.facts.now);
    let limit = case.facts.replica.timeouts.attempt(planned.timeout);
    let ends = limit.zip(step.own.attempt_at).map(|(limit, began)| began.plus(limit));
    let driven = case.facts.is_driven();
    let silence = case.facts.silences.get(&place.at).copied();
    let number = step.own.attempts;
    let sentence = if driven {
        let bound = match ends {
            Some(ends) => format!("; its timeout ends it {}", at(ends, now)),
            None => "; it has no timeout".to_owned(),
        };
        let slow = if step.own.is_warned() { ", longer than it should take" } else { "" };
        let stuck = if step.own.is_stale() {
            ", without a sign of life for long: it looks stuck"
        } else {
            ""
        };
        let silent = silence.map_or_else(String::new, |silent| {
            format!(", with its last sign of life {} ago", span(silent))
        });
        format!(
            "Attempt {number} of step {id} ({}) is under way{}{slow}{stuck}{silent}{bound}.",
            planned.action.kind(),
            since(step.own.attempt_at, now)
        )
    } else {
        format!(
            "Attempt {number} of step {id} ({}) was under way{}; whoever takes the thread over makes \
             it again, with the same idempotency key.",
            planned.action.kind(),
            since(step.own.attempt_at, now)
        )
    };
    let ends_with = match (driven, ends) {
        (true, Some(_)) => "its end, or its timeout",
        (true, None) => "its end: no timeout bounds it",
        (false, _) => "the attempt that is made again",
    };
    let retries = step.own.is_stale() && driven && case.state.status == ThreadStatus::Running;
    let advice = if retries && case.state.error.is_none() {
        let does = "cancels the attempt and makes the next one, with the same idempotency key";
        Some(Advice::new(&case.facts.thread_id, Operation::Retry { step: id.clone() }, does))
    } else {
        let does = "cancels the attempt and does without the step: what depends on it sees null";
        skip(place, None, does)
    };
    Cause::new(CauseKind::Attempt, sentence, ends_with)
        .about(id)
        .since(step.own.attempt_at)
        .by_itself(ends.filter(|_| driven))
        .advice(advice)
        .detail(json!({
            "stepKind": planned.action.kind(), "attempt": number, "fallback": step.fallback,
            "warned": step.own.is_warned(), "stale": step.own.is_stale(), "timeoutMs": limit.map(millis),
            "warnAfterMs": planned.warn_after.map(millis),
            "heartbeatTimeoutMs": planned.heartbeat_timeout.map(millis),
            "replica": driver(case), "underWay": driven,
            "silentMs": silence.map(millis),
        }))
}

/// Returns the name of the replica that makes the attempts.
fn driver<'a>(case: &'a Case<'_>) -> Option<&'a str> {
    match &case.facts.hands {
        Hands::Here => Some(&case.facts.replica.name),
        Hands::Elsewhere { replica, .. } => Some(replica),
        Hands::TakenUpHere | Hands::Nobody | Hands::Lost { .. } => None,
    }
}

/// Explains that a step waits for its next attempt.
fn retries(place: &Place<'_>) -> Cause {
    let known = place.case.facts.circuits.get(&place.at);
    let Some(error) = &place.step.own.error else { return retry(place, known) };
    let cools = known.and_then(|known| known.cools_until);
    let open = known.is_some_and(|known| known.state == Some("open"));
    if open || error.code == codes::CIRCUIT_OPEN && cools.is_none() {
        return circuit(place, known, error);
    }
    if cools.is_some() || error.category == Category::RateLimit {
        return cool_down(place, known, error);
    }
    retry(place, known)
}

/// Explains that the target of the step is away, as far as the journal or this replica tells.
fn circuit(place: &Place<'_>, known: Option<&KnownCircuit>, error: &Failure) -> Cause {
    let Place { case, planned, step, .. } = place;
    let (id, now) = (&planned.id, case.facts.now);
    let name = &case.facts.replica.name;
    let target = known.map_or_else(|| "what it calls".to_owned(), |known| known.key.clone());
    let half_open = known.and_then(|known| known.retry_at);
    let seen = match known.and_then(|known| known.state) {
        Some("open") => half_open.map_or_else(
            || format!("; that is what replica {name} sees"),
            |due| format!("; replica {name} lets a probe through {}", at(due, now)),
        ),
        Some(state) => format!("; on replica {name} it is {state} now"),
        None => format!("; replica {name} has not called it"),
    };
    // The journal tells of the last attempt; the state of now is known from this replica alone.
    let is = if known.is_some_and(|known| known.state == Some("open")) { "is" } else { "was" };
    let sentence = format!(
        "Step {id} waits for its next attempt {} because the circuit of {target} {is} open ({}){seen}.",
        due(place),
        failure(error)
    );
    let does = "does without the step: what depends on it sees null. To try it again before its time \
                would only be refused while the circuit is open";
    Cause::new(
        CauseKind::Circuit,
        sentence,
        "its next attempt, once the circuit lets one through; that of a target that is back closes it",
    )
    .about(id)
    .since(step.failed_at)
    .by_itself(step.own.wakes_at())
    .advice(skip(place, None, does))
    .detail(next_attempt(place, known))
}

/// Explains that the target of the step asked to be left alone.
fn cool_down(place: &Place<'_>, known: Option<&KnownCircuit>, error: &Failure) -> Cause {
    let Place { planned, step, .. } = place;
    let id = &planned.id;
    let target = known.map_or_else(|| "what it calls".to_owned(), |known| known.key.clone());
    let until = known.and_then(|known| known.cools_until);
    let until = until.map_or_else(String::new, |until| format!(" until {until}"));
    let sentence = format!(
        "Step {id} waits for its next attempt {} because {target} asked to be left alone{until} ({}).",
        due(place),
        failure(error)
    );
    let does = "does without the step: what depends on it sees null. To try it again before its time \
                would only be refused";
    Cause::new(CauseKind::CoolDown, sentence, "its next attempt")
        .about(id)
        .since(step.failed_at)
        .by_itself(step.own.wakes_at())
        .advice(skip(place, None, does))
        .detail(next_attempt(place, known))
}

/// Explains that the step waits for the delay of its retry policy.
fn retry(place: &Place<'_>, known: Option<&KnownCircuit>) -> Cause {
    let Place { case, planned, step, .. } = place;
    let id = &planned.id;
    let said = step.own.error.as_ref().map(failure).unwrap_or_default();
    let sentence = format!(
        "Step {id} has failed {} of {} times ({said}) and is tried again {}.",
        step.own.failures,
        planned.retry.max_attempts,
        due(place)
    );
    let possible = case.state.status == ThreadStatus::Running;
    let retry = Operation::Retry { step: id.clone() };
    let advice =
        possible.then(|| Advice::new(&case.facts.thread_id, retry, "makes the next attempt now"));
    Cause::new(CauseKind::Retry, sentence, "its next attempt")
        .about(id)
        .since(step.failed_at)
        .by_itself(step.own.wakes_at())
        .advice(advice)
        .detail(next_attempt(place, known))
}

/// Says when a step is tried again.
fn due(place: &Place<'_>) -> String {
    match place.step.own.wakes_at() {
        Some(due) => at(due, place.case.facts.now),
        None => "as soon as it can be".to_owned(),
    }
}

/// Returns the details of the attempt that a step waits for.
fn next_attempt(place: &Place<'_>, known: Option<&KnownCircuit>) -> Value {
    let Place { case, planned, step, .. } = place;
    let circuit = known.map(|known| {
        json!({
            "key": known.key, "state": known.state, "failures": known.failures,
            "openedAt": known.opened_at, "retryAt": known.retry_at,
            "coolsUntil": known.cools_until, "seenBy": case.facts.replica.name,
        })
    });
    json!({
        "stepKind": planned.action.kind(), "attempt": step.own.attempts,
        "nextAttempt": step.own.attempts.saturating_add(1), "failures": step.own.failures,
        "maxAttempts": planned.retry.max_attempts, "fallback": step.fallback,
        "retryAt": step.own.wakes_at(), "error": step.own.error, "circuit": circuit,
    })
}

/// Explains that the step waits for a signal.
fn signal(place: &Place<'_>, name: &str) -> Cause {
    let Place { case, planned, step, .. } = place;
    let (id, now) = (&planned.id, case.facts.now);
    // A thread that is paused has no timers.
    let until = step.own.wakes_at().filter(|_| case.state.status == ThreadStatus::Running);
    let (bound, ends_with) = match until {
        Some(until) => (
            format!(", and fails if none has come {}", at(until, now)),
            "the signal, or its timeout",
        ),
        None => (String::new(), "the signal, and nothing by itself"),
    };
    let does = "sends the signal; the body is its payload, any JSON, and becomes the step's output";
    let advice =
        Advice::new(&case.facts.thread_id, Operation::Signal { name: name.to_owned() }, does);
    let others = other_signals(place, name);
    // Most often somebody has mistyped the name.
    let kept = if others.is_empty() {
        String::new()
    } else {
        format!(" Signals of other names have come, and are kept: {}.", list(&others))
    };
    let cause = Cause::new(
        CauseKind::Signal,
        format!(
            "Step {id} waits for the signal {name}{}{bound}.{kept}",
            since(step.own.attempt_at, now)
        ),
        ends_with,
    );
    let cause = if until.is_some() { cause.by_itself(until) } else { cause };
    cause
        .about(id)
        .since(step.own.attempt_at)
        .advice(Some(advice))
        .detail(json!({ "signal": name, "expiresAt": step.own.wakes_at(), "kept": others }))
}

/// Returns the names of untaken signals besides the one that is waited for.
fn other_signals<'a>(place: &Place<'a>, name: &str) -> Vec<&'a str> {
    let sent = place.case.state.signals.iter().map(|sent| sent.name.as_str());
    let names: BTreeSet<&str> = sent.filter(|sent| *sent != name).collect();
    names.into_iter().take(MAX_NAMES).collect()
}

/// Explains that the step waits for a person's decision.
fn approval(place: &Place<'_>, one: &Intervention) -> Cause {
    let Place { case, planned, step, .. } = place;
    let (id, now) = (&planned.id, case.facts.now);
    let until = step.own.wakes_at().filter(|_| case.state.status == ThreadStatus::Running);
    let bound = match (until, &one.opened.on_timeout) {
        (Some(until), Some(choice)) => {
            format!(" By itself \"{choice}\" is chosen {}.", at(until, now))
        }
        (Some(until), None) => format!(" It fails if nobody has decided {}.", at(until, now)),
        (None, _) => String::new(),
    };
    let sentence = format!(
        "Step {id} waits for a person to decide{} between {}: {}.{bound}",
        asked_since(one, now),
        one.opened.choices.join(" and "),
        one.opened.prompt.trim_end_matches('.')
    );
    let sentence = format!("{sentence}{}", who_answers(&one.opened));
    let cause = asked(case, (CauseKind::Approval, sentence), one).about(id);
    match until {
        Some(until) => {
            Cause { ends_with: "a person's decision, or its timeout".to_owned(), ..cause }
                .by_itself(Some(until))
        }
        None => cause,
    }
}

/// Says who may answer, where the question restricts that.
fn who_answers(opened: &InterventionOpened) -> String {
    let mut said = String::new();
    if !opened.approvers.is_empty() {
        said = format!(" It is answered by {}.", opened.approvers.join(", "));
    }
    if opened.not_by.is_some() {
        said.push_str(" Whoever started the thread or changed its data may not answer it.");
    }
    said
}

/// Explains that a person has to decide about the step's blocked output.
fn blocked(place: &Place<'_>, one: &Intervention) -> Cause {
    let id = &place.planned.id;
    let sentence = format!(
        "The check of step {id} has blocked its output{}, and a person has to decide: {}.",
        asked_since(one, place.case.facts.now),
        one.opened.choices.join(", ")
    );
    asked(place.case, (CauseKind::Blocked, sentence), one).about(id)
}

/// Explains that the step sleeps.
fn sleep(place: &Place<'_>) -> Cause {
    let Place { case, planned, step, .. } = place;
    let (id, now) = (&planned.id, case.facts.now);
    let slept = step.own.attempt_at.map_or(Duration::ZERO, |began| now.since(began));
    let output = json!({ "sleptMs": millis(slept) });
    Cause::new(
        CauseKind::Timer,
        format!("Step {id} sleeps{} and wakes {}.", since(step.own.attempt_at, now), due(place)),
        "its time",
    )
    .about(id)
    .since(step.own.attempt_at)
    .by_itself(step.own.wakes_at())
    .advice(skip(
        place,
        Some(output),
        "ends the sleep now: the step is skipped, with the output of a sleep",
    ))
    .detail(json!({ "wakesAt": step.own.wakes_at(), "sleptMs": millis(slept) }))
}

/// Explains a wait that has no function of its own here.
fn other(place: &Place<'_>) -> Cause {
    let Place { case, planned, step, .. } = place;
    let (id, now) = (&planned.id, case.facts.now);
    let asked = intervention(place);
    let why = asked.map_or_else(String::new, |one| format!(": {}", one.opened.prompt));
    let cause = Cause::new(
        CauseKind::Waiting,
        format!(
            "Step {id} ({}) waits{}{why}.",
            planned.action.kind(),
            since(step.own.attempt_at, now)
        ),
        if step.own.wakes_at().is_some() {
            "its time"
        } else {
            "nothing by itself; whoever skips the step"
        },
    )
    .about(id)
    .since(step.own.attempt_at)
    .advice(skip(place, None, "does without the step: what depends on it sees null"))
    .detail(json!({ "stepKind": planned.action.kind(), "wakesAt": step.own.wakes_at(),
                    "interventionId": asked.map(|one| &one.opened.id) }));
    if step.own.wakes_at().is_some() { cause.by_itself(step.own.wakes_at()) } else { cause }
}

/// Advises to skip the step, where that is possible.
fn skip(place: &Place<'_>, output: Option<Value>, does: &str) -> Option<Advice> {
    let state = place.case.state;
    let possible = match state.status {
        ThreadStatus::Queued | ThreadStatus::Running | ThreadStatus::Paused => true,
        ThreadStatus::Compensating
        | ThreadStatus::Completed
        | ThreadStatus::Failed
        | ThreadStatus::Aborted => false,
    };
    let step = place.planned.id.clone();
    possible.then(|| Advice::new(&state.thread_id, Operation::Skip { step, output }, does))
}
