//! The members of `with` for each kind of step: a file per kind and a row in [`KINDS`].
//!
//! These checks are fast feedback at the door. A value with a template in it is known only when
//! the step runs; its executor reads the rendered `with` again and trusts nothing checked here.

mod approval;
mod exec;
mod http;
mod kind;
mod members;
mod signal;
mod sleep;
mod transform;

pub(super) use approval::TERMS;
pub use approval::{MAX_APPROVERS, MAX_CHOICES};
pub use http::METHODS;
pub(super) use kind::{Kind, Reads};

/// Every kind there is.
const KINDS: &[Kind] =
    &[http::KIND, exec::KIND, transform::KIND, sleep::KIND, signal::KIND, approval::KIND];

/// The kind of that name.
pub(super) fn find(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// Every kind with the members of its `with`, for people: a paragraph each, in Markdown.
pub fn describe_kinds() -> String {
    let line = |(name, about): &(&str, &str)| format!("\n- `{name}`: {about}");
    let paragraph = |kind: &Kind| {
        let members: String = kind.members.iter().map(line).collect();
        format!("`{}`: {}\n{members}", kind.name, kind.about)
    };
    let mut paragraphs: Vec<String> = KINDS.iter().map(paragraph).collect();
    let outside = quoted(|kind| kind.shows_life).join(" and ");
    paragraphs.push(format!(
        "Attempts of {outside} are made outside this server: such steps take `heartbeatTimeout` and `breaker`."
    ));
    paragraphs.join("\n\n")
}

/// The names of all kinds, for people: a part of a sentence, in Markdown.
pub fn list_kinds() -> String {
    let names = quoted(|_| true);
    match names.split_last() {
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

fn quoted(wanted: fn(&Kind) -> bool) -> Vec<String> {
    KINDS.iter().filter(|kind| wanted(kind)).map(|kind| format!("`{}`", kind.name)).collect()
}

/// The names of all kinds, for a fault's detail.
pub(super) fn names() -> String {
    let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    names.join(", ")
}

/// A step of that kind, for a fault's detail: the name with its article.
pub(super) fn a_step(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {kind} step")
}
