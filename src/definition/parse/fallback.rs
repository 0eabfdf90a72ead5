//! Reads what stands in for a step that has used its attempts.

use std::collections::BTreeSet;

use super::way::{Surroundings, way};
use crate::contract::Fields;
use crate::definition::template::Names;
use crate::definition::{Fallback, Template};
use crate::model::{Faults, StepId};

/// Members of a fallback that is a step of its own: all that say how an attempt is made. The
/// rest of the step (its place in the graph, its condition, what its failure means) stays.
const STEP_FIELDS: [&str; 8] =
    ["kind", "with", "retry", "timeout", "warnAfter", "heartbeatTimeout", "breaker", "check"];

/// Members of a fallback as long as nothing tells which of the two it is.
const EITHER_FIELDS: [&str; 9] = [
    "output",
    "kind",
    "with",
    "retry",
    "timeout",
    "warnAfter",
    "heartbeatTimeout",
    "breaker",
    "check",
];

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
        fields.allow(&["output"], faults);
        // The output is journalled.
        let names = Names { secrets: false, ..names };
        let output = Template::compile(output.raw(), &at.key("output"), &names, faults);
        return Some(Fallback::Output(output));
    }
    if fields.get("kind").is_none() && fields.get("with").is_none() {
        fields.allow(&EITHER_FIELDS, faults);
        faults.add(&at, "a fallback has an output, or the kind and with of a step");
        return None;
    }
    fields.allow(&STEP_FIELDS, faults);
    let way = way(&fields, &names, visible, around.defaults, faults)?;
    Some(Fallback::Step(Box::new(way.into_step(id?.clone()))))
}

#[cfg(test)]
mod tests;
