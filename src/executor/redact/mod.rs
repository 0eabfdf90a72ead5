//! Redacts the server's secrets in texts that are stored or shown.
//!
//! One automaton holds every form of every secret: a text is read once per layer of escapes,
//! however many secrets there are. A text must be redacted before it is cut: half a secret is not
//! found.

mod forms;
mod needle;
mod stream;
mod unescape;

use std::borrow::Cow;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind, MatchKind};

use crate::model::{Failure, Json, Node};
use needle::Needle;
pub use stream::RedactedStream;
use unescape::{View, unfinished};

pub(in crate::executor) use forms::MIN_SECRET_BYTES;

/// The most layers of escapes that are decoded: enough for percent-encoded text in JSON inside
/// JSON.
const MAX_LAYERS: usize = 3;

/// The most work to build a table of all states, about a tenth of a second. A needle that repeats
/// itself may cost the square of its length.
const MAX_TABLE_WORK: usize = 8_000_000;

/// Finds and replaces secrets in texts. `Debug` shows none.
#[derive(Default)]
pub struct Redactor(Option<Search>);

struct Search {
    automaton: AhoCorasick,
    /// The texts that the automaton looks for.
    needles: Vec<Needle>,
}

/// The position of a secret in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: usize,
    end: usize,
    /// The needle, and its length: of overlapping ones the longest gives the name.
    needle: usize,
    length: usize,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let forms = self.0.as_ref().map_or(0, |search| search.needles.len());
        f.debug_struct("Redactor").field("forms", &forms).finish_non_exhaustive()
    }
}

impl Redactor {
    /// Makes a redactor of secrets by name. Values that are too short to be told from other text
    /// are left out (see `docs/operations.md`).
    pub fn new<'s>(secrets: impl IntoIterator<Item = (&'s str, &'s str)>) -> Self {
        let mut needles: Vec<(Vec<u8>, String)> = Vec::new();
        for (name, value) in secrets {
            let forms = forms::forms(value).into_iter();
            needles.extend(forms.map(|form| (form.to_ascii_lowercase(), name.to_owned())));
        }
        needles.sort_unstable();
        needles.dedup_by(|(later, _), (earlier, _)| later == earlier);
        if needles.is_empty() {
            return Self(None);
        }
        let work = needles.iter().map(|(needle, _)| needle.len().saturating_mul(needle.len()));
        let work = work.fold(0, usize::saturating_add);
        let automaton = AhoCorasickBuilder::new()
            .kind((work > MAX_TABLE_WORK).then_some(AhoCorasickKind::ContiguousNFA))
            // Every match is wanted: where two secrets overlap, no part of either may be left.
            .match_kind(MatchKind::Standard)
            .ascii_case_insensitive(true)
            .build(needles.iter().map(|(needle, _)| needle));
        match automaton {
            Ok(automaton) => {
                let needles = needles.into_iter().map(|(text, name)| Needle::new(text, name));
                Self(Some(Search { automaton, needles: needles.collect() }))
            }
            Err(error) => {
                // Billions of states: more than an environment can hold.
                tracing::error!(%error, "secrets are too large to be looked for");
                Self(None)
            }
        }
    }

    /// Returns whether a text holds a secret.
    pub fn finds(&self, text: &str) -> bool {
        self.0.as_ref().is_some_and(|search| !search.spans(text).is_empty())
    }

    /// Replaces every secret in a text by `[redacted:NAME]`.
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let Some(search) = &self.0 else { return Cow::Borrowed(text) };
        let spans = search.spans(text);
        if spans.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for span in spans {
            out.push_str(text.get(at..span.start).unwrap_or_default());
            search.mark(&span, &mut out);
            at = span.end;
        }
        out.push_str(text.get(at..).unwrap_or_default());
        Cow::Owned(out)
    }

    /// Redacts every string, key and number of a JSON value. A value that holds no secret comes
    /// back byte for byte.
    pub fn redact_json(&self, json: &Json) -> Json {
        let text = json.as_str();
        if !self.finds(text) {
            return json.clone();
        }
        let Ok(mut node) = Node::parse(json) else { return Json::string(&self.redact(text)) };
        if self.redact_node(&mut node) { node.to_json() } else { json.clone() }
    }

    /// Redacts the message of a failure.
    #[must_use]
    pub fn redact_failure(&self, mut failure: Failure) -> Failure {
        self.redact_string(&mut failure.message);
        failure
    }

    /// Redacts in place; returns whether a secret was found. It recurses as deep as the value,
    /// which is bounded by [`MAX_JSON_DEPTH`](crate::model::MAX_JSON_DEPTH).
    fn redact_node(&self, node: &mut Node) -> bool {
        match node {
            Node::Null | Node::Bool(_) => false,
            Node::Number(digits) => match self.redact(digits) {
                Cow::Borrowed(_) => false,
                Cow::Owned(text) => {
                    *node = Node::String(text);
                    true
                }
            },
            Node::String(text) => self.redact_string(text),
            Node::Array(items) => {
                let mut found = false;
                for item in items {
                    found |= self.redact_node(item);
                }
                found
            }
            Node::Object(members) => {
                let mut found = false;
                for (key, value) in members {
                    found |= self.redact_string(key);
                    found |= self.redact_node(value);
                }
                found
            }
        }
    }

    fn redact_string(&self, text: &mut String) -> bool {
        let Cow::Owned(redacted) = self.redact(text) else { return false };
        *text = redacted;
        true
    }
}

impl Search {
    /// Returns the positions of secrets in a text, in any layer: in order, without overlaps.
    fn spans(&self, text: &str) -> Vec<Span> {
        let mut found = self.matches(text.as_bytes());
        let mut views: Vec<View> = Vec::new();
        for _ in 0..MAX_LAYERS {
            let source = views.last().map_or(text.as_bytes(), |view| view.bytes.as_slice());
            let Some(view) = View::of(source) else { break };
            let inside = self.matches(&view.bytes);
            views.push(view);
            found.extend(inside.into_iter().map(|span| {
                let (start, end) = located(&views, (span.start, span.end));
                let start = text.floor_char_boundary(start);
                Span { start, end: text.ceil_char_boundary(end), ..span }
            }));
        }
        if !views.is_empty() {
            found.sort_unstable_by_key(|span| (span.end, span.start));
            let mut merged = Vec::with_capacity(found.len());
            for span in found {
                merge(&mut merged, span);
            }
            return merged;
        }
        found
    }

    fn matches(&self, bytes: &[u8]) -> Vec<Span> {
        let mut found = Vec::new();
        if self.automaton.is_match(bytes) {
            for hit in self.automaton.find_overlapping_iter(bytes) {
                let (start, end) = (hit.start(), hit.end());
                let needle = hit.pattern().as_usize();
                merge(&mut found, Span { start, end, needle, length: end - start });
            }
        }
        found
    }

    fn mark(&self, span: &Span, out: &mut String) {
        let name = self.needles.get(span.needle).map_or("", |needle| needle.name.as_str());
        out.push_str("[redacted:");
        out.push_str(name);
        out.push(']');
    }

    /// Returns the length of the settled part of a text. Only a secret that begins after that part
    /// may still be completed by later text.
    fn settled(&self, text: &str) -> usize {
        let mut source = text.as_bytes();
        let mut views: Vec<View> = Vec::new();
        let mut settled = text.len();
        for layer in 0..=MAX_LAYERS {
            let whole = unfinished(source);
            let complete = source.get(..whole).unwrap_or_default();
            let open = self.beginning(complete);
            settled = settled.min(outside(&views, open.min(whole), source.len(), text.len()));
            let next = View::of(complete).filter(|_| layer < MAX_LAYERS);
            let Some(view) = next else { break };
            views.push(view);
            source = views.last().map_or(&[], |view| view.bytes.as_slice());
        }
        text.floor_char_boundary(settled)
    }

    /// Returns where the longest suffix of a text starts that is a prefix of a needle; the length
    /// of the text if none is.
    fn beginning(&self, text: &[u8]) -> usize {
        let begun = self.needles.iter().map(|needle| needle.begun(text)).max();
        text.len().saturating_sub(begun.unwrap_or(0))
    }
}

/// Maps a span of the innermost view to the text.
fn located(views: &[View], span: (usize, usize)) -> (usize, usize) {
    views.iter().rev().fold(span, |(start, end), view| view.source(start, end))
}

/// Maps a position of the innermost view to the text; the view's end is the text's end.
fn outside(views: &[View], at: usize, end: usize, text: usize) -> usize {
    if at >= end { text } else { located(views, (at, at + 1)).0 }
}

/// Adds a span to earlier ones, which end no later.
fn merge(found: &mut Vec<Span>, mut span: Span) {
    while let Some(last) = found.pop() {
        if last.end <= span.start {
            found.push(last);
            break;
        }
        span.start = span.start.min(last.start);
        span.end = span.end.max(last.end);
        if last.length > span.length {
            (span.needle, span.length) = (last.needle, last.length);
        }
    }
    found.push(span);
}

#[cfg(test)]
mod tests;
