//! Reads what undoes a step once it has completed.
//!
//! Called for each step once the graph is known. It never lets anything through that waits: while a
//! thread is undone nobody is asked, and nothing else of it goes on.

use std::collections::BTreeSet;

use super::way::{Surroundings, way};
use crate::contract::{CompensationStep, Fields};
use crate::definition::PlanStep;
use crate::definition::template::Names;
use crate::model::{Faults, StepId};

/// Reads `compensate`, if the step has one; `visible` is whom it may name.
/// In a compensation, that is the step itself as well: what it has done.
pub(super) fn read(
    step: &Fields<'_>,
    id: Option<&StepId>,
    visible: &BTreeSet<&str>,
    around: &Surroundings<'_>,
    faults: &mut Faults,
) -> Option<Box<PlanStep>> {
    let at = step.at().key("compensate");
    let fields = Fields::of(step.get("compensate")?, &at, "compensate", faults)?;
    fields.allow(CompensationStep::MEMBERS, faults);
    let mut visible = visible.clone();
    visible.extend(id.map(StepId::as_str));
    let names = Names { steps: around.known, ancestors: Some(&visible), secrets: true };
    let way = way(&fields, &names, &visible, around.defaults, faults)?;
    let undo = way.into_step(id?.clone());
    if undo.action.waits() {
        let kind = undo.action.kind();
        let detail = format!("{kind} steps wait and undo nothing: they cannot compensate");
        fields.fault("kind", detail, faults);
        return None;
    }
    Some(Box::new(undo))
}

#[cfg(test)]
mod tests;
