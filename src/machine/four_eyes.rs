//! Who may answer an approval, by whatever door: a decision, a skip, an edit of its output, or
//! other data behind its back.
//!
//! All of it is held against the authenticated name and role of whoever asks ([`Who::role`]).
//! Where nobody is authenticated, a question that says who may answer is answered by nobody.

use std::collections::BTreeSet;

use super::command::Who;
use super::state::{Intervention, ThreadState};
use crate::definition::{Action, PlanStep};
use crate::model::{InterventionKind, InterventionOpened, Json, Node, Role, StepStatus};

/// What `notBy` says: whoever started the thread, or gave it other data since.
pub(super) const STARTER: &str = "starter";

/// Who may answer, as an approval's filled-in `with` says: names or roles, and who may not.
pub(super) fn terms(with: &Node) -> Option<(Vec<String>, Option<String>)> {
    let text = |node: &Node| {
        if let Node::String(text) = node { Some(text.clone()) } else { None }
    };
    let approvers = match with.get("approvers") {
        None => Vec::new(),
        Some(Node::Array(names)) if !names.is_empty() => {
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

/// Whether somebody may decide an open intervention so.
pub(super) fn may_decide(
    state: &ThreadState,
    opened: &InterventionOpened,
    who: &Who,
) -> Result<(), String> {
    match opened.kind {
        InterventionKind::Approval => judge(state, opened, who),
        InterventionKind::Poison | InterventionKind::Failure | InterventionKind::Blocked => Ok(()),
    }
}

/// Whether somebody may do without these steps, each by its position. `limit` bounds what an approval
/// that was not asked yet may say, in bytes.
pub(super) fn may_skip(
    state: &ThreadState,
    steps: impl IntoIterator<Item = usize>,
    who: &Who,
    limit: usize,
) -> Result<(), String> {
    for at in steps {
        let Some((planned, guarded)) = approval(state, at) else { continue };
        if let Some(open) = questions(state, planned).find(|one| one.resolved.is_none()) {
            judge(state, &open.opened, who)?;
            continue;
        }
        controls(who)?;
        if !guarded {
            continue;
        }
        let rendered = planned.with.render(state, limit).ok();
        let read = rendered.and_then(|with| terms(&Node::parse(&with).ok()?));
        let (approvers, not_by) =
            read.ok_or_else(|| "who may answer is not known before it is asked".to_owned())?;
        hold(state, (&approvers, not_by.as_deref()), who)?;
    }
    Ok(())
}

/// Whether somebody may put another output in the place of this step's, where all that comes after
/// it runs again.
pub(super) fn may_answer(state: &ThreadState, step: usize, who: &Who) -> Result<(), String> {
    given(state, |at| at == step, who)
}

/// Whether somebody may put another output in the place of this step's: an approval that looked at
/// it, or is it, has to be one that he could have given himself.
pub(super) fn may_edit(state: &ThreadState, step: usize, who: &Who) -> Result<(), String> {
    let after = state.plan.after(step);
    given(state, |at| after.contains(&at), who)
}

/// Whether somebody may give the thread this input: what was approved stands for what was shown,
/// unless it is asked again.
pub(super) fn may_change_input(
    state: &ThreadState,
    (input, again): (Option<&Json>, &BTreeSet<usize>),
    who: &Who,
) -> Result<(), String> {
    if input.is_none_or(|input| *input == state.input) {
        return Ok(());
    }
    given(state, |at| !again.contains(&at), who)
}

/// Whether somebody could have given each of these approvals himself.
fn given(state: &ThreadState, concerned: impl Fn(usize) -> bool, who: &Who) -> Result<(), String> {
    for at in (0..state.steps.len()).filter(|at| concerned(*at)) {
        let completed = state.step(at).is_some_and(|step| step.status == StepStatus::Completed);
        let Some((planned, _)) = approval(state, at).filter(|_| completed) else { continue };
        if let Some(last) = questions(state, planned).last() {
            judge(state, &last.opened, who)?;
        }
    }
    Ok(())
}

/// The step at a position, in the phase it is in, if that asks a person; and whether it says who.
fn approval(state: &ThreadState, at: usize) -> Option<(&PlanStep, bool)> {
    let (planned, step) = (state.plan.steps.get(at)?, state.step(at)?);
    let planned = planned.phase(step.phase());
    if let Action::Approval { guarded } = &*planned.action {
        return Some((planned, *guarded));
    }
    None
}

/// What was asked at a step, oldest first.
fn questions<'a>(
    state: &'a ThreadState,
    planned: &'a PlanStep,
) -> impl Iterator<Item = &'a Intervention> {
    state.interventions.iter().filter(|one| {
        one.opened.kind == InterventionKind::Approval && one.opened.steps.contains(&planned.id)
    })
}

fn judge(state: &ThreadState, opened: &InterventionOpened, who: &Who) -> Result<(), String> {
    controls(who)?;
    hold(state, (&opened.approvers, opened.not_by.as_deref()), who)
}

/// Decisions are for operators, whatever the question says.
fn controls(who: &Who) -> Result<(), String> {
    if who.role.is_none_or(|role| role >= Role::Operator) {
        return Ok(());
    }
    Err("an approval is answered by an operator or an admin".to_owned())
}

fn hold(
    state: &ThreadState,
    (approvers, not_by): (&[String], Option<&str>),
    who: &Who,
) -> Result<(), String> {
    if approvers.is_empty() && not_by.is_none() {
        return Ok(());
    }
    let Some(role) = who.role else {
        return Err(
            "it says who may answer, and this server has no API keys: nobody's name is proven"
                .to_owned(),
        );
    };
    // The name of a role is a role, whoever has it for a name.
    let is_one = |entry: &String| match Role::parse(entry) {
        Some(least) => role >= least,
        None => *entry == who.by,
    };
    if !approvers.is_empty() && !approvers.iter().any(is_one) {
        let names = approvers.join(", ");
        return Err(format!("it is answered by {names}; {} is none of them", who.by));
    }
    if not_by.is_some() && state.starters.contains(&who.by) {
        return Err(format!(
            "it is not answered by whoever started the thread or changed its data, and {} did",
            who.by
        ));
    }
    Ok(())
}
