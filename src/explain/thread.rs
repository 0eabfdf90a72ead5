//! Causes that follow from the status of the thread.

use serde_json::json;

use super::case::Case;
use super::format::{asked_since, failure, list, since};
use super::question::asked;
use super::{Hands, bounds, steps, terminal};
use crate::contract::{Advice, Cause, CauseKind, Operation};
use crate::machine::{Intervention, POLICY, ThreadState};
use crate::model::{InterventionKind, StepId, ThreadStatus};

/// Returns the causes of a thread by its status. `free` says that nothing around it holds it up.
pub(super) fn causes(case: &Case<'_>, free: bool) -> Vec<Cause> {
    let state = case.state;
    let mut causes = match state.status {
        ThreadStatus::Queued | ThreadStatus::Running if state.is_failing() => {
            let mut causes = steps::under_way(case);
            causes.push(failing(state));
            causes
        }
        ThreadStatus::Queued | ThreadStatus::Running => steps::all(case),
        ThreadStatus::Paused => {
            let mut causes = paused(case);
            causes.extend(steps::under_way(case));
            causes.extend(steps::of_people(case));
            causes
        }
        ThreadStatus::Compensating => vec![bounds::compensating(case)],
        ThreadStatus::Completed => vec![terminal::completed(state)],
        ThreadStatus::Failed => vec![terminal::failed(state)],
        ThreadStatus::Aborted => vec![terminal::aborted(state)],
    };
    // A thread that waits for a replica is about to start only once it has one.
    if free && (causes.is_empty() || case.is_ready()) {
        causes.push(ready(case));
    }
    causes.extend(bounds::deadline(case));
    causes
}

/// Explains a pause: a question to a person, an abort with a grace, or somebody's request.
fn paused(case: &Case<'_>) -> Vec<Cause> {
    let state = case.state;
    let open = state.open_interventions();
    let mut asked: Vec<Cause> = open
        .filter_map(|one| match one.opened.kind {
            InterventionKind::Failure => Some(asked_about_failure(case, one)),
            InterventionKind::Poison => Some(asked_about_poison(case, one)),
            // A step waits for it: its cause tells.
            InterventionKind::Approval | InterventionKind::Blocked => None,
        })
        .collect();
    if asked.is_empty() {
        asked.push(bounds::stopping(case).unwrap_or_else(|| paused_by(case)));
    }
    asked
}

/// Explains that a person or a policy has paused the thread.
fn paused_by(case: &Case<'_>) -> Cause {
    let (state, facts) = (case.state, case.facts);
    let stop = state.paused_by.as_ref();
    let actor = match stop.map(|stop| stop.actor.by.as_str()) {
        None => "Somebody".to_owned(),
        Some(POLICY) => "A policy".to_owned(),
        Some(by) => by.to_owned(),
    };
    let reason = stop.and_then(|stop| stop.actor.reason.as_deref());
    let said = reason.map_or_else(
        || " and gave no reason".to_owned(),
        |why| format!(": {}", why.trim_end_matches('.')),
    );
    let at = stop.map(|stop| stop.at);
    let (half, does) = if state.compensation_reason.is_some() {
        (
            ", while its steps were being undone",
            "goes on undoing its steps; to leave what is left as it is, abort it",
        )
    } else {
        ("", "resumes the thread: what was not finished goes on")
    };
    Cause::new(
        CauseKind::Paused,
        format!("{actor} has paused it{half}{}{said}.", since(at, facts.now)),
        "nothing by itself; whoever resumes it",
    )
    .since(at)
    .advice(Some(Advice::new(&state.thread_id, Operation::Resume, does)))
    .detail(json!({ "by": stop.map(|stop| &stop.actor.by), "reason": reason }))
}

/// Explains that a person decides about a failure, as the workflow says.
fn asked_about_failure(case: &Case<'_>, one: &Intervention) -> Cause {
    let steps: Vec<&str> = one.opened.steps.iter().map(StepId::as_str).collect();
    // A bound of the whole thread is not the failure of a step.
    let what = match steps.as_slice() {
        [] => "The thread would fail".to_owned(),
        steps => format!("Step {} has failed and is not tried again by itself", list(steps)),
    };
    let sentence = format!(
        "{what} ({}), and a person has to decide{}: {}.",
        one.opened.prompt,
        asked_since(one, case.facts.now),
        one.opened.choices.join(", ")
    );
    asked(case, (CauseKind::Failure, sentence), one)
}

/// Explains that the thread may be the cause of its replicas' loss.
fn asked_about_poison(case: &Case<'_>, one: &Intervention) -> Cause {
    let sentence = format!(
        "It was paused because it may be what its replicas were lost by ({}), and a person has to \
         decide{}: {}.",
        one.opened.prompt,
        asked_since(one, case.facts.now),
        one.opened.choices.join(", ")
    );
    asked(case, (CauseKind::Poison, sentence), one)
}

/// Explains that the thread fails as soon as no attempt of it is under way.
fn failing(state: &ThreadState) -> Cause {
    let error = state.error.as_ref();
    let said = error.map(failure).unwrap_or_default();
    let others = state.running();
    let names: Vec<&str> = others.iter().map(StepId::as_str).collect();
    let failed = error.and_then(|error| error.step_id.as_ref());
    let cause = Cause::new(
        CauseKind::Failing,
        format!(
            "Step {} has failed for good ({said}); the thread ends as soon as the attempts under \
             way have ended: {}.",
            failed.map_or("?", StepId::as_str),
            list(&names)
        ),
        "the end of those attempts",
    )
    .by_itself(None)
    .advice(Some(Advice::new(
        &state.thread_id,
        Operation::Abort { compensate: None },
        "cancels the attempts under way and ends the thread aborted; it can be resumed",
    )))
    .detail(json!({ "error": error, "waitsFor": others }));
    let since = failed.and_then(|step| state.find(step)?.1.completed_at);
    let cause = cause.since(since);
    match failed {
        Some(step) => cause.about(step),
        None => cause,
    }
}

/// Explains that nothing holds the thread up.
fn ready(case: &Case<'_>) -> Cause {
    let (state, facts) = (case.state, case.facts);
    let next = state.next_steps();
    let next: Vec<&str> = next.iter().map(StepId::as_str).collect();
    let actor = match &facts.hands {
        Hands::Elsewhere { replica, .. } => replica.as_str(),
        Hands::Here | Hands::TakenUpHere | Hands::Lost { .. } | Hands::Nobody => {
            &facts.replica.name
        }
    };
    Cause::new(
        CauseKind::Ready,
        format!("Nothing holds it up: replica {actor} is about to start {}.", list(&next)),
        "the replica that drives it",
    )
    .since(Some(state.updated_at))
    .by_itself(None)
    .detail(json!({ "steps": next, "replica": actor }))
}
