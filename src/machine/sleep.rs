//! How long a `sleep` step waits.

use crate::model::{Category, Failure, Json, Node, Timestamp, codes, duration_from_node};

/// The moment a sleep ends, from its filled-in `with`: `for` counts from `now`, `until` is a time.
pub(super) fn wake_time(with: &Json, now: Timestamp) -> Result<Timestamp, Failure> {
    let fault = |detail: String| {
        Failure::permanent(codes::INVALID_CONFIGURATION, Category::Validation, detail)
    };
    let node = Node::parse(with).map_err(|broken| fault(broken.to_string()))?;
    if let Some(length) = node.get("for") {
        return duration_from_node(length).map(|length| now.plus(length)).map_err(fault);
    }
    match node.get("until") {
        Some(Node::String(text)) => Timestamp::parse(text)
            .ok_or_else(|| fault(format!("until: {text:?} is not an RFC 3339 time"))),
        _ => {
            Err(fault("a sleep needs `for` (a duration) or `until` (an RFC 3339 time)".to_owned()))
        }
    }
}
