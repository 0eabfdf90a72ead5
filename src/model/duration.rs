//! Durations as clients write them: an integer of milliseconds or a string such as `"30s"`.

use std::time::Duration;

use super::Node;

/// Longest duration accepted: ten years, so that no sum with a time of day overflows.
const MAX: Duration = Duration::from_hours(10 * 365 * 24);

/// Reads `"250ms"`, `"30s"`, `"2m"`, `"1h"`, `"7d"`, or combinations such as `"1h 30m"`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let fault = || {
        format!(
            "{text:?} is not a duration; write milliseconds or a string such as \"250ms\", \"30s\", \"2m\", \"1h\""
        )
    };
    let duration = humantime::parse_duration(text.trim()).map_err(|_| fault())?;
    if duration > MAX { Err(format!("{text:?} is longer than ten years")) } else { Ok(duration) }
}

/// Reads a duration from a JSON value: an integer of milliseconds or a string.
pub fn duration_from_node(node: &Node) -> Result<Duration, String> {
    match node {
        Node::String(text) => parse_duration(text),
        Node::Number(digits) => {
            let millis: u64 = digits
                .parse()
                .map_err(|_| format!("{digits} is not a whole number of milliseconds"))?;
            let duration = Duration::from_millis(millis);
            if duration > MAX {
                Err(format!("{digits} ms is longer than ten years"))
            } else {
                Ok(duration)
            }
        }
        Node::Null | Node::Bool(_) | Node::Array(_) | Node::Object(_) => Err(format!(
            "a duration is milliseconds or a string such as \"30s\", not {}",
            node.type_name()
        )),
    }
}
