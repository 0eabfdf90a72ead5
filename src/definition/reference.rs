//! What stands between the braces of a template: `{input.repo}`, `{fetch.output.items[0]}`.
//!
//! The grammar is closed: whatever does not follow it is text. Called by `template` alone.

use std::borrow::Cow;

use super::{Scope, scan};
use crate::model::{Failure, Json};

/// A reference to a part of a thread's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// The reference as it was written, without the braces.
    pub(super) text: String,
    /// Where it begins.
    pub(super) root: Root,
    /// The way from there.
    pub(super) path: Vec<Segment>,
}

/// Where a reference begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Root {
    /// `input`
    Input,
    /// `thread.id`
    ThreadId,
    /// `secrets.NAME`
    Secret(String),
    /// `step.output`, …
    Step(String, Field),
}

/// The part of a step that a reference names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// Its output; `null` unless it completed.
    Output,
    /// The name of its status.
    Status,
    /// The session of its agent; `null` if it has none.
    SessionId,
    /// Its last failure; `null` if it has none.
    Error,
}

/// One step of a path into a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// `.key` or `["key"]`
    Key(String),
    /// `[n]`
    Index(usize),
}

/// The meaning of the text between two braces.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Braced {
    /// A reference.
    Reference(Reference),
    /// Nothing that templates know: text, to be left alone.
    Text,
    /// A root that exists with a member that does not; what is wrong with it.
    Wrong(String),
}

/// The value that a reference names, borrowed from the scope where possible.
pub(super) enum Found<'a> {
    /// JSON text.
    Json(Cow<'a, str>),
    /// Plain text, not yet JSON.
    Text(&'a str),
}

/// Reads what stands between two braces. `is_step` knows the ids of the workflow's steps.
pub(super) fn parse(text: &str, is_step: impl Fn(&str) -> bool) -> Braced {
    let Some((name, mut path)) = split(text) else { return Braced::Text };
    let reference = |root, path| Braced::Reference(Reference { text: text.to_owned(), root, path });
    if name == "input" {
        return reference(Root::Input, path);
    }
    // `{title}`, `{item}`, `{item.x}` and the like are text.
    if path.is_empty() || matches!(name, "item" | "index" | "steps") {
        return Braced::Text;
    }
    let Segment::Key(member) = path.remove(0) else { return Braced::Text };
    match (name, member.as_str()) {
        ("thread", "id") if path.is_empty() => reference(Root::ThreadId, path),
        ("thread", _) => Braced::Wrong(format!("{{{text}}}: of a thread, only {{thread.id}}")),
        ("secrets", _) if path.is_empty() && is_secret_name(&member) => {
            reference(Root::Secret(member), path)
        }
        ("secrets", _) => Braced::Wrong(format!("{{{text}}}: a secret is {{secrets.NAME}}")),
        (step, member) => match (Field::parse(member), is_step(step)) {
            (Some(Field::Status | Field::SessionId), true) if !path.is_empty() => {
                Braced::Wrong(format!("{{{text}}}: {step}.{member} has no members"))
            }
            (Some(field), _) => reference(Root::Step(step.to_owned(), field), path),
            (None, true) => Braced::Wrong(format!(
                "{{{text}}}: a step has output, status, sessionId and error; write {{{{ for a brace"
            )),
            (None, false) => Braced::Text,
        },
    }
}

impl Field {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "output" => Self::Output,
            "status" => Self::Status,
            "sessionId" => Self::SessionId,
            "error" => Self::Error,
            _ => return None,
        })
    }
}

/// Finds the part of a value that a path leads to.
pub(super) type Follow<'f, 'a> = dyn FnMut(&'a str, &[Segment]) -> Option<&'a str> + 'f;

impl Reference {
    /// The value that this names in `scope`, parts of values found by `follow`; `None` without one.
    pub(super) fn resolve<'r, 'a: 'r>(
        &'r self,
        scope: &'a dyn Scope,
        follow: &mut Follow<'_, 'a>,
    ) -> Option<Found<'r>> {
        let whole = match &self.root {
            Root::ThreadId => return Some(Found::Text(scope.thread_id().text())),
            Root::Secret(name) => return scope.secret(name).map(Found::Text),
            Root::Input => scope.input().as_str(),
            Root::Step(id, field) => {
                let step = scope.step(id)?;
                match field {
                    Field::Status => return Some(Found::Text(step.status.as_str())),
                    Field::SessionId => {
                        return Some(match step.session_id {
                            Some(session) => Found::Text(session),
                            None => Found::Json(Cow::Borrowed("null")),
                        });
                    }
                    Field::Output => step.output.map_or("null", Json::as_str),
                    Field::Error => match step.error {
                        Some(error) => return part_of(error, &self.path),
                        None => "null",
                    },
                }
            }
        };
        follow(whole, &self.path).map(|part| Found::Json(Cow::Borrowed(part)))
    }
}

fn part_of<'r>(failure: &Failure, path: &[Segment]) -> Option<Found<'r>> {
    let whole = Json::of(failure).unwrap_or_else(|_| Json::null());
    let part = path.iter().try_fold(whole.as_str(), |value, segment| match segment {
        Segment::Key(key) => scan::member(value, key),
        Segment::Index(index) => scan::items(value).nth(*index),
    });
    part.map(|part| Found::Json(Cow::Owned(part.to_owned())))
}

/// Splits `name.key[0]["key"]` into its name and its path; `None` if it is not of that form.
fn split(text: &str) -> Option<(&str, Vec<Segment>)> {
    let end = text.find(['.', '[']).unwrap_or(text.len());
    let (name, mut rest) = text.split_at_checked(end)?;
    let first = name.bytes().next()?;
    if !(first.is_ascii_alphabetic() || first == b'_') || !name.bytes().all(is_key_byte) {
        return None;
    }
    let mut path = Vec::new();
    while !rest.is_empty() {
        let (segment, after) = segment(rest)?;
        path.push(segment);
        rest = after;
    }
    Some((name, path))
}

fn segment(text: &str) -> Option<(Segment, &str)> {
    if let Some(rest) = text.strip_prefix('.') {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (key, after) = rest.split_at_checked(end)?;
        let sound = !key.is_empty() && key.bytes().all(is_key_byte);
        return sound.then(|| (Segment::Key(key.to_owned()), after));
    }
    let rest = text.strip_prefix('[')?;
    if rest.starts_with('"') {
        let mut quoted = serde_json::Deserializer::from_str(rest).into_iter::<String>();
        let key = quoted.next()?.ok()?;
        let after = rest.get(quoted.byte_offset()..)?.strip_prefix(']')?;
        return Some((Segment::Key(key), after));
    }
    let (digits, after) = rest.split_once(']')?;
    let sound = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let index = digits.parse().ok().filter(|_| sound)?;
    Some((Segment::Index(index), after))
}

fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// Secrets come from environment variables, and are named like them.
fn is_secret_name(name: &str) -> bool {
    !name.contains('-')
}
