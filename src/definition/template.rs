//! Templates: JSON in whose strings references such as `{fetch.output.body}` stand.
//!
//! Compiled once into the literal text between the references; rendering copies text and never
//! reads a substituted value again. Called by the runtime for a step's `with` and a thread's
//! output.

mod lookup;
mod origin;
mod parts;
mod place;
mod render;

use std::collections::BTreeSet;

use self::parts::{Part, Piece};
use self::place::Place;
pub(super) use self::render::Bounded;
pub use self::render::Unfilled;
use super::reference::{self, Braced, Field, Reference, Root};
use super::{Scope, outlay, scan};
use crate::model::{Faults, Json, Pointer};
pub use origin::Astray;

/// Longest reference, in bytes: keeps the search for its end linear in the text.
const MAX_REFERENCE: usize = 1024;

/// A compiled template.
#[derive(Debug)]
pub struct Template {
    parts: Vec<Part>,
    secrets: BTreeSet<String>,
    /// The pieces of the URL in it, if it is more than literal text.
    url: Vec<Piece>,
}

/// What the references of a template may name.
pub(super) struct Names<'a> {
    /// The ids of all steps of the workflow.
    pub(super) steps: &'a BTreeSet<&'a str>,
    /// Those that may be named; absent: all.
    pub(super) ancestors: Option<&'a BTreeSet<&'a str>>,
    /// Whether `{secrets.NAME}` may stand here: not where the result is journalled.
    pub(super) secrets: bool,
}

impl Template {
    /// Compiles JSON text; what is wrong with its references is added to `faults`.
    pub(super) fn compile(
        json: &str,
        at: &Pointer,
        names: &Names<'_>,
        faults: &mut Faults,
    ) -> Self {
        if let Err(detail) = outlay::template(json.len()) {
            faults.add(at, detail);
            return Self { parts: Vec::new(), secrets: BTreeSet::new(), url: Vec::new() };
        }
        let mut compiler = Compiler { names, faults, parts: Vec::new(), secrets: BTreeSet::new() };
        compiler.value(json, at);
        Self { parts: compiler.parts, secrets: compiler.secrets, url: Vec::new() }
    }

    /// The same template, which holds one member of its JSON text as a URL: see
    /// [`Template::check_url`].
    pub(super) fn with_url(self, member: &str, json: &str, names: &Names<'_>) -> Self {
        // What is wrong with its references was said when the whole was compiled.
        let (mut said, at) = (Faults::default(), Pointer::root());
        let text = scan::member(json, member).map(scan::decode).unwrap_or_default();
        let faults = &mut said;
        let mut compiler = Compiler { names, faults, parts: Vec::new(), secrets: BTreeSet::new() };
        let url = compiler.pieces(&text, &Place::new(&at));
        Self { url, ..self }
    }

    /// The template of some members of an object alone, whose whole was compiled before; `None` if it
    /// has none of them.
    pub(super) fn of_members(members: &[&str], json: &str, names: &Names<'_>) -> Option<Self> {
        let found = members.iter().filter_map(|name| Some((name, scan::member(json, name)?)));
        let found: Vec<String> =
            found.map(|(name, value)| format!("{}:{value}", Json::string(name).as_str())).collect();
        // What is wrong with its references was said when the whole was compiled.
        let (mut said, at) = (Faults::default(), Pointer::root());
        let json = format!("{{{}}}", found.join(","));
        (!found.is_empty()).then(|| Self::compile(&json, &at, names, &mut said))
    }

    /// The template of a `transform` without `from`:
    /// `{"input":…,"thread":{"id":…},"steps":{id:{"status":…,"output":…}}}`.
    pub(super) fn whole_scope() -> Self {
        Self { parts: vec![Part::Scope], secrets: BTreeSet::new(), url: Vec::new() }
    }

    /// Whether it is that of a `transform` without `from`, which reads all steps.
    pub(super) fn reads_whole_scope(&self) -> bool {
        matches!(self.parts.as_slice(), [Part::Scope])
    }

    /// The names of the secrets it puts in, sorted.
    pub fn uses_secrets(&self) -> impl Iterator<Item = &str> {
        self.secrets.iter().map(String::as_str)
    }

    /// Fills the references in: at most `limit` bytes of JSON, and never more in memory.
    pub fn render(&self, scope: &dyn Scope, limit: usize) -> Result<Json, Unfilled> {
        render::render(&self.parts, scope, limit)
    }
}

struct Compiler<'a, 'n> {
    names: &'a Names<'n>,
    faults: &'a mut Faults,
    parts: Vec<Part>,
    secrets: BTreeSet<String>,
}

impl Compiler<'_, '_> {
    /// Compiles one value, in one pass however deep it is: all of it is text as it stands, but for the
    /// strings with braces.
    fn value(&mut self, json: &str, at: &Pointer) {
        let mut place = Place::new(at);
        let (mut raw, mut next) = (0, 0);
        while let Some(&byte) = json.as_bytes().get(next) {
            if byte != b'"' {
                place.pass(byte);
                next += 1;
                continue;
            }
            let start = next;
            next = scan::end_of_string(json.as_bytes(), start);
            let string = json.get(start..next).unwrap_or_default();
            if place.awaits_key() {
                place.enter(string);
            } else if string.contains(['{', '}']) {
                self.raw(json.get(raw..start).unwrap_or_default());
                self.string(string, &place);
                raw = next;
            }
        }
        self.raw(json.get(raw..).unwrap_or_default());
    }

    fn raw(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if let Some(Part::Raw(last)) = self.parts.last_mut() {
            last.push_str(text);
        } else {
            self.parts.push(Part::Raw(text.to_owned()));
        }
    }

    fn string(&mut self, json: &str, at: &Place<'_>) {
        let text = scan::decode(json);
        let mut pieces = self.pieces(&text, at);
        match pieces.as_slice() {
            [] => self.raw("\"\""),
            [Piece::Text(literal)] if *literal == *text => self.raw(json),
            [Piece::Text(literal)] => self.raw(Json::string(literal).as_str()),
            [Piece::Reference(_)] => {
                if let Some(Piece::Reference(reference)) = pieces.pop() {
                    self.parts.push(Part::Value(reference));
                }
            }
            _ => self.parts.push(Part::Text(pieces)),
        }
    }

    /// Cuts a string at its references. `open` counts the left-alone `{` that wait for their `}`,
    /// so that JSON text such as `{"a":{"b":1}}` keeps both of its last braces.
    fn pieces(&mut self, text: &str, at: &Place<'_>) -> Vec<Piece> {
        let (mut pieces, mut literal, mut open) = (Vec::new(), String::new(), 0_usize);
        let mut rest = text;
        while let Some(next) = rest.find(['{', '}']) {
            let (before, braces) = rest.split_at(next);
            literal.push_str(before);
            if let Some(after) = braces.strip_prefix("{{") {
                literal.push('{');
                rest = after;
            } else if let Some(after) = braces.strip_prefix('{') {
                rest = after;
                if let Some((reference, after)) = self.braced(after, at) {
                    if !literal.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut literal)));
                    }
                    pieces.push(Piece::Reference(reference));
                    rest = after;
                } else {
                    literal.push('{');
                    open += 1;
                }
            } else {
                let single = open > 0 || !braces.starts_with("}}");
                open = open.saturating_sub(1);
                literal.push('}');
                rest = braces.get(if single { 1 } else { 2 }..).unwrap_or_default();
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        pieces
    }

    /// Reads a reference after its opening brace; `None` if it is text.
    fn braced<'t>(&mut self, text: &'t str, at: &Place<'_>) -> Option<(Reference, &'t str)> {
        let (inner, after) = text.split_at_checked(end_of_reference(text)?)?;
        match reference::parse(inner, |id| self.names.steps.contains(id)) {
            Braced::Text => None,
            Braced::Wrong(detail) => {
                self.fault(at, detail);
                None
            }
            Braced::Reference(reference) => {
                self.check(&reference, at);
                Some((reference, after.strip_prefix('}')?))
            }
        }
    }

    fn fault(&mut self, at: &Place<'_>, detail: String) {
        if !self.faults.is_full() {
            self.faults.add(&at.pointer(), detail);
        }
    }

    fn check(&mut self, reference: &Reference, at: &Place<'_>) {
        match &reference.root {
            Root::Input | Root::ThreadId => {}
            Root::Secret(name) if self.names.secrets => {
                self.secrets.insert(name.clone());
            }
            Root::Secret(name) => self.fault(
                at,
                format!("{{secrets.{name}}} may stand only in the `with` of a step that sends it: what is journalled holds no secrets"),
            ),
            Root::Step(id, _) if !self.names.steps.contains(id.as_str()) => {
                self.fault(at, format!("{{{}}}: there is no step {id:?}", reference.text));
            }
            Root::Step(id, field) => {
                if *field == Field::SessionId && outlay::is_bounded() {
                    self.fault(at, format!("{{{}}}: no kind of step has a session yet", reference.text));
                }
                if self.names.ancestors.is_some_and(|ancestors| !ancestors.contains(id.as_str())) {
                    self.fault(
                        at,
                        format!("{{{}}}: this step does not depend on {id:?}", reference.text),
                    );
                }
            }
        }
    }
}

/// Where the closing brace of a reference stands; `None` if there is none before another brace
/// opens. Braces inside `["…"]` belong to the key.
fn end_of_reference(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().take(MAX_REFERENCE).enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return Some(at),
            b'{' if !quoted => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests;
