//! Reads what stands in for a step that has used its attempts.

use std::collections::BTreeSet;

use super::way::{Surroundings, way};
use crate::contract::{FallbackOutput, FallbackStep, Fields};
use crate::definition::template::Names;
use crate::definition::{Fallback, Template};
use crate::model::{Faults, StepId};

/// Reads `fallback`, if the step has one; `visible` is whom it may name.
/// In a fallback, that is the step itself as well: why it failed.
pub(super) fn read(
    step: &Fields<'_>,
    id: Option<&StepId>,
    visible: &BTreeSet<&str>,
    around: &Surroundings<'_>,
    faults: &mut Faults,
) -> Option<Fallback> {
    let at = step.at().key("fallback");
    let fields = Fields::of(step.get("fallback")?, &at, "fallback", faults)?;
    let mut with_itself = visible.clone();
    with_itself.extend(id.map(StepId::as_str));
    let names = Names { steps: around.known, ancestors: Some(&with_itself), secrets: true };
    if let Some(output) = fields.get("output") {
        fields.allow(FallbackOutput::MEMBERS, faults);
        // The output is journalled.
        let names = Names { secrets: false, ..names };
        let output = Template::compile(output.raw(), &at.key("output"), &names, faults);
        return Some(Fallback::Output(output));
    }
    if fields.get("kind").is_none() && fields.get("with").is_none() {
        fields.allow(&[FallbackOutput::MEMBERS, FallbackStep::MEMBERS].concat(), faults);
        faults.add(&at, "a fallback has an output, or the kind and with of a step");
        return None;
    }
    fields.allow(FallbackStep::MEMBERS, faults);
    let way = way(&fields, &names, visible, around.defaults, faults)?;
    Some(Fallback::Step(Box::new(way.into_step(id?.clone()))))
}

#[cfg(test)]
mod tests;
