//! The bytes of server-sent events.

use crate::model::{Seq, ThreadId};
use crate::runtime::RawEvent;

/// The time that a client waits before it connects again. It is in the first event's block, because
/// a block with nothing else reaches some clients as an empty message.
const RETRY: &str = "retry: 2000\n";
/// A comment that keeps the connection alive. It is one line without a blank one behind it: some
/// clients take a blank line after an id for the end of another event.
pub(super) const KEEP_ALIVE: &str = ": keep-alive\n";

/// The end of a frame, after the event's data.
pub(super) const END: &str = "\n\n";

/// Appends everything before the data of one event of a thread, with its number as the id.
pub(super) fn event(out: &mut String, event: &RawEvent, first: bool) {
    retry(out, first);
    out.push_str("id: ");
    out.push_str(&event.seq.to_string());
    out.push('\n');
    data(out, event.kind);
}

/// Appends everything before the data of one event of any thread, without an id: there is nothing
/// to resume from.
pub(super) fn live(out: &mut String, event: &RawEvent, first: bool) {
    retry(out, first);
    data(out, event.kind);
}

/// Appends the notice that the client's cursor is beyond the journal: all events follow from the
/// start.
pub(super) fn reset(out: &mut String, thread: &ThreadId, head: Seq) {
    retry(out, true);
    let text = format!("{{\"type\":\"reset\",\"threadId\":\"{thread}\",\"lastSeq\":{head}}}");
    data(out, "reset");
    out.push_str(&text);
    out.push_str(END);
}

/// Appends a comment about events that a slow reader of the live stream missed.
pub(super) fn missed(out: &mut String, count: u64) {
    out.push_str(": ");
    out.push_str(&count.to_string());
    out.push_str(" events were missed\n");
}

fn retry(out: &mut String, first: bool) {
    if first {
        out.push_str(RETRY);
    }
}

/// Appends the name of an event and the start of its data. Compact JSON has no line breaks, so the
/// data are one line.
fn data(out: &mut String, name: &str) {
    out.push_str("event: ");
    out.push_str(name);
    out.push_str("\ndata: ");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Json;

    fn raw(seq: Seq) -> RawEvent {
        let json = Json::parse(r#"{"seq":4,"text":"a\nid: 9\u2028"}"#).unwrap();
        RawEvent { seq, kind: "step_complete", json }
    }

    #[test]
    fn a_frame_is_id_event_and_data_and_the_first_has_retry() {
        let mut out = String::new();
        for (seq, first) in [(4, true), (5, false)] {
            event(&mut out, &raw(seq), first);
            out.push_str(raw(seq).json.as_str());
            out.push_str(END);
        }
        let data = r#"{"seq":4,"text":"a\nid: 9\u2028"}"#;
        assert_eq!(
            out,
            format!(
                "retry: 2000\nid: 4\nevent: step_complete\ndata: {data}\n\n\
                 id: 5\nevent: step_complete\ndata: {data}\n\n"
            )
        );
    }

    #[test]
    fn resets_and_live_events_have_no_id() {
        let mut out = String::new();
        reset(&mut out, &ThreadId::parse("t1").unwrap(), 3);
        live(&mut out, &raw(4), false);
        assert!(out.starts_with("retry: 2000\nevent: reset\ndata: {\"type\":\"reset\""));
        assert!(!out.lines().any(|line| line.starts_with("id:")));
    }

    #[test]
    fn comments_are_single_lines() {
        let mut out = KEEP_ALIVE.to_owned();
        missed(&mut out, 7);
        assert_eq!(out, ": keep-alive\n: 7 events were missed\n");
    }
}
