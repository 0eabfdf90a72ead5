//! Finds how much work a schema can make, before it is compiled.
//!
//! References and the words that combine schemas (`allOf`, `if`, …) unfold over one and the same
//! place of the data: forty definitions that each name the next one twice make 2^40 visits of it.
//! This module counts each schema's visits once and multiplies them, so that such a schema is
//! refused at once.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

use bounded_jq::meter::{self, Budget, spend};
use serde_json::{Map, Value};

use super::copies::Copies;
use super::names::{Meant, Names, Resource, place};
use super::patterns;
use super::ways::Ways;

/// The most visits of schemas that one place of the data may lead to: beyond the widest unions of
/// unions.
const MAX_VISITS: u64 = 20_000;
/// The most schemas on the way from one place of the data: each takes stack, and compiling takes
/// stack as well.
const MAX_DEPTH: usize = 200;
/// The most schemas in one document: the largest that people write have some thousands, and each
/// takes about a kilobyte once compiled.
const MAX_SCHEMAS: usize = 20_000;
/// The most different patterns: together they take [`patterns::MAX_TOTAL`] bytes.
const MAX_PATTERNS: usize = 512;
/// The budget of the survey itself, some tenths of a second in a build that is not optimised: a
/// unit for each value of the document, for each name, schema and reference, for each step between
/// them, and for the names of places. A schema of the largest size has 300,000 values at most. The
/// fuel bounds memory too: a unit makes at most one entry of a table.
const SURVEY: Budget = Budget { fuel: 2_000_000, memory: usize::MAX, stack: 512 * 1024 };

/// The words whose value is a schema over the same place.
const SAME: [&str; 4] = ["not", "if", "then", "else"];
/// The words whose value is a list of schemas over the same place.
const SAME_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// The words whose value names schemas over the same place.
const SAME_MAPS: [&str; 2] = ["dependentSchemas", "dependencies"];
/// The words whose value is a schema over a part, or a list of them.
const PARTS: [&str; 9] = [
    "items",
    "additionalItems",
    "prefixItems",
    "contains",
    "additionalProperties",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contentSchema",
];
/// The words whose value names schemas over parts, or schemas to be referred to.
const PART_MAPS: [&str; 4] = ["properties", "patternProperties", "$defs", "definitions"];
/// The words that refer to another schema over the same place.
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// The costs of validating data against a schema.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Costs {
    /// The most visits of schemas that one place of the data leads to.
    pub(super) visits: u64,
    /// The states of the largest pattern, for each byte of a text.
    pub(super) text: u64,
    /// The states of all patterns for names that stand beside each other, for each byte of a name.
    pub(super) names: u64,
    /// The number of different patterns.
    pub(super) patterns: usize,
    /// The copies that one fault makes.
    pub(super) copies: Copies,
}

/// Counts the work that a schema can lead to; the error names what there is too much of.
pub(super) fn survey(schema: &Value) -> Result<Costs, String> {
    survey_within(SURVEY, schema)
}

fn survey_within(budget: Budget, schema: &Value) -> Result<Costs, String> {
    let surveyed = meter::metered(budget, || {
        let mut walk = Walk::new(schema);
        walk.all(schema)?;
        walk.count()?;
        walk.ways.check()?;
        Ok(walk.costs)
    });
    surveyed.unwrap_or_else(|_| {
        Err("it has more names, references and ways between them than can be looked through".into())
    })
}

/// A schema, or a group of schemas to any of which one reference may lead.
struct Node<'a> {
    /// The schema and the resource that it stands in; `None` for a group. References with the same
    /// meaning lead to one group, whose members are named once: with edges from each reference to
    /// each member, a document would grow to the product of its references and its names.
    schema: Option<(&'a Map<String, Value>, Resource)>,
    /// The nodes that it leads to over the same place, once for each time.
    edges: Vec<usize>,
}

struct Walk<'a> {
    names: Names<'a>,
    nodes: Vec<Node<'a>>,
    schemas: usize,
    places: HashMap<usize, usize>,
    groups: HashMap<Meant<'a>, usize>,
    ways: Ways,
    patterns: HashMap<&'a str, u64>,
    costs: Costs,
}

impl<'a> Walk<'a> {
    fn new(document: &'a Value) -> Self {
        let names = Names::of(document);
        Self {
            ways: Ways::new(names.bytes()),
            names,
            nodes: Vec::new(),
            schemas: 0,
            places: HashMap::new(),
            groups: HashMap::new(),
            patterns: HashMap::new(),
            costs: Costs::default(),
        }
    }

    /// Looks at every schema that the document leads to.
    fn all(&mut self, document: &'a Value) -> Result<(), String> {
        self.enter(document, 0);
        let mut at = 0;
        while let Some(node) = self.nodes.get(at) {
            if let Some((map, resource)) = node.schema {
                self.look(at, map, resource)?;
            }
            if self.schemas > MAX_SCHEMAS {
                return Err(format!("it has more than {MAX_SCHEMAS} schemas in it"));
            }
            at += 1;
        }
        self.costs.patterns = self.patterns.len();
        if self.patterns.len() > MAX_PATTERNS {
            return Err(format!("a schema has at most {MAX_PATTERNS} different patterns"));
        }
        Ok(())
    }

    /// Returns the number of a schema, and its resource; `None` for `true` and `false`.
    fn enter(&mut self, value: &'a Value, outer: Resource) -> Option<(usize, Resource)> {
        spend(1);
        let map = value.as_object()?;
        let next = self.nodes.len();
        let number = *self.places.entry(place(map)).or_insert(next);
        if number == next {
            let resource = self.names.resource(value, outer);
            self.nodes.push(Node { schema: Some((map, resource)), edges: Vec::new() });
            self.schemas += 1;
            self.ways.add_schema(resource);
        }
        let entered = self.nodes.get(number)?.schema.map(|(_, resource)| resource);
        Some((number, entered?))
    }

    fn edge(&mut self, from: usize, to: usize) {
        if let Some(node) = self.nodes.get_mut(from) {
            node.edges.push(to);
        }
    }

    fn same(&mut self, from: usize, value: &'a Value, resource: Resource) {
        if let Some((to, other)) = self.enter(value, resource) {
            self.edge(from, to);
            self.ways.lead(resource, other);
        }
    }

    fn part(&mut self, value: &'a Value, resource: Resource) {
        if let Some((_, other)) = self.enter(value, resource) {
            self.ways.lead(resource, other);
        }
    }

    fn look(
        &mut self,
        at: usize,
        map: &'a Map<String, Value>,
        resource: Resource,
    ) -> Result<(), String> {
        for (word, value) in map {
            let word = word.as_str();
            self.costs.copies.add(word, value)?;
            if SAME.contains(&word) {
                self.same(at, value, resource);
            } else if SAME_LISTS.contains(&word) {
                value.as_array().into_iter().flatten().for_each(|one| self.same(at, one, resource));
            } else if SAME_MAPS.contains(&word) {
                let named = value.as_object().into_iter().flat_map(Map::values);
                named.for_each(|one| self.same(at, one, resource));
            } else if PARTS.contains(&word) {
                self.part(value, resource);
                value.as_array().into_iter().flatten().for_each(|one| self.part(one, resource));
            } else if PART_MAPS.contains(&word) {
                let named = value.as_object().into_iter().flat_map(Map::values);
                named.for_each(|one| self.part(one, resource));
                if word == "patternProperties" {
                    self.name_patterns(value)?;
                }
            } else if let (true, Some(to)) = (REFERENCES.contains(&word), value.as_str()) {
                let group = self.group(Meant::read(word, to, resource));
                self.edge(at, group);
                self.ways.lead_to_group(resource, group);
            } else if let ("pattern", Some(pattern)) = (word, value.as_str()) {
                let states = self.pattern(pattern)?;
                self.costs.text = self.costs.text.max(states);
            } else if matches!(word, "format" | "contentEncoding" | "contentMediaType") {
                self.costs.text = self.costs.text.max(patterns::FORMAT);
            }
        }
        Ok(())
    }

    fn name_patterns(&mut self, value: &'a Value) -> Result<(), String> {
        let mut sum = 0_u64;
        for pattern in value.as_object().into_iter().flat_map(Map::keys) {
            sum = sum.saturating_add(self.pattern(pattern)?);
        }
        self.costs.names = self.costs.names.max(sum);
        Ok(())
    }

    fn pattern(&mut self, pattern: &'a str) -> Result<u64, String> {
        if let Some(states) = self.patterns.get(pattern) {
            return Ok(*states);
        }
        let states = patterns::states(pattern)?;
        self.patterns.insert(pattern, states);
        Ok(states)
    }

    /// Returns the group of all schemas that a reference may lead to. The group leads to each of
    /// them once, since the worst of them counts.
    fn group(&mut self, meant: Meant<'a>) -> usize {
        if let Some(group) = self.groups.get(&meant) {
            return *group;
        }
        let found = self.names.places(meant);
        let entered = found.into_iter().filter_map(|(value, of)| self.enter(value, of));
        let (edges, members): (Vec<_>, BTreeSet<_>) = entered.unzip();
        let group = self.nodes.len();
        self.nodes.push(Node { schema: None, edges });
        self.ways.form(group, members);
        self.groups.insert(meant, group);
        group
    }

    /// Counts the visits of each schema, after those of the schemas that it leads to.
    fn count(&mut self) -> Result<(), String> {
        let mut totals = vec![(0_u64, 0_usize); self.nodes.len()];
        let mut deepest = 0;
        // 0: not seen, 1: being counted, 2: counted.
        let mut state = vec![0_u8; self.nodes.len()];
        for first in 0..self.nodes.len() {
            let mut open = vec![first];
            while let Some(&at) = open.last() {
                spend(1);
                let Some(node) = self.nodes.get(at) else { break };
                if state.get(at) == Some(&0) {
                    set(&mut state, at, 1);
                    for &to in &node.edges {
                        match state.get(to) {
                            Some(1) => return Err(looped()),
                            Some(0) => open.push(to),
                            _ => {}
                        }
                    }
                    continue;
                }
                open.pop();
                if state.get(at) == Some(&2) {
                    continue;
                }
                set(&mut state, at, 2);
                let (visits, depth) = total(node, &totals);
                if visits > MAX_VISITS || depth > MAX_DEPTH {
                    return Err(format!(
                        "its references unfold to more than {MAX_VISITS} schemas, or deeper than \
                         {MAX_DEPTH}, over one and the same place of the data"
                    ));
                }
                set(&mut totals, at, (visits, depth));
                self.costs.visits = self.costs.visits.max(visits);
                deepest = deepest.max(depth);
            }
        }
        self.costs.copies.set_places(self.names.longest(), deepest);
        Ok(())
    }
}

/// Returns the visits that a node causes, and how deep it leads, from the same figures of the nodes
/// that it leads to.
fn total(node: &Node<'_>, totals: &[(u64, usize)]) -> (u64, usize) {
    let own = node.schema.map_or(0, |(map, _)| branches(map));
    let behind = node.edges.iter().filter_map(|to| totals.get(*to));
    let (visits, depth) = behind.fold((own, 0), |(visits, depth), (more, deeper)| {
        (visits.saturating_add(*more), depth.max(deeper + 1))
    });
    // A group is no schema itself.
    (visits, if node.schema.is_some() { depth } else { depth.saturating_sub(1) })
}

fn set<T>(of: &mut [T], at: usize, value: T) {
    if let Some(slot) = of.get_mut(at) {
        *slot = value;
    }
}

fn looped() -> String {
    "a reference leads back to itself without going into the data".to_owned()
}

/// Returns the visits of a schema itself: each `true` and `false` among its branches is one more.
fn branches(map: &Map<String, Value>) -> u64 {
    let lists = SAME_LISTS.iter().filter_map(|word| map.get(*word)?.as_array());
    let plain = lists.flatten().filter(|branch| branch.is_boolean()).count();
    1 + u64::try_from(plain).unwrap_or(u64::MAX)
}
