//! Causes that follow from where the thread stands.

use serde_json::json;

use super::words::{failure, list, since};
use super::{Call, Case, Cause, CauseKind, Hands, bounds, is_ready, steps};
use crate::machine::ready::POLICY;
use crate::machine::{Intervention, ThreadState};
use crate::model::{InterventionKind, StepId, StepStatus, ThreadStatus, codes};

/// The causes of a thread by its status. `free`: nothing around it holds it up.
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
        ThreadStatus::Completed => vec![completed(state)],
        ThreadStatus::Failed => vec![failed(state)],
        ThreadStatus::Aborted => vec![aborted(state)],
    };
    // What waits for a replica is about to start once it has one.
    if free && (causes.is_empty() || is_ready(case)) {
        causes.push(ready(case));
    }
    causes.extend(bounds::deadline(case));
    causes
}

/// What has stopped it: a question to a person, or a person.
fn paused(case: &Case<'_>) -> Vec<Cause> {
    let state = case.state;
    let open = state.open_interventions();
    let mut asked: Vec<Cause> = open
        .filter_map(|one| match one.opened.kind {
            InterventionKind::Failure => Some(asked_about_failure(case, one)),
            InterventionKind::Poison => Some(asked_about_poison(case, one)),
            // A step waits for it: see there.
            InterventionKind::Approval | InterventionKind::Blocked => None,
        })
        .collect();
    if asked.is_empty() {
        asked.push(bounds::stopping(case).unwrap_or_else(|| stopped(case)));
    }
    asked
}

/// A person has paused it.
fn stopped(case: &Case<'_>) -> Cause {
    let (state, facts) = (case.state, case.facts);
    let stop = state.stopped.as_ref();
    let who = match stop.map(|stop| stop.who.by.as_str()) {
        None => "Somebody".to_owned(),
        Some(POLICY) => "A policy".to_owned(),
        Some(by) => by.to_owned(),
    };
    let reason = stop.and_then(|stop| stop.who.reason.as_deref());
    let said = reason.map_or_else(|| " and gave no reason".to_owned(), |why| format!(": {why}"));
    let at = stop.map(|stop| stop.at);
    Cause::new(
        CauseKind::Paused,
        format!("{who} has paused it{}{said}.", since(at, facts.now)),
        "nothing by itself; whoever resumes it",
    )
    .since(at)
    .call(Some(resume(state, "resumes the thread: what was not finished goes on")))
    .detail(json!({ "by": stop.map(|stop| &stop.who.by), "reason": reason }))
}

/// The workflow says that a person decides about what would fail the thread.
fn asked_about_failure(case: &Case<'_>, one: &Intervention) -> Cause {
    let steps: Vec<&str> = one.opened.steps.iter().map(StepId::as_str).collect();
    let sentence = format!(
        "Step {} has used its attempts ({}), and a person has to decide{}: {}.",
        list(&steps),
        one.opened.prompt,
        since(Some(one.at), case.facts.now),
        one.opened.choices.join(", ")
    );
    asked(case, (CauseKind::Failure, sentence), one)
}

/// It may be what its replicas were lost by.
fn asked_about_poison(case: &Case<'_>, one: &Intervention) -> Cause {
    let sentence = format!(
        "It was paused because it may be what its replicas were lost by ({}), and a person has to \
         decide{}: {}.",
        one.opened.prompt,
        since(Some(one.at), case.facts.now),
        one.opened.choices.join(", ")
    );
    asked(case, (CauseKind::Poison, sentence), one)
}

/// An intervention is open: what there is to choose, and the call that does.
pub(super) fn asked(
    case: &Case<'_>,
    (kind, sentence): (CauseKind, String),
    one: &Intervention,
) -> Cause {
    let opened = &one.opened;
    let choice = opened.choices.first();
    let call = choice.map(|choice| Call {
        method: "POST",
        path: format!("/interventions/{}/resolve", opened.id),
        body: match &opened.digest {
            // Only what was seen is decided.
            Some(digest) => json!({ "choice": choice, "digest": digest }),
            None => json!({ "choice": choice }),
        },
        does: format!(
            "decides for \"{choice}\"; there is to choose: {}",
            opened.choices.join(", ")
        ),
    });
    let error = case.state.error.as_ref();
    let made = Cause::new(kind, sentence, "nothing by itself; whoever decides")
        .since(Some(one.at))
        .call(call)
        .detail(json!({
            "interventionId": opened.id, "prompt": opened.prompt, "choices": opened.choices,
            "digest": opened.digest, "expiresAt": opened.expires_at,
            "onTimeout": opened.on_timeout, "escalatesAt": opened.escalates_at,
            "escalatedAt": one.escalated, "steps": opened.steps, "error": error,
        }));
    match opened.steps.as_slice() {
        [step] => made.about(step),
        [] | [_, ..] => made,
    }
}

/// It will fail as soon as nothing of it is under way.
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
    .call(Some(Call::post(
        &state.thread_id,
        "/abort",
        (
            json!({}),
            "cancels the attempts under way and ends the thread aborted; it can be resumed",
        ),
    )))
    .detail(json!({ "error": error, "waitsFor": others }));
    let since = failed.and_then(|step| state.steps.get(state.plan.position(step.as_str())?));
    let cause = cause.since(since.and_then(|step| step.completed_at));
    match failed {
        Some(step) => cause.about(step),
        None => cause,
    }
}

/// Nothing holds it up.
fn ready(case: &Case<'_>) -> Cause {
    let (state, facts) = (case.state, case.facts);
    let steps = state.plan.steps.iter().zip(&state.steps);
    let next: Vec<&str> = steps
        .filter(|(planned, step)| {
            let ended = |at: &usize| state.step(*at).is_some_and(|step| step.status.is_terminal());
            step.status == StepStatus::Pending && planned.depends_on.iter().all(ended)
        })
        .map(|(planned, _)| planned.id.as_str())
        .collect();
    let who = match &facts.hands {
        Hands::Elsewhere { replica, .. } => replica.as_str(),
        Hands::Here | Hands::TakenUpHere | Hands::Lost { .. } | Hands::Nobody => {
            &facts.replica.name
        }
    };
    Cause::new(
        CauseKind::Ready,
        format!("Nothing holds it up: replica {who} is about to start {}.", list(&next)),
        "the replica that drives it",
    )
    .since(Some(state.updated_at))
    .by_itself(None)
    .detail(json!({ "steps": next, "replica": who }))
}

fn completed(state: &ThreadState) -> Cause {
    let at = state.completed_at;
    let when = at.map(|at| format!(" at {at}")).unwrap_or_default();
    let sentence = format!("It has completed{when}: nothing is left to do.");
    Cause::new(CauseKind::Completed, sentence, "nothing: it has ended").since(at)
}

fn failed(state: &ThreadState) -> Cause {
    let error = state.error.as_ref();
    let when = state.completed_at.map(|at| format!(" at {at}")).unwrap_or_default();
    let said = error.map(failure).unwrap_or_default();
    let step = error.and_then(|error| error.step_id.as_ref());
    let of = step.map_or_else(String::new, |step| format!(" in step {step}"));
    let hopeless = match error {
        Some(error) if !error.recoverable => {
            " Another try fails in the same way unless what it names is mended first."
        }
        Some(_) | None => "",
    };
    // Without a step it is the thread's own output that cannot be made, and another try makes the
    // same, unless it took too long.
    let late = error.is_some_and(|error| error.code == codes::WORKFLOW_TIMEOUT);
    let call = (step.is_some() || late)
        .then(|| resume(state, "runs what has failed again; completed steps do not run again"));
    let ends_with = if call.is_some() {
        "nothing by itself; whoever resumes it"
    } else {
        "nothing: it has ended"
    };
    let compensation = state.compensation();
    let left: Vec<&str> =
        compensation.iter().flat_map(|all| &all.left).map(|one| one.step_id.as_str()).collect();
    let undo = if left.is_empty() {
        String::new()
    } else {
        format!(
            " Not undone: {}; POST /threads/{}/abort {{\"compensate\": true}} tries that again.",
            list(&left),
            state.thread_id
        )
    };
    let cause = Cause::new(
        CauseKind::Failed,
        format!("It has failed{when}{of}: {said}.{hopeless}{undo}"),
        ends_with,
    )
    .since(state.completed_at)
    .call(call)
    .detail(json!({ "error": error, "compensation": compensation }));
    match step {
        Some(step) => cause.about(step),
        None => cause,
    }
}

fn aborted(state: &ThreadState) -> Cause {
    let stop = state.stopped.as_ref();
    let when = state.completed_at.map(|at| format!(" at {at}")).unwrap_or_default();
    let by = stop.map_or("somebody", |stop| stop.who.by.as_str());
    let reason = stop.and_then(|stop| stop.who.reason.as_deref());
    let said = reason.map(|why| format!(": {why}")).unwrap_or_default();
    Cause::new(
        CauseKind::Aborted,
        format!("It was aborted by {by}{when}{said}."),
        "nothing by itself; whoever resumes it",
    )
    .since(state.completed_at)
    .call(Some(resume(state, "resumes the thread: what was not finished runs again")))
    .detail(json!({ "by": stop.map(|stop| &stop.who.by), "reason": reason }))
}

fn resume(state: &ThreadState, does: &str) -> Call {
    Call::post(&state.thread_id, "/resume", (json!({}), does))
}
