//! Closes interventions that are not decided themselves: an event of their thread or their steps
//! answers them.

use std::collections::BTreeSet;

use super::Actor;
use super::choices::{self, POLICY};
use super::decision::Decision;
use crate::definition::{Plan, StepIx};
use crate::model::{EventBody, InterventionKind, InterventionOpened};

/// Returns whether any request that sets the thread going again answers an intervention. Others are
/// about one step and stay open.
pub(super) const fn is_of_the_pause(one: &InterventionOpened) -> bool {
    match one.kind {
        InterventionKind::Poison | InterventionKind::Failure => true,
        InterventionKind::Approval | InterventionKind::Blocked => false,
    }
}

/// Withdraws all open interventions of a thread that fails.
pub(super) fn withdraw(decision: &mut Decision<'_>) {
    let actor = Actor {
        by: POLICY.to_owned(),
        reason: Some("the thread has failed".to_owned()),
        ..Actor::default()
    };
    close(decision, choices::WITHDRAWN, &actor, |_| true);
}

/// Resolves the open interventions that an actor's request answers: those that are `concerned`.
pub(super) fn close(
    decision: &mut Decision<'_>,
    choice: &str,
    actor: &Actor,
    concerned: impl Fn(&InterventionOpened) -> bool,
) {
    let open = decision.state.open_interventions().filter(|one| concerned(&one.opened));
    let open: Vec<String> = open.map(|one| one.opened.id.clone()).collect();
    for id in open {
        let settled = decision.settled(id, choice, actor);
        decision.emit(EventBody::InterventionResolved(settled));
    }
}

/// Closes the interventions that a fork does not need: those about steps that run again, and those
/// that the other thread was paused for before it was aborted.
pub(super) fn close_for_fork(decision: &mut Decision<'_>, actor: &Actor, again: &BTreeSet<StepIx>) {
    let plan = decision.plan;
    let goes_on = decision.state.abort_deadline().is_some();
    let ends = |one: &InterventionOpened| goes_on && is_of_the_pause(one);
    close(decision, choices::FORK, actor, |one| ends(one) || concerns(plan, one, again));
}

/// Returns whether an intervention is about one of these steps.
pub(super) fn concerns(plan: &Plan, one: &InterventionOpened, steps: &BTreeSet<StepIx>) -> bool {
    let mut about = one.steps.iter().filter_map(|id| plan.find(id.as_str()));
    about.any(|step| steps.contains(&step))
}
