//! Redacts a text that comes in pieces.

use super::Redactor;

/// A redactor of a text in pieces. It also finds a secret that is split over several pieces: an end
/// that may be the beginning of one is held back until more is known.
#[derive(Debug)]
pub struct RedactedStream<'r> {
    redactor: &'r Redactor,
    held: String,
    /// The number of bytes at the beginning of `held` that belong to a secret whose mark was given
    /// already.
    marked: usize,
}

impl Redactor {
    /// Redacts the beginning of a longer text. An end that may be the beginning of a secret is left
    /// out.
    pub fn redact_beginning(&self, text: &str) -> String {
        let mut stream = RedactedStream::new(self);
        // A character that was cut in half would hide the secret that it belongs to.
        stream.push(text.trim_end_matches(char::REPLACEMENT_CHARACTER))
    }
}

impl<'r> RedactedStream<'r> {
    /// Makes a stream without a text yet.
    pub const fn new(redactor: &'r Redactor) -> Self {
        Self { redactor, held: String::new(), marked: 0 }
    }

    /// Takes a piece, and returns the text that is settled now.
    pub fn push(&mut self, piece: &str) -> String {
        self.held.push_str(piece);
        let settled = match &self.redactor.0 {
            Some(search) => search.settled(&self.held),
            None => self.held.len(),
        };
        self.give(settled)
    }

    /// Returns the rest, at the end of the text.
    pub fn finish(mut self) -> String {
        self.give(self.held.len())
    }

    fn give(&mut self, to: usize) -> String {
        let Some(search) = &self.redactor.0 else { return std::mem::take(&mut self.held) };
        let mut out = String::new();
        let mut at = self.marked;
        for span in search.spans(&self.held) {
            if span.start >= to {
                break;
            }
            if span.start >= at {
                out.push_str(self.held.get(at..span.start).unwrap_or_default());
                search.mark(&span, &mut out);
            }
            at = at.max(span.end);
        }
        out.push_str(self.held.get(at..to).unwrap_or_default());
        self.marked = at.saturating_sub(to);
        self.held.drain(..to);
        out
    }
}
