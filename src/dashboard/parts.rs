//! Small pieces that several pages show.

use std::time::Duration;

use maud::{Markup, html};

use crate::contract::Progress;
use crate::model::{Json, Timestamp};

/// The most bytes of a value that a page shows; the whole is a link away.
const MAX_SHOWN: usize = 4 * 1024;

/// Renders a status as a word with a sign before it, so that nothing depends on its colour.
pub(super) fn badge(status: &str) -> Markup {
    html! { span .badge data-status=(status) { (status) } }
}

/// Renders how many steps of a thread have ended.
pub(super) fn progress(progress: Progress) -> Markup {
    html! {
        span .progress {
            progress max=(progress.total.max(1)) value=(progress.completed) aria-label="Steps that have ended" {}
            span .count { (progress.completed) "/" (progress.total) }
        }
    }
}

/// Renders a moment as the time since then.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(at) title=(at) { (duration(now.since(at))) " ago" } }
}

/// Renders a moment as it is.
pub(super) fn moment(at: Timestamp) -> Markup {
    html! { time datetime=(at) { (at) } }
}

/// Writes a duration for a person, with the two digits that matter.
pub(super) fn duration(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    match seconds {
        0 => format!("{millis} ms"),
        1..=9 => format!("{seconds}.{} s", millis / 100),
        10..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Renders a JSON value behind a fold, cut if it is long.
pub(super) fn value(label: &str, json: &Json) -> Markup {
    let text = json.as_str();
    html! {
        details {
            summary { (label) }
            pre { (cut(text)) @if text.len() > MAX_SHOWN { "…" } }
        }
    }
}

/// Returns the start of a text, at most [`MAX_SHOWN`] bytes, cut between characters.
fn cut(text: &str) -> &str {
    text.split_at(text.floor_char_boundary(MAX_SHOWN)).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well_at_every_size() {
        let table = [
            (7, "7 ms"),
            (1_250, "1.2 s"),
            (59_999, "59 s"),
            (130_000, "2 min"),
            (7_200_000, "2 h"),
            (400_000_000, "4 days"),
        ];
        for (millis, text) in table {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn what_users_wrote_is_escaped_and_cut_between_characters() {
        let shown = |text: &str| value("Input", &Json::string(text)).into_string();
        assert!(shown("<script>").contains("&lt;script&gt;"));
        assert!(shown(&"ü".repeat(MAX_SHOWN)).contains('…'));
    }
}
