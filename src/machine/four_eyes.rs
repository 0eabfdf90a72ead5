//! Checks who may answer an approval, in whatever way: a decision, a skip, an edit of its output,
//! or a change of other data.
//!
//! A change of data is an answer where it may decide whether the question is asked, what it is
//! about, or what goes on because of it. So it needs an actor who may answer, whether the question
//! was asked, answered or passed by: a `when` on other data passes it by, and an answer does not
//! hold for data that replace those that were seen. So is a second run of what follows an answer, here
//! or in a fork.
//!
//! All of it is checked against the authenticated name and role of the actor ([`Actor::role`]). Where
//! nobody is authenticated, nobody can answer a question that says who may.

use std::collections::BTreeSet;

use super::request::Actor;
use super::state::{Intervention, StepState, ThreadState};
use super::wait::MAX_WITH;
use crate::definition::{MAX_APPROVERS, PlanStep, StepIx, Template, Wait, Work};
use crate::model::{InterventionKind, InterventionOpened, Json, Node, Role, StepStatus};

/// The value of `notBy`: it excludes whoever started the thread, or gave it other data since.
pub(super) const STARTER: &str = "starter";

/// Reads from an approval's filled-in `with` who may answer (names or roles), and who may not;
/// `None` if it is malformed.
pub(super) fn terms(with: &Node) -> Option<(Vec<String>, Option<String>)> {
    let text = |node: &Node| {
        if let Node::String(text) = node { Some(text.clone()) } else { None }
    };
    let approvers = match with.get("approvers") {
        None => Vec::new(),
        Some(Node::Array(names)) if (1..=MAX_APPROVERS).contains(&names.len()) => {
            names.iter().map(text).collect::<Option<_>>()?
        }
        Some(_) => return None,
    };
    let not_by = match with.get("notBy") {
        None => None,
        Some(Node::String(text)) if text == STARTER => Some(text.clone()),
        Some(_) => return None,
    };
    Some((approvers, not_by))
}

/// Checks that an actor may decide an open intervention.
pub(super) fn may_decide(
    state: &ThreadState,
    opened: &InterventionOpened,
    actor: &Actor,
) -> Result<(), String> {
    match opened.kind {
        InterventionKind::Approval => judge(state, opened, actor),
        InterventionKind::Poison | InterventionKind::Failure | InterventionKind::Blocked => Ok(()),
    }
}

/// Checks that an actor may skip these steps, or replace their outputs. `limit` bounds the
/// filled-in text of an approval that was not asked yet, in bytes.
pub(super) fn may_change(
    state: &ThreadState,
    steps: impl IntoIterator<Item = StepIx>,
    actor: &Actor,
    limit: usize,
) -> Result<(), String> {
    let steps: BTreeSet<StepIx> = steps.into_iter().collect();
    if steps.is_empty() {
        return Ok(());
    }
    let mut concerned = state.plan.entangled(&steps).into_iter();
    concerned.try_for_each(|at| could_answer(state, at, actor, limit))
}

/// Checks that an actor may give the thread this input: any step may read it. Where no result of
/// the old input stands, the thread is as good as a new one, which anybody may start.
pub(super) fn may_change_input(
    state: &ThreadState,
    (input, again): (Option<&Json>, &BTreeSet<StepIx>),
    actor: &Actor,
    limit: usize,
) -> Result<(), String> {
    let stands = |(at, step): (StepIx, &StepState)| {
        let begun = step.status() != StepStatus::Pending || step.admitted;
        begun && !again.contains(&at)
    };
    let anew = !state.steps.placed().any(stands);
    if anew || input.is_none_or(|input| *input == state.input) {
        return Ok(());
    }
    state.steps.places().try_for_each(|at| could_answer(state, at, actor, limit))
}

/// Checks that an actor may have steps run, once more or in another thread, on answers that stand: an
/// answer is given for one run of what follows it. `again` are the steps that begin anew, so that an
/// approval among them asks again.
pub(super) fn may_repeat(
    state: &ThreadState,
    (runs, again): (&BTreeSet<StepIx>, &BTreeSet<StepIx>),
    actor: &Actor,
    limit: usize,
) -> Result<(), String> {
    let asks = |at: StepIx| approval(state, at).is_some();
    let stands =
        |at: StepIx| state.steps[at].status() == StepStatus::Completed && !again.contains(&at);
    // What follows a question that is asked again rests on the next answer.
    let asks_anew = |at: &StepIx| asks(*at) && !stands(*at);
    let mut open: Vec<StepIx> = runs.iter().copied().filter(|at| !asks_anew(at)).collect();
    let mut rested_on = BTreeSet::new();
    while let Some(step) = open.pop() {
        if rested_on.insert(step) {
            let before = state.plan.steps[step].depends_on.iter().copied();
            open.extend(before.filter(|at| !rested_on.contains(at) && !asks_anew(at)));
        }
    }
    let mut answered = rested_on.into_iter().filter(|&at| asks(at) && stands(at));
    answered.try_for_each(|at| could_answer(state, at, actor, limit))
}

/// Checks that an actor could answer the question that a step asks, has asked or would ask, if it
/// asks a person.
fn could_answer(
    state: &ThreadState,
    at: StepIx,
    actor: &Actor,
    limit: usize,
) -> Result<(), String> {
    let Some((planned, terms)) = approval(state, at) else { return Ok(()) };
    let answered = state.steps[at].status() == StepStatus::Completed;
    let asked = questions(state, planned).last();
    if let Some(asked) = asked.filter(|one| answered || one.resolved.is_none()) {
        return judge(state, &asked.opened, actor);
    }
    controls(actor)?;
    let Some(template) = terms else { return Ok(()) };
    let rendered = template.render(state, limit.min(MAX_WITH)).ok();
    let read = rendered.and_then(|said| self::terms(&Node::parse(&said).ok()?));
    let (approvers, not_by) =
        read.ok_or_else(|| "who may answer is not known before it is asked".to_owned())?;
    hold(state, (&approvers, not_by.as_deref()), actor)
}

/// Returns the work that a step is at, or else its fallback, if that asks a person; and the
/// template of who may answer, if it has one.
fn approval(state: &ThreadState, at: StepIx) -> Option<(&PlanStep, Option<&Template>)> {
    let (planned, step) = (&state.plan.steps[at], &state.steps[at]);
    [step.work(), Work::Fallback].into_iter().find_map(|work| {
        let planned = planned.work(work);
        match planned.action.wait() {
            Some(Wait::Approval { terms }) => Some((planned, terms.as_ref())),
            Some(Wait::Sleep | Wait::Signal) | None => None,
        }
    })
}

/// Returns the questions of a step, oldest first.
fn questions<'a>(
    state: &'a ThreadState,
    planned: &'a PlanStep,
) -> impl Iterator<Item = &'a Intervention> {
    state.interventions.iter().filter(|one| {
        one.opened.kind == InterventionKind::Approval && one.opened.steps.contains(&planned.id)
    })
}

fn judge(state: &ThreadState, opened: &InterventionOpened, actor: &Actor) -> Result<(), String> {
    controls(actor)?;
    hold(state, (&opened.approvers, opened.not_by.as_deref()), actor)
}

/// Checks that the actor is an operator at least, whatever the question says.
fn controls(actor: &Actor) -> Result<(), String> {
    if actor.role.is_none_or(|role| role >= Role::Operator) {
        return Ok(());
    }
    Err("an approval is answered by an operator or an admin".to_owned())
}

fn hold(
    state: &ThreadState,
    (approvers, not_by): (&[String], Option<&str>),
    actor: &Actor,
) -> Result<(), String> {
    if approvers.is_empty() && not_by.is_none() {
        return Ok(());
    }
    let Some(role) = actor.role else {
        return Err(
            "it says who may answer, and this server has no API keys: nobody's name is proven"
                .to_owned(),
        );
    };
    // An entry that is the name of a role means the role, even if an actor has that name.
    let is_one = |entry: &String| match Role::parse(entry) {
        Some(least) => role >= least,
        None => *entry == actor.by,
    };
    if !approvers.is_empty() && !approvers.iter().any(is_one) {
        let names = approvers.join(", ");
        return Err(format!("it is answered by {names}; {} is none of them", actor.by));
    }
    if not_by.is_some() && state.starters.contains(&actor.by) {
        return Err(format!(
            "it is not answered by whoever started the thread or changed its data, and {} did",
            actor.by
        ));
    }
    Ok(())
}
