//! Reads an authored workflow, noting every fault at once.

mod breaker;
mod compensate;
mod fallback;
mod graph;
mod policy;
mod step;
#[cfg(test)]
mod tests;
mod way;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bounded_jq::with_large_stack;
use sha2::{Digest, Sha256};

use self::graph::{Graph, Vertex};
use self::policy::Policy;
use self::way::Surroundings;
use super::outlay;
use super::schema::WEIGHT_PER_BYTE;
use super::template::Names;
use super::{InputSchema, Plan, PlanStep, StepIx, Steps, Template};
use crate::contract::{Fields, StepDefaults, StepDefinition, Value, WorkflowDefinition};
use crate::model::{Fault, Faults, Json, MAX_STEPS, Pointer, StepId, canonical_digest, hex};

/// Longest name of a workflow, in characters: it stands in URLs and in every list.
const MAX_NAME: usize = 128;

impl Plan {
    /// Reads and checks a workflow. `at` is where it stands in the request's body, for the
    /// pointers of the faults: all that were found, never none.
    pub fn parse(workflow: &Json, at: &Pointer) -> Result<Self, Vec<Fault>> {
        with_large_stack(|| Self::read(workflow, at))
            .unwrap_or_else(|detail| Err(vec![Fault::new(at, detail)]))
    }

    /// The same for a workflow that somebody brings: what checking it costs is bounded, and what it may
    /// weigh, in bytes.
    pub fn check(workflow: &Json, at: &Pointer, weight: usize) -> Result<Self, Vec<Fault>> {
        let checked = with_large_stack(|| outlay::within(weight, || Self::read(workflow, at)));
        let fault = |detail| vec![Fault::new(at, detail)];
        let plan = checked.unwrap_or_else(|detail| Err(fault(detail)))?;
        let takes = plan.weight();
        if takes > weight {
            let kib = |bytes: usize| bytes.div_ceil(1024);
            let (takes, most) = (kib(takes), kib(weight));
            let detail = format!(
                "checked, this workflow takes about {takes} KiB of memory, more than the {most} KiB that one may take"
            );
            return Err(fault(detail));
        }
        Ok(plan)
    }

    fn read(workflow: &Json, at: &Pointer) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        match read(workflow, at, &mut faults) {
            Some(plan) if faults.is_empty() => Ok(plan),
            _ => {
                if faults.is_empty() {
                    faults.add(at, "this workflow cannot be read");
                }
                Err(faults.into_vec())
            }
        }
    }
}

fn read(workflow: &Json, at: &Pointer, faults: &mut Faults) -> Option<Plan> {
    let fields = Fields::of(Value::of(workflow), at, "a workflow", faults)?;
    fields.allow(WorkflowDefinition::MEMBERS, faults);
    let name = name(&fields, faults);
    fields.text("description", faults);
    let input_schema = input_schema(&fields, faults);
    let defaults = defaults(&fields, faults);
    let pauses_on_failure = pauses_on_failure(&fields, faults);
    let timeout = positive("timeout", &fields, faults);
    let escalate_after = positive("escalateAfter", &fields, faults);
    let steps_at = at.key("steps");
    fields.require("steps", faults);
    let listed = fields.list("steps", faults);
    if listed.as_ref().is_some_and(Vec::is_empty) {
        faults.add(&steps_at, "a workflow has at least one step");
    }
    let listed = listed.unwrap_or_default();
    if listed.len() > MAX_STEPS {
        faults.add(&steps_at, format!("a workflow has at most {MAX_STEPS} steps"));
        return None;
    }
    let steps: Vec<Option<Fields<'_>>> = listed
        .into_iter()
        .enumerate()
        .map(|(index, step)| Fields::of(step, &steps_at.index(index), "a step", faults))
        .collect();
    let ids = ids(&steps, faults);
    let positions: BTreeMap<&str, usize> = ids
        .iter()
        .enumerate()
        .rev()
        .filter_map(|(position, id)| Some((id.as_deref()?, position)))
        .collect();
    let graph = graph(&steps, &ids, &positions, faults);
    let known: BTreeSet<&str> = positions.keys().copied().collect();
    let around = Surroundings { ids: &ids, known: &known, graph: &graph, defaults: &defaults };
    let mut planned = Vec::new();
    for (position, fields) in steps.iter().enumerate() {
        planned.extend(fields.as_ref().and_then(|f| step::read(position, f, &around, faults)));
        if outlay::is_spent() {
            return None;
        }
    }
    let output = fields.get("output").map(|output| {
        let names = Names { steps: &known, ancestors: None, secrets: false };
        Template::compile(output.raw(), &at.key("output"), &names, faults)
    });
    if !faults.is_empty() {
        return None;
    }
    let steps = link(planned, &graph);
    Some(Plan {
        name: name?.into_owned(),
        hash: hex(&Sha256::digest(workflow.as_str().as_bytes())),
        meaning: canonical_digest(workflow),
        text: workflow.as_str().to_owned(),
        places: steps.placed().map(|(at, step)| (step.id.clone(), at)).collect(),
        steps,
        input_schema,
        pauses_on_failure,
        timeout,
        escalate_after,
        output,
    })
}

fn name<'a>(fields: &Fields<'a>, faults: &mut Faults) -> Option<Cow<'a, str>> {
    fields.require("name", faults);
    let name = fields.text("name", faults)?;
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if !first || !rest || name.len() > MAX_NAME {
        fields.fault("name", "a name must match [A-Za-z0-9][A-Za-z0-9._-]{0,127}", faults);
    }
    Some(name)
}

/// Whether a thread is paused when a step has used up its attempts (`pause`), or fails (`fail`).
fn pauses_on_failure(fields: &Fields<'_>, faults: &mut Faults) -> bool {
    match fields.text("onFailure", faults).as_deref() {
        None | Some("fail") => false,
        Some("pause") => true,
        Some(_) => {
            fields.fault("onFailure", "onFailure is \"fail\" or \"pause\"", faults);
            false
        }
    }
}

/// A duration of the workflow, such as how long a thread may take.
fn positive(name: &str, fields: &Fields<'_>, faults: &mut Faults) -> Option<Duration> {
    let duration = fields.duration(name, faults)?;
    if duration.is_zero() {
        fields.fault(name, format!("{name} is longer than zero"), faults);
    }
    Some(duration)
}

fn input_schema(fields: &Fields<'_>, faults: &mut Faults) -> Option<InputSchema> {
    let at = fields.at().key("inputSchema");
    let schema = fields.get("inputSchema")?;
    let found = schema.type_name();
    if !matches!(found, "object" | "boolean") {
        faults.add(&at, format!("inputSchema is an object, not {found}"));
        return None;
    }
    let length = schema.raw().len();
    let paid =
        outlay::schema(length).and_then(|()| outlay::weigh(length.saturating_mul(WEIGHT_PER_BYTE)));
    let compiled = paid.and_then(|()| InputSchema::compile(&schema.to_json()));
    match compiled {
        Ok(schema) => Some(schema),
        Err(detail) => {
            faults.add(&at, detail);
            None
        }
    }
}

fn defaults(fields: &Fields<'_>, faults: &mut Faults) -> Policy {
    let at = fields.at().key("defaults");
    let given = fields.get("defaults");
    let defaults = given.and_then(|given| Fields::of(given, &at, "defaults", faults));
    let Some(defaults) = defaults else { return Policy::default() };
    defaults.allow(StepDefaults::MEMBERS, faults);
    Policy::read(&defaults, faults)
}

/// The ids of the steps by position; a bad or repeated one is a fault, and still known by name so
/// that whoever refers to it is not at fault too.
fn ids<'a>(steps: &[Option<Fields<'a>>], faults: &mut Faults) -> Vec<Option<Cow<'a, str>>> {
    let mut seen = BTreeSet::new();
    let mut ids = Vec::new();
    for fields in steps {
        let Some(fields) = fields else {
            ids.push(None);
            continue;
        };
        fields.allow(StepDefinition::MEMBERS, faults);
        fields.require("id", faults);
        let id = fields.text("id", faults);
        if let Some(text) = &id {
            if let Err(fault) = StepId::parse(text) {
                fields.fault("id", fault.to_string(), faults);
            } else if !seen.insert(text.clone()) {
                fields.fault("id", format!("there are two steps {text:?}"), faults);
            }
        }
        ids.push(id);
    }
    ids
}

fn graph(
    steps: &[Option<Fields<'_>>],
    ids: &[Option<Cow<'_, str>>],
    positions: &BTreeMap<&str, usize>,
    faults: &mut Faults,
) -> Graph {
    let mut vertices = Vec::new();
    for (fields, id) in steps.iter().zip(ids) {
        vertices.push(match fields {
            Some(fields) => Vertex {
                id: id.as_deref(),
                depends_on: step::depends_on(fields, faults),
                at: fields.at().key("dependsOn"),
            },
            None => Vertex { id: None, depends_on: Vec::new(), at: Pointer::root() },
        });
    }
    Graph::build(&vertices, positions, faults)
}

/// Fills in which steps each step depends on, and which depend on it.
fn link(planned: Vec<PlanStep>, graph: &Graph) -> Steps<PlanStep> {
    let mut steps = Steps::new(planned);
    let places: Vec<StepIx> = steps.places().collect();
    for (at, &dependent) in places.iter().enumerate() {
        for &need in graph.depends_on(at).filter_map(|need| places.get(need)) {
            steps[dependent].depends_on.push(need);
            steps[need].dependents.push(dependent);
        }
    }
    steps
}
