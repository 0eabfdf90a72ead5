//! Resolves an intervention with a person's choice.

use super::super::abort::{abort_and_undo, abort_now};
use super::super::attempt::succeed;
use super::super::decision::Decision;
use super::super::ready::{advance, settle, settle_dependents};
use super::super::{Actor, Rejection, Resume, approval, check, choices, four_eyes};
use super::resume::resume;
use super::skip::emit_skip;
use crate::definition::StepIx;
use crate::model::{EventBody, InterventionKind, InterventionResolved};

/// Returns a person's resolution of an intervention, if that is open, has the digest that was seen,
/// offers the choice, and the person may make it.
pub(super) fn resolution(
    decision: &Decision<'_>,
    (id, choice): (String, String),
    seen: Option<&str>,
    actor: &Actor,
) -> Result<InterventionResolved, Rejection> {
    let found = decision.state.intervention(&id);
    let found = found.ok_or(Rejection::NoIntervention)?;
    if let Some((decided, _)) = &found.resolved {
        let (choice, by) = (decided.choice.clone(), decided.by.clone());
        return Err(Rejection::Resolved { choice, by });
    }
    let same =
        |seen| found.opened.digest.as_ref().is_some_and(|digest| digest.eq_ignore_ascii_case(seen));
    if !seen.is_none_or(same) {
        return Err(Rejection::OtherDigest(found.opened.digest.clone()));
    }
    if !found.opened.choices.contains(&choice) {
        return Err(Rejection::NoSuchChoice(found.opened.choices.clone()));
    }
    let allowed = four_eyes::may_decide(decision.state, &found.opened, actor);
    allowed.map_err(Rejection::NotAnApprover)?;
    if choice == choices::SKIP {
        let plan = decision.plan;
        let steps = found.opened.steps.iter().filter_map(|id| plan.find(id.as_str()));
        four_eyes::may_change(decision.state, steps, actor, decision.context.max_event)
            .map_err(Rejection::NotAnApprover)?;
    }
    Ok(decision.settled(id, &choice, actor))
}

pub(super) fn resolve(
    decision: &mut Decision<'_>,
    decided: InterventionResolved,
    actor: &Actor,
) -> Result<(), Rejection> {
    let asked = decision.state.intervention(&decided.id);
    let asked = asked.map(|one| (one.opened.kind, one.opened.steps.clone()));
    let (kind, steps) = asked.ok_or(Rejection::NoIntervention)?;
    let plan = decision.plan;
    let mut steps = steps.iter().filter_map(|id| plan.find(id.as_str()));
    match (kind, decided.choice.as_str()) {
        (InterventionKind::Approval, _) => {
            let step = steps.next().ok_or(Rejection::NoIntervention)?;
            decision.emit(EventBody::InterventionResolved(decided.clone()));
            let attempt = decision.current(step);
            succeed(decision, attempt, approval::output(&decided), None);
            settle_dependents(decision, step);
            Ok(())
        }
        (_, choices::ABORT) => {
            decision.emit(EventBody::InterventionResolved(decided));
            abort_now(decision, false, actor)
        }
        (InterventionKind::Poison | InterventionKind::Failure, choices::COMPENSATE) => {
            decision.emit(EventBody::InterventionResolved(decided));
            abort_and_undo(decision, actor)
        }
        (InterventionKind::Blocked, _) => {
            let step = steps.next().ok_or(Rejection::NoIntervention)?;
            settle_blocked(decision, step, decided, actor);
            Ok(())
        }
        (InterventionKind::Poison | InterventionKind::Failure, choices::SKIP) => {
            let skip = steps.collect();
            decision.emit(EventBody::InterventionResolved(decided));
            resume(decision, Resume { skip, ..Resume::default() }, actor)
        }
        (InterventionKind::Poison | InterventionKind::Failure, _) => {
            decision.emit(EventBody::InterventionResolved(decided));
            resume(decision, Resume::default(), actor)
        }
    }
}

/// Carries out a person's decision about a blocked output.
fn settle_blocked(
    decision: &mut Decision<'_>,
    step: StepIx,
    decided: InterventionResolved,
    actor: &Actor,
) {
    let choice = decided.choice.clone();
    decision.emit(EventBody::InterventionResolved(decided));
    match choice.as_str() {
        choices::ACCEPT => {
            check::accept(decision, step);
            settle_dependents(decision, step);
        }
        choices::SKIP => {
            emit_skip(decision, step, None, actor);
            advance(decision);
        }
        // On a retry the step is `pending` again, before its next attempt.
        _ => settle(decision, vec![step]),
    }
}
