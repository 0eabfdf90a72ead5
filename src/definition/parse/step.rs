//! Reads one step once the graph is known.

use std::collections::BTreeSet;

use super::way::{Surroundings, compiled, way};
use super::{compensate, fallback};
use crate::contract::{Fields, Value};
use crate::definition::template::Names;
use crate::definition::{Condition, PlanStep};
use crate::model::{Faults, StepId};

/// Reads the step at `position`. `None` if it is at fault.
pub(super) fn read(
    position: usize,
    fields: &Fields<'_>,
    around: &Surroundings<'_>,
    faults: &mut Faults,
) -> Option<PlanStep> {
    let before = faults.len();
    let visible: BTreeSet<&str> = around
        .ids
        .iter()
        .enumerate()
        .filter(|(at, _)| around.graph.is_ancestor(*at, position))
        .filter_map(|(_, id)| id.as_deref())
        .collect();
    let names = Names { steps: around.known, ancestors: Some(&visible), secrets: true };
    let way = way(fields, &names, &visible, around.defaults, faults);
    let when = condition(fields, &visible, faults);
    let id = around.ids.get(position).and_then(|id| StepId::parse(id.as_deref()?).ok());
    let fallback = fallback::read(fields, id.as_ref(), &visible, around, faults);
    let compensate = compensate::read(fields, id.as_ref(), &visible, around, faults);
    if faults.len() > before {
        return None;
    }
    Some(PlanStep { when, fallback, compensate, ..way?.into_step(id?) })
}

fn condition(
    fields: &Fields<'_>,
    visible: &BTreeSet<&str>,
    faults: &mut Faults,
) -> Option<Condition> {
    let text = fields.text("when", faults)?;
    compiled(Condition::compile(&text, visible), &fields.at().key("when"), faults)
}

/// The entries of a step's `dependsOn`.
pub(super) fn depends_on<'a>(fields: &Fields<'a>, faults: &mut Faults) -> Vec<Value<'a>> {
    fields.list("dependsOn", faults).unwrap_or_default()
}
