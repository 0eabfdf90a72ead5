//! Formats times and failures for people.

use std::time::Duration;

use crate::machine::Intervention;
use crate::model::{Failure, Timestamp};

/// Formats a length of time in its two largest units, such as `350 ms`, `4 s`, `2 m 5 s`,
/// `3 h 20 m` or `2 d 4 h`.
pub(super) fn span(length: Duration) -> String {
    let seconds = length.as_secs();
    let two = |large: u64, unit: &str, small: u64, next: &str| match small {
        0 => format!("{large} {unit}"),
        small => format!("{large} {unit} {small} {next}"),
    };
    match seconds {
        0 => format!("{} ms", length.as_millis()),
        1..60 => format!("{seconds} s"),
        60..3_600 => two(seconds / 60, "m", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "m"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// Formats `since T (5 s)`.
pub(super) fn since(at: Option<Timestamp>, now: Timestamp) -> String {
    at.map_or_else(String::new, |at| format!(" since {at} ({})", span(now.since(at))))
}

/// Formats `since T (5 s)` of a question to a person, and the time of its escalation if there was
/// one.
pub(super) fn asked_since(one: &Intervention, now: Timestamp) -> String {
    let asked = since(Some(one.at), now);
    match one.escalated {
        Some(at) => format!("{asked}, escalated at {at}"),
        None => asked,
    }
}

/// Formats `at T (in 5 s)`, or `at T (now)` once that time has come.
pub(super) fn at(due: Timestamp, now: Timestamp) -> String {
    if due > now {
        format!("at {due} (in {})", span(due.since(now)))
    } else {
        format!("at {due} (now)")
    }
}

/// Formats `code: message`.
pub(super) fn failure(error: &Failure) -> String {
    format!("{}: {}", error.code, error.message)
}

/// Formats `a, b and c`; `nothing` if there is nothing.
pub(super) fn list<T: AsRef<str>>(items: &[T]) -> String {
    match items {
        [] => "nothing".to_owned(),
        [one] => one.as_ref().to_owned(),
        [before @ .., last] => {
            let before: Vec<&str> = before.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", before.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_read_in_its_two_largest_units() {
        for (millis, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (59_999, "59 s"),
            (60_000, "1 m"),
            (125_000, "2 m 5 s"),
            (3_600_000, "1 h"),
            (12_000_000, "3 h 20 m"),
            (187_200_000, "2 d 4 h"),
        ] {
            assert_eq!(span(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn a_list_ends_with_and() {
        assert_eq!(list::<&str>(&[]), "nothing");
        assert_eq!(list(&["a"]), "a");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
    }
}
