//! Interventions that are answered by something else than a decision about them: by whatever happens
//! to their thread or their steps.

use std::collections::BTreeSet;

use super::Who;
use super::choices::{self, POLICY};
use super::decision::Decision;
use crate::definition::{Plan, StepIx};
use crate::model::{EventBody, InterventionKind, InterventionOpened};

/// Whether an intervention is answered by whatever sets its thread going again. Others are about one
/// step and stay open.
pub(super) const fn is_of_the_pause(one: &InterventionOpened) -> bool {
    match one.kind {
        InterventionKind::Poison | InterventionKind::Failure => true,
        InterventionKind::Approval | InterventionKind::Blocked => false,
    }
}

/// What a thread that fails was waiting for is not decided any more.
pub(super) fn withdraw(decision: &mut Decision<'_>) {
    let who = Who {
        by: POLICY.to_owned(),
        reason: Some("the thread has failed".to_owned()),
        ..Who::default()
    };
    close(decision, choices::WITHDRAWN, &who, |_| true);
}

/// What somebody does to a thread answers what it was waiting for.
pub(super) fn close(
    decision: &mut Decision<'_>,
    choice: &str,
    who: &Who,
    concerned: impl Fn(&InterventionOpened) -> bool,
) {
    let open = decision.state.open_interventions().filter(|one| concerned(&one.opened));
    let open: Vec<String> = open.map(|one| one.opened.id.clone()).collect();
    for id in open {
        let settled = decision.settled(id, choice, who);
        decision.emit(EventBody::InterventionResolved(settled));
    }
}

/// Nobody has to decide any more what is asked about steps that run again in a fork, nor what the
/// other thread was paused for before it was aborted.
pub(super) fn close_for_fork(decision: &mut Decision<'_>, who: &Who, again: &BTreeSet<StepIx>) {
    let plan = decision.plan;
    let goes_on = decision.state.ending().is_some();
    let ends = |one: &InterventionOpened| goes_on && is_of_the_pause(one);
    close(decision, choices::FORK, who, |one| ends(one) || concerns(plan, one, again));
}

/// Whether an intervention is about one of these steps.
pub(super) fn concerns(plan: &Plan, one: &InterventionOpened, steps: &BTreeSet<StepIx>) -> bool {
    let mut about = one.steps.iter().filter_map(|id| plan.find(id.as_str()));
    about.any(|step| steps.contains(&step))
}
