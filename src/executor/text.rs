//! Text that comes from outside, made fit for a failure's message.

use std::borrow::Cow;

use crate::model::{Category, Failure, Node, codes};

/// The beginning of a text from outside, at most `max` characters, control characters escaped: it
/// ends up in logs and terminals, where it must not forge a line or move the cursor.
pub(super) fn excerpt(text: &str, max: usize) -> String {
    let trimmed = text.trim();
    let mut out = printable(trimmed.chars().take(max));
    if trimmed.chars().nth(max).is_some() {
        out.push('…');
    }
    out
}

/// The end of a text from outside, like [`excerpt`].
pub(super) fn tail(text: &str, max: usize) -> String {
    let trimmed = text.trim();
    let skipped = trimmed.chars().count().saturating_sub(max);
    let end = printable(trimmed.chars().skip(skipped));
    if skipped > 0 { format!("…{end}") } else { end }
}

fn printable(chars: impl Iterator<Item = char>) -> String {
    let mut out = String::new();
    for char in chars {
        if char.is_control() || is_reordering(char) {
            out.extend(char.escape_default());
        } else {
            out.push(char);
        }
    }
    out
}

/// Characters that make a terminal show text in another order than it is read.
const fn is_reordering(char: char) -> bool {
    matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A value where text is wanted: strings as they are, anything else as compact JSON, the same way
/// a template inside a longer string is filled in.
pub(super) fn text_of(value: &Node) -> Cow<'_, str> {
    match value {
        Node::String(text) => Cow::Borrowed(text),
        Node::Number(digits) => Cow::Borrowed(digits),
        Node::Null | Node::Bool(_) | Node::Array(_) | Node::Object(_) => {
            let mut out = String::new();
            value.write(&mut out);
            Cow::Owned(out)
        }
    }
}

/// A `with` that is wrong once its templates are filled in.
pub(super) fn invalid(detail: impl std::fmt::Display) -> Failure {
    let message = format!("invalid configuration: {detail}");
    Failure::permanent(codes::INVALID_CONFIGURATION, Category::Validation, message)
}

/// An output above the bound of `limit` bytes.
pub(super) fn too_large(what: &str, limit: usize) -> Failure {
    let message = format!("{what} is larger than {limit} bytes");
    Failure::permanent(codes::PAYLOAD_TOO_LARGE, Category::Resource, message)
}

/// An output that is not what the step promised.
pub(super) fn output_invalid(message: String) -> Failure {
    Failure::permanent(codes::OUTPUT_INVALID, Category::Step, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_bounded_and_cannot_forge_a_log_line() {
        assert_eq!(excerpt("  ok\n", 10), "ok");
        assert_eq!(excerpt("a\nb\u{1b}[2J\u{202e}", 99), "a\\nb\\u{1b}[2J\\u{202e}");
        assert_eq!(excerpt("äöüß", 2), "äö…");
        assert_eq!(tail("äöüß\n", 2), "…üß");
        assert_eq!(tail("short", 99), "short");
    }

    #[test]
    fn values_become_text_as_templates_do_it() {
        let node = Node::Array(vec![Node::Number("1.10".to_owned()), Node::Null]);
        assert_eq!(text_of(&node), "[1.10,null]");
        assert_eq!(text_of(&Node::String("a \"b\"".to_owned())), "a \"b\"");
        assert_eq!(text_of(&Node::Bool(true)), "true");
    }
}
