//! Makes text from outside fit for a failure's message.

use std::borrow::Cow;

use crate::model::{Category, Failure, Node, codes};

/// Returns the beginning of a text from outside, at most `max` characters, with control characters
/// escaped: it ends up in logs and terminals, where it must not forge a line or move the cursor.
pub(super) fn excerpt(text: &str, max: usize) -> String {
    let trimmed = text.trim();
    let mut out = printable(trimmed.chars().take(max));
    if trimmed.chars().nth(max).is_some() {
        out.push('…');
    }
    out
}

/// Returns the end of a text from outside, like [`excerpt`].
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

/// Returns whether a character makes a terminal show text in another order than it is read.
const fn is_reordering(char: char) -> bool {
    matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns a value as text: strings as they are, other values as compact JSON, the same way a
/// template inside a longer string is filled in.
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

/// Returns the failure of a `with` that is wrong once its templates are filled in.
pub(super) fn invalid(detail: impl std::fmt::Display) -> Failure {
    let message = format!("invalid configuration: {detail}");
    Failure::permanent(codes::INVALID_CONFIGURATION, Category::Validation, message)
}

/// Returns the failure of an output above the bound of `limit` bytes.
pub(super) fn too_large(what: &str, limit: usize) -> Failure {
    let message = format!("{what} is larger than {limit} bytes");
    Failure::permanent(codes::PAYLOAD_TOO_LARGE, Category::Resource, message)
}

/// Returns the failure of an output that breaks the step's promise.
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
