//! Finds the names by which the schemas of one document can be referred to, once.
//!
//! A reference is looked up by its text, never by a search of the document: a document may have as
//! many references as names, and comparing each with each would cost their product.

use std::collections::HashMap;

use bounded_jq::meter::spend;
use serde_json::{Map, Value};

/// The bytes of a place's name for one unit of fuel. Each word of a compiled schema keeps the whole
/// name of its place, so that one long name above many words would grow to the product of the two.
const BYTES_PER_UNIT: usize = 16;

/// The number of a resource: a schema with an `$id`, or the document, which is 0.
pub(super) type Resource = usize;

/// The targets of a reference. Two references with the same text in the same place have one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Meant<'a> {
    /// Every resource: which one is known only when data are validated.
    Anywhere,
    /// Every place with this anchor, in whatever resource.
    Called(&'a str),
    /// A fragment of the resource that contains the reference.
    Within(Resource, &'a str),
    /// A fragment of each resource whose id ends in the first text.
    Elsewhere(&'a str, &'a str),
}

impl<'a> Meant<'a> {
    /// Reads the value of a word that refers, in `resource`.
    pub(super) fn read(word: &str, to: &'a str, resource: Resource) -> Self {
        let (base, fragment) = to.split_once('#').unwrap_or((to, ""));
        let names = !fragment.is_empty() && !fragment.starts_with('/');
        match word {
            "$recursiveRef" => Self::Anywhere,
            "$dynamicRef" if names => Self::Called(fragment),
            _ if base.is_empty() => Self::Within(resource, fragment),
            _ => Self::Elsewhere(last(base), fragment),
        }
    }
}

/// The names of a document.
#[derive(Debug, Default)]
pub(super) struct Names<'a> {
    resources: Vec<&'a Value>,
    /// By resource: the bytes of the names of all places in it.
    bytes: Vec<usize>,
    longest: usize,
    numbers: HashMap<usize, Resource>,
    /// The resources by the last part of their id.
    ids: HashMap<&'a str, Vec<Resource>>,
    /// The places by their anchors, each with the resource that it stands in.
    anchors: HashMap<&'a str, Vec<(&'a Value, Resource)>>,
    /// The places by their anchors within one resource.
    within: HashMap<(&'a str, Resource), Vec<&'a Value>>,
}

impl<'a> Names<'a> {
    /// Finds all names of a document.
    pub(super) fn of(document: &'a Value) -> Self {
        let mut names = Self::default();
        names.add_resource(document);
        names.add(document, 0, Length::default());
        names
    }

    fn add_resource(&mut self, value: &'a Value) -> Resource {
        let next = self.resources.len();
        let number = *self.numbers.entry(place(value)).or_insert(next);
        if number == next {
            self.resources.push(value);
            self.bytes.push(0);
        }
        number
    }

    fn add(&mut self, value: &'a Value, outer: Resource, mut length: Length) {
        let mut resource = outer;
        if let Some(id) = value.as_object().and_then(id) {
            resource = self.add_resource(value);
            length.base = if id.contains(':') { id.len() } else { length.base + id.len() };
        }
        let bytes = length.base + length.path;
        spend(1 + u64::try_from(bytes / BYTES_PER_UNIT).unwrap_or(u64::MAX));
        self.longest = self.longest.max(bytes);
        if let Some(all) = self.bytes.get_mut(resource) {
            *all += bytes;
        }
        match value {
            Value::Object(map) => {
                if let Some(id) = id(map) {
                    self.ids.entry(last(id.trim_end_matches('#'))).or_default().push(resource);
                }
                for word in ["$anchor", "$dynamicAnchor", "$id", "id"] {
                    if let Some(name) = map.get(word).and_then(Value::as_str) {
                        let name = name.trim_start_matches('#');
                        self.anchors.entry(name).or_default().push((value, resource));
                        self.within.entry((name, resource)).or_default().push(value);
                    }
                }
                for (name, inner) in map {
                    self.add(inner, resource, length.below(name.len()));
                }
            }
            Value::Array(items) => {
                for inner in items {
                    self.add(inner, resource, length.below(1));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// Returns, by resource, the bytes of the names of all places in it.
    pub(super) fn bytes(&self) -> Vec<usize> {
        self.bytes.clone()
    }

    /// Returns the bytes of the longest name of a place.
    pub(super) const fn longest(&self) -> usize {
        self.longest
    }

    /// Returns the resource that a schema makes, or else the one that it stands in.
    pub(super) fn resource(&self, value: &'a Value, outer: Resource) -> Resource {
        self.numbers.get(&place(value)).copied().unwrap_or(outer)
    }

    /// Returns every place that a reference may lead to, with the resource that it stands in. A
    /// reference out of the document is refused when it is compiled, except to the meta-schemas,
    /// which are known to be harmless.
    pub(super) fn places(&self, meant: Meant<'a>) -> Vec<(&'a Value, Resource)> {
        let found = match meant {
            Meant::Anywhere => self.roots(0..self.resources.len()),
            Meant::Called(name) => self.anchors.get(name).cloned().unwrap_or_default(),
            Meant::Within(resource, fragment) => self.fragments(&[resource], fragment),
            Meant::Elsewhere(last, fragment) => {
                let roots = self.ids.get(last).map_or(&[][..], Vec::as_slice);
                self.fragments(roots, fragment)
            }
        };
        spend(u64::try_from(found.len()).unwrap_or(u64::MAX));
        found
    }

    fn roots(&self, of: impl Iterator<Item = Resource>) -> Vec<(&'a Value, Resource)> {
        of.filter_map(|number| Some((*self.resources.get(number)?, number))).collect()
    }

    fn fragments(&self, of: &[Resource], fragment: &'a str) -> Vec<(&'a Value, Resource)> {
        let roots = self.roots(of.iter().copied());
        if fragment.is_empty() {
            return roots;
        }
        if fragment.starts_with('/') {
            let pointer = Pointer::read(fragment);
            return roots.into_iter().filter_map(|root| self.navigate(root, &pointer)).collect();
        }
        let named = roots.into_iter().flat_map(|(_, number)| {
            spend(1);
            let named = self.within.get(&(fragment, number)).into_iter().flatten();
            named.map(move |value| (*value, number))
        });
        named.collect()
    }

    /// Follows a pointer, and returns its target and the resource of that.
    fn navigate(
        &self,
        (mut value, mut resource): (&'a Value, Resource),
        pointer: &Pointer,
    ) -> Option<(&'a Value, Resource)> {
        for token in &pointer.0 {
            spend(1);
            value = match value {
                Value::Object(map) => map.get(token)?,
                Value::Array(items) => items.get(token.parse::<usize>().ok()?)?,
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
            };
            resource = self.resource(value, resource);
        }
        Some((value, resource))
    }
}

/// The length of a place's name, in bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Length {
    /// The length of the resource's id once it is resolved.
    base: usize,
    path: usize,
}

impl Length {
    fn below(self, name: usize) -> Self {
        Self { path: self.path + 1 + name, ..self }
    }
}

/// A JSON pointer whose tokens are split once.
struct Pointer(Vec<String>);

impl Pointer {
    /// Reads a pointer, percent-encoded or not.
    fn read(fragment: &str) -> Self {
        let pointer = percent_encoding::percent_decode_str(fragment).decode_utf8_lossy();
        let tokens = pointer.split('/').skip(1);
        Self(tokens.map(|token| token.replace("~1", "/").replace("~0", "~")).collect())
    }
}

/// Returns the address of a value: no two values of one document have the same.
pub(super) fn place<T>(of: &T) -> usize {
    std::ptr::from_ref(of).addr()
}

/// Returns the id of an object, if it makes the object a resource.
fn id(map: &Map<String, Value>) -> Option<&str> {
    let id = map.get("$id").or_else(|| map.get("id"))?.as_str()?;
    (!id.is_empty() && !id.starts_with('#')).then_some(id)
}

/// Returns the last part of an id: the parts before it depend on where the id stands.
fn last(id: &str) -> &str {
    id.rsplit(['/', ':']).next().unwrap_or(id)
}
