//! The bytes that a stream sends next: text, or the rest of one large event, which is not copied.

use axum::body::Bytes;

use super::frame;
use crate::model::Json;
use crate::runtime::HeldEvent;

/// The size at which a chunk is sent, in bytes: few writes for many small events.
const CHUNK: usize = 16 * 1024;
/// The size beyond which an event is sent from where it lies, in pieces, in bytes.
const LARGE: usize = 8 * 1024;
/// The longest piece of such an event, in bytes: the rest stays where it lies.
const PIECE: usize = 64 * 1024;

/// Bytes that are ready to be sent.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// The text, which is sent first.
    pub(super) text: String,
    /// The rest of an event, which is sent next, with the end of its frame.
    rest: Bytes,
}

impl Chunk {
    /// Returns whether the chunk should be taken before more is added.
    pub(super) fn is_full(&self) -> bool {
        self.text.len() >= CHUNK || !self.rest.is_empty()
    }

    /// Appends an event's data and the end of its frame; the text holds everything before it.
    pub(super) fn data(&mut self, event: HeldEvent) {
        if event.event().json.as_str().len() > LARGE {
            self.rest = Bytes::from_owner(Held(event));
        } else {
            self.text.push_str(event.event().json.as_str());
            self.text.push_str(frame::END);
        }
    }

    /// Takes the next bytes; `None` if nothing is at hand.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        if !self.text.is_empty() {
            return Some(Bytes::from(std::mem::take(&mut self.text)));
        }
        if self.rest.is_empty() {
            return None;
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        if self.rest.is_empty() {
            // Releases the event as soon as its last piece is gone.
            self.rest = Bytes::new();
            self.text.push_str(frame::END);
        }
        Some(piece)
    }
}

/// The bytes of an event, where they lie.
struct Held(HeldEvent);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        let json: &Json = &self.0.event().json;
        json.as_str().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::RawEvent;

    fn held(text: &str) -> HeldEvent {
        HeldEvent::Own(RawEvent { seq: 1, kind: "step_complete", json: Json::string(text) })
    }

    fn all(chunk: &mut Chunk) -> (String, usize) {
        let (mut out, mut longest) = (Vec::new(), 0);
        while let Some(bytes) = chunk.take() {
            longest = longest.max(bytes.len());
            out.extend_from_slice(&bytes);
        }
        (String::from_utf8(out).unwrap(), longest)
    }

    #[test]
    fn a_large_event_goes_out_in_pieces_and_whole_behind_what_came_before_it() {
        let (small, large) = ("s".repeat(10), "l".repeat(1_000_000));
        let mut chunk = Chunk::default();
        chunk.data(held(&small));
        assert!(!chunk.is_full());
        chunk.text.push_str("data: ");
        chunk.data(held(&large));
        assert!(chunk.is_full());
        let (text, longest) = all(&mut chunk);
        assert_eq!(text, format!("\"{small}\"\n\ndata: \"{large}\"\n\n"));
        assert!(longest <= PIECE && !chunk.is_full());
    }
}
