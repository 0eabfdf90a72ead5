//! How much work a schema can make, found before it is compiled.
//!
//! References and the words that combine schemas (`allOf`, `if`, …) unfold over one and the same
//! place of the data: forty definitions that each name the next one twice come to 2^40 visits of it.
//! Here each schema's visits are counted once and multiplied, so that such a schema is refused at once.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::patterns;

/// Most visits of schemas that one place of the data may lead to: beyond the widest unions of unions.
const MAX_VISITS: u64 = 20_000;
/// Most schemas on the way from one place of the data: each takes stack, and compiling as well.
const MAX_DEPTH: usize = 200;
/// Most bytes of schemas that are compiled for the ways in which its resources (those with an `$id`)
/// lead to each other: each way is compiled by itself.
const MAX_SCOPED: usize = 16 * 1024 * 1024;
/// Most different patterns: together they take [`patterns::MAX_TOTAL`] bytes.
const MAX_PATTERNS: usize = 512;

/// Words whose value is a schema over the same place.
const SAME: [&str; 4] = ["not", "if", "then", "else"];
/// Words whose value is a list of schemas over the same place.
const SAME_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Words whose value names schemas over the same place.
const SAME_MAPS: [&str; 2] = ["dependentSchemas", "dependencies"];
/// Words whose value is a schema over a part, or a list of them.
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
/// Words whose value names schemas over parts, or schemas to be referred to.
const PART_MAPS: [&str; 4] = ["properties", "patternProperties", "$defs", "definitions"];
/// Words that refer to another schema over the same place.
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// What a schema costs while data are held against it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Costs {
    /// Visits of schemas that one place of the data leads to at the most.
    pub(super) visits: u64,
    /// States of the pattern that has the most, for each byte of a text.
    pub(super) text: u64,
    /// States of all patterns for names that stand beside each other, for each byte of a name.
    pub(super) names: u64,
    /// Different patterns.
    pub(super) patterns: usize,
}

/// Counts what a schema can lead to; the error says what is too much.
pub(super) fn survey(schema: &Value) -> Result<Costs, String> {
    let mut walk = Walk { document: schema, ..Walk::default() };
    walk.index(schema, schema);
    let mut at = 0;
    walk.enter(schema, schema);
    while let Some(&(map, resource)) = walk.schemas.get(at) {
        walk.look(at, map, resource)?;
        at += 1;
    }
    walk.costs.patterns = walk.patterns.len();
    if walk.patterns.len() > MAX_PATTERNS {
        return Err(format!("a schema has at most {MAX_PATTERNS} different patterns"));
    }
    walk.count()?;
    walk.scopes()?;
    Ok(walk.costs)
}

static NOTHING: Value = Value::Null;

struct Walk<'a> {
    document: &'a Value,
    /// Every schema that was found, with the resource it stands in.
    schemas: Vec<(&'a Map<String, Value>, &'a Value)>,
    places: HashMap<usize, usize>,
    /// Over the same place: who leads to whom, once for each time.
    same: Vec<Vec<usize>>,
    /// Resources by what they call themselves, and named places in them.
    resources: Vec<(&'a str, &'a Value)>,
    anchors: Vec<(&'a str, &'a Value, &'a Value)>,
    /// Which resource leads to which.
    leads: Vec<(usize, usize)>,
    patterns: HashMap<&'a str, u64>,
    costs: Costs,
}

impl Default for Walk<'_> {
    fn default() -> Self {
        Self {
            document: &NOTHING,
            schemas: Vec::new(),
            places: HashMap::new(),
            same: Vec::new(),
            resources: Vec::new(),
            anchors: Vec::new(),
            leads: Vec::new(),
            patterns: HashMap::new(),
            costs: Costs::default(),
        }
    }
}

fn place<T>(of: &T) -> usize {
    std::ptr::from_ref(of).addr()
}

/// What an object calls itself, if that makes it a resource.
fn id(map: &Map<String, Value>) -> Option<&str> {
    let id = map.get("$id").or_else(|| map.get("id"))?.as_str()?;
    (!id.is_empty() && !id.starts_with('#')).then_some(id)
}

impl<'a> Walk<'a> {
    /// Notes what can be referred to by name.
    fn index(&mut self, value: &'a Value, resource: &'a Value) {
        match value {
            Value::Object(map) => {
                let resource = match id(map) {
                    Some(id) => {
                        self.resources.push((id, value));
                        value
                    }
                    None => resource,
                };
                for word in ["$anchor", "$dynamicAnchor", "$id", "id"] {
                    if let Some(name) = map.get(word).and_then(Value::as_str) {
                        self.anchors.push((name.trim_start_matches('#'), value, resource));
                    }
                }
                map.values().for_each(|inner| self.index(inner, resource));
            }
            Value::Array(items) => items.iter().for_each(|inner| self.index(inner, resource)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// The number of a schema; `None` for `true` and `false`.
    fn enter(&mut self, value: &'a Value, resource: &'a Value) -> Option<usize> {
        let map = value.as_object()?;
        let next = self.schemas.len();
        let number = *self.places.entry(place(map)).or_insert(next);
        if number == next {
            let resource = if id(map).is_some() { value } else { resource };
            self.schemas.push((map, resource));
            self.same.push(Vec::new());
        }
        Some(number)
    }

    fn same(&mut self, from: usize, value: &'a Value, resource: &'a Value) {
        if let Some(to) = self.enter(value, resource) {
            if let Some(edges) = self.same.get_mut(from) {
                edges.push(to);
            }
            self.leads(resource, to);
        }
    }

    fn leads(&mut self, resource: &'a Value, to: usize) {
        if let Some((_, other)) = self.schemas.get(to)
            && place(*other) != place(resource)
        {
            self.leads.push((place(resource), place(*other)));
        }
    }

    fn part(&mut self, value: &'a Value, resource: &'a Value) {
        if let Some(to) = self.enter(value, resource) {
            self.leads(resource, to);
        }
    }

    fn look(
        &mut self,
        at: usize,
        map: &'a Map<String, Value>,
        resource: &'a Value,
    ) -> Result<(), String> {
        for (word, value) in map {
            let word = word.as_str();
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
                self.refer(at, word, to, resource);
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

    /// Follows a reference to wherever it may lead: the worst counts. What leads out of the schema is
    /// refused when it is compiled, but for the meta-schemas, which are known to be harmless.
    fn refer(&mut self, at: usize, word: &str, to: &'a str, resource: &'a Value) {
        let (base, fragment) = to.split_once('#').unwrap_or((to, ""));
        let last = base.rsplit(['/', ':']).next().unwrap_or(base);
        let roots: Vec<&'a Value> = if base.is_empty() {
            vec![resource]
        } else {
            let named = self.resources.iter().filter(|(id, _)| {
                *id == base || id.trim_end_matches('#').rsplit(['/', ':']).next() == Some(last)
            });
            named.map(|(_, root)| *root).collect()
        };
        let mut found: Vec<(&'a Value, &'a Value)> = Vec::new();
        if word == "$recursiveRef" {
            found.extend(self.resources.iter().map(|(_, root)| (*root, *root)));
            found.push((self.document, self.document));
        } else if fragment.is_empty() {
            found.extend(roots.iter().map(|root| (*root, *root)));
        } else if fragment.starts_with('/') {
            found.extend(roots.iter().filter_map(|root| navigate(root, fragment)));
        } else {
            let named = self.anchors.iter().filter(|(name, _, _)| *name == fragment);
            let named = named.filter(|(_, _, of)| {
                word == "$dynamicRef" || roots.iter().any(|root| place(*root) == place(*of))
            });
            found.extend(named.map(|(_, value, of)| (*value, *of)));
        }
        let before = self.schemas.len();
        let targets: Vec<_> =
            found.into_iter().filter_map(|(value, of)| self.enter(value, of)).collect();
        // Several places that one reference may mean: one schema that leads to each of them once.
        debug_assert!(before <= self.schemas.len());
        for to in targets {
            if let Some(edges) = self.same.get_mut(at) {
                edges.push(to);
            }
            self.leads(resource, to);
        }
    }

    /// Visits of each schema, those behind it first.
    fn count(&mut self) -> Result<(), String> {
        let mut visits = vec![0_u64; self.schemas.len()];
        let mut depth = vec![0_usize; self.schemas.len()];
        // 0: not seen, 1: being counted, 2: counted.
        let mut state = vec![0_u8; self.schemas.len()];
        for first in 0..self.schemas.len() {
            let mut open = vec![first];
            while let Some(&at) = open.last() {
                let edges = self.same.get(at).map_or(&[][..], Vec::as_slice);
                if state.get(at) == Some(&0) {
                    set(&mut state, at, 1);
                    for &to in edges {
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
                let behind = |of: &[u64]| edges.iter().filter_map(|to| of.get(*to)).sum::<u64>();
                let own = self.schemas.get(at).map_or(1, |(map, _)| branches(map));
                let total = own.saturating_add(behind(&visits));
                let deepest =
                    edges.iter().filter_map(|to| depth.get(*to)).max().map_or(0, |d| d + 1);
                if total > MAX_VISITS || deepest > MAX_DEPTH {
                    return Err(format!(
                        "its references unfold to more than {MAX_VISITS} schemas, or deeper than \
                         {MAX_DEPTH}, over one and the same place of the data"
                    ));
                }
                set(&mut visits, at, total);
                set(&mut depth, at, deepest);
                self.costs.visits = self.costs.visits.max(total);
            }
        }
        Ok(())
    }

    /// Bounds the ways through its resources: each is compiled by itself.
    fn scopes(&self) -> Result<(), String> {
        if self.leads.is_empty() {
            return Ok(());
        }
        let mut next: HashMap<usize, Vec<usize>> = HashMap::new();
        for (from, to) in &self.leads {
            let all = next.entry(*from).or_default();
            if !all.contains(to) {
                all.push(*to);
            }
        }
        let mut sizes: HashMap<usize, usize> = HashMap::new();
        for (_, resource) in &self.schemas {
            *sizes.entry(place(*resource)).or_default() += SCHEMA_BYTES;
        }
        let mut left = MAX_SCOPED;
        let mut way = vec![(place(self.document), 0_usize)];
        while let Some((at, done)) = way.pop() {
            if done == 0 {
                let size = sizes.get(&at).copied().unwrap_or(SCHEMA_BYTES);
                left = left.checked_sub(size).ok_or_else(|| {
                    "its resources refer to each other in too many ways".to_owned()
                })?;
            }
            let Some(to) = next.get(&at).and_then(|all| all.get(done)) else { continue };
            way.push((at, done + 1));
            if !way.iter().any(|(on_it, _)| on_it == to) {
                way.push((*to, 0));
            }
        }
        Ok(())
    }
}

/// About what one schema takes when it is compiled, in bytes.
const SCHEMA_BYTES: usize = 1024;

fn set<T>(of: &mut [T], at: usize, value: T) {
    if let Some(slot) = of.get_mut(at) {
        *slot = value;
    }
}

fn looped() -> String {
    "a reference leads back to itself without going into the data".to_owned()
}

/// What visiting a schema itself comes to: each `true` and `false` among its branches is a visit.
fn branches(map: &Map<String, Value>) -> u64 {
    let lists = SAME_LISTS.iter().filter_map(|word| map.get(*word)?.as_array());
    let plain = lists.flatten().filter(|branch| branch.is_boolean()).count();
    1 + u64::try_from(plain).unwrap_or(u64::MAX)
}

/// Follows a JSON pointer, percent-encoded or not; what it leads to, and the resource that is in.
fn navigate<'a>(root: &'a Value, fragment: &str) -> Option<(&'a Value, &'a Value)> {
    let pointer = percent_encoding::percent_decode_str(fragment).decode_utf8_lossy();
    let (mut value, mut resource) = (root, root);
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        value = match value {
            Value::Object(map) => map.get(&token)?,
            Value::Array(items) => items.get(token.parse::<usize>().ok()?)?,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
        };
        if value.as_object().and_then(id).is_some() {
            resource = value;
        }
    }
    Some((value, resource))
}
