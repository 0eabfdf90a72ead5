//! Steps that wait for a person's decision.
//!
//! A question asks about the filled-in `with`, and a decision is bound to its digest. If that
//! digest would be another one by now (another input, an edited output), the question is withdrawn
//! and asked anew: nobody approves data that he has not seen. Called by `attempt` and by code that
//! changes a thread's data.

use super::Actor;
use super::choices::{CHANGED, EXPIRED, POLICY};
use super::decision::Decision;
use super::fallback::too_much;
use super::four_eyes::terms;
use super::scope::AsIf;
use super::state::ThreadState;
use super::wait::{fault, filled_in, limit, read};
use crate::definition::{MAX_CHOICES, PlanStep, StepIx};
use crate::model::{
    EventBody, Failure, InterventionKind, InterventionOpened, InterventionResolved, Json, Node,
    StepId, StepStatus, StepWaiting, Timestamp, canonical_digest,
};

/// The choices of an approval that names none.
const CHOICES: [&str; 2] = ["approve", "reject"];

/// Opens the question of an approval, from its filled-in `with`.
pub(super) fn ask(
    decision: &mut Decision<'_>,
    step: StepIx,
    planned: &PlanStep,
    with: &Json,
) -> Result<(), Failure> {
    let node = read(with)?;
    let prompt = match node.get("prompt") {
        Some(Node::String(prompt)) => prompt.clone(),
        Some(Node::Null | Node::Bool(_) | Node::Number(_) | Node::Array(_) | Node::Object(_))
        | None => return Err(fault("an approval needs a `prompt`")),
    };
    let choices = choices(&node)?;
    let on_timeout = match node.get("onTimeout") {
        Some(Node::String(choice)) if choices.contains(choice) => Some(choice.clone()),
        None => None,
        Some(_) => return Err(fault("`onTimeout` is one of the choices")),
    };
    let until = limit(decision, &node, "timeout")?;
    let escalates_at = escalation(decision, &node, until)?;
    let said = terms(&node);
    let (approvers, not_by) = said.ok_or_else(|| {
        fault("`approvers` is a list of at most 100 names or roles, and `notBy` is \"starter\"")
    })?;
    // The state keeps every question of the thread, and whoever drives it next has to hold them all.
    let (max_thread, taken) = (decision.context.max_thread, decision.state.weight());
    if taken.saturating_add(with.as_str().len()) > max_thread {
        return Err(too_much(max_thread));
    }
    let data =
        StepWaiting { reason: StepWaiting::APPROVAL.to_owned(), until, ..StepWaiting::default() };
    decision.emit_on(step, EventBody::StepWaiting, data);
    decision.emit(EventBody::InterventionOpened(InterventionOpened {
        id: decision.state.next_intervention(),
        kind: InterventionKind::Approval,
        steps: vec![planned.id.clone()],
        prompt,
        choices,
        digest: Some(canonical_digest(with)),
        expires_at: until,
        on_timeout,
        escalates_at,
        approvers,
        not_by,
    }));
    Ok(())
}

/// Returns when the question is escalated: after its own `escalateAfter`, or after the workflow's
/// if that ends before the question does.
fn escalation(
    decision: &Decision<'_>,
    node: &Node,
    until: Option<Timestamp>,
) -> Result<Option<Timestamp>, Failure> {
    let in_time = |at: &Timestamp| until.is_none_or(|until| *at < until);
    match limit(decision, node, "escalateAfter")? {
        None => Ok(decision.escalates_at().filter(in_time)),
        own if own.as_ref().is_some_and(in_time) => Ok(own),
        Some(_) => Err(fault("`escalateAfter` is shorter than `timeout`")),
    }
}

fn choices(node: &Node) -> Result<Vec<String>, Failure> {
    let texts = match node.get("choices") {
        None => return Ok(CHOICES.map(str::to_owned).into()),
        Some(Node::Array(items)) => items.iter().map(|item| match item {
            Node::String(text) if !text.is_empty() => Some(text.clone()),
            Node::String(_)
            | Node::Null
            | Node::Bool(_)
            | Node::Number(_)
            | Node::Array(_)
            | Node::Object(_) => None,
        }),
        Some(_) => return Err(fault("`choices` is a list of texts")),
    };
    let choices: Option<Vec<String>> = texts.collect();
    let choices = choices.filter(|all| !all.is_empty());
    let choices = choices.ok_or_else(|| fault("`choices` is a list of texts"))?;
    if choices.len() > MAX_CHOICES {
        return Err(fault(&format!("`choices` has at most {MAX_CHOICES} of them")));
    }
    Ok(choices)
}

/// Returns the output of an approval that was decided: `by` is the proven name, `onBehalfOf` the
/// name that was given.
pub(super) fn output(resolution: &InterventionResolved) -> Json {
    let mut output = serde_json::json!({
        "choice": resolution.choice, "comment": resolution.comment, "by": resolution.by
    });
    if let (Some(person), Some(members)) = (&resolution.on_behalf_of, output.as_object_mut()) {
        members.insert("onBehalfOf".to_owned(), person.as_str().into());
    }
    Json::of(&output).unwrap_or_else(|_| Json::null())
}

/// Settles an approval that nobody decided in time; returns the output of its `onTimeout`, or the
/// reason for which its attempt fails. `None` if no question is open.
pub(super) fn expire(
    decision: &mut Decision<'_>,
    planned: &PlanStep,
) -> Option<Result<Json, String>> {
    let open = open_question(decision.state, &planned.id)?;
    let (id, on_timeout) = (open.id.clone(), open.on_timeout.clone());
    let why = "nobody decided in time".to_owned();
    let actor = Actor { by: POLICY.to_owned(), reason: Some(why.clone()), ..Actor::default() };
    let choice = on_timeout.as_deref().unwrap_or(EXPIRED);
    let resolution = decision.settled(id, choice, &actor);
    decision.emit(EventBody::InterventionResolved(resolution.clone()));
    Some(if on_timeout.is_some() { Ok(output(&resolution)) } else { Err(why) })
}

/// Withdraws every open question whose filled-in `with` is another one by now, or cannot be filled
/// in.
pub(super) fn withdraw_changed(decision: &mut Decision<'_>, actor: &Actor) {
    for step in waiting(decision.state) {
        let planned = decision.planned(step);
        let Some(opened) = open_question(decision.state, &planned.id) else { continue };
        let now = rendered(decision, planned);
        let now = now.map(|with| canonical_digest(&with));
        if now.is_ok_and(|digest| opened.digest.as_ref() == Some(&digest)) {
            continue;
        }
        let id = opened.id.clone();
        let reason = Some("what was asked about has changed".to_owned());
        let actor = Actor { by: actor.by.clone(), reason, ..Actor::default() };
        let settled = decision.settled(id, CHANGED, &actor);
        decision.emit(EventBody::InterventionResolved(settled));
    }
}

/// Asks a withdrawn question again, with the thread's data as they are now.
pub(super) fn ask_unless_open(decision: &mut Decision<'_>, step: StepIx) -> Result<(), Failure> {
    let planned = decision.planned(step);
    if open_question(decision.state, &planned.id).is_some() {
        return Ok(());
    }
    let with = rendered(decision, planned)?;
    ask(decision, step, planned, &with)
}

/// Returns the approvals that wait for a decision, or for their question to be asked anew.
pub(super) fn waiting(state: &ThreadState) -> Vec<StepIx> {
    let asks = state.placed().filter(|(_, planned, step)| {
        step.status() == StepStatus::Waiting && planned.work(step.work()).action.asks()
    });
    asks.map(|(at, ..)| at).collect()
}

fn open_question<'a>(state: &'a ThreadState, step: &StepId) -> Option<&'a InterventionOpened> {
    // The open ones are the newest, whatever has been asked before.
    let mut open = state.open_interventions().rev().map(|one| &one.opened);
    open.find(|one| one.kind == InterventionKind::Approval && one.steps.contains(step))
}

/// Fills in the `with` of a waiting step as if its question were asked now.
fn rendered(decision: &Decision<'_>, planned: &PlanStep) -> Result<Json, Failure> {
    // The step was running then. (A fallback may name the status of its own step.)
    let (id, status) = (planned.id.as_str(), StepStatus::Running);
    let scope = AsIf { state: decision.state, id, status, error: None };
    filled_in(planned, &scope, &decision.context)
}
