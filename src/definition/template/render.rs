//! Fills in the references of a template.
//!
//! The size of the result and of the data read for it are bounded while the result grows: a few
//! hundred bytes of references must not be able to take a server's memory or time.

use super::lookup::Lookup;
use super::parts::{Part, Piece};
use crate::definition::reference::{Field, Found, Reference, Root};
use crate::definition::{Scope, allowance, scan};
use crate::model::{Category, Failure, Json, codes, quote};

/// The bytes of data that one rendering may read: some hundred milliseconds of work, and more than
/// the largest data with the deepest references need.
const MAX_READ: usize = 256 * 1024 * 1024;

/// The cost of encoding a byte of an error, in bytes read: each reference encodes it again.
const ENCODING: usize = 16;

/// The cost of a byte that is written, in bytes read: what is filled in is parsed next.
const WRITING: usize = 8;

/// The reason why a template was not filled in. Displays references, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfilled {
    /// A reference names something that does not exist.
    #[error("{{{0}}} is not there")]
    Absent(String),
    /// The result has more than this many bytes.
    #[error("filled in, it has more than {0} bytes")]
    TooLarge(usize),
    /// The references make more work than one template may.
    #[error("it takes too long to fill in")]
    TooLong,
    /// The result is not JSON.
    #[error("filled in, it is no JSON: {0}")]
    Broken(String),
}

impl Unfilled {
    /// Returns the failure of the thing that was to be rendered; its name, `what`, comes first in
    /// the message.
    pub fn failure(&self, what: &str) -> Failure {
        let message = if what.is_empty() { self.to_string() } else { format!("{what}: {self}") };
        let (code, category) = match self {
            Self::Absent(_) | Self::Broken(_) => (codes::TEMPLATE_UNRESOLVED, Category::Validation),
            Self::TooLarge(_) | Self::TooLong => (codes::PAYLOAD_TOO_LARGE, Category::Resource),
        };
        Failure::permanent(code, category, message)
    }
}

/// Renders the parts: at most `limit` bytes.
pub(super) fn render(parts: &[Part], scope: &dyn Scope, limit: usize) -> Result<Json, Unfilled> {
    let readable = allowance::fillable(MAX_READ);
    let mut filler =
        Filler { scope, lookup: Lookup::default(), readable, out: Bounded::new(limit) };
    let done = filler.fill(parts);
    allowance::fill(filler.lookup.read.saturating_add(filler.out.text.len() * WRITING));
    done.and_then(|()| filler.out.finish())
}

struct Filler<'a> {
    scope: &'a dyn Scope,
    lookup: Lookup<'a>,
    /// The bytes of data that it may read.
    readable: usize,
    out: Bounded,
}

impl<'a> Filler<'a> {
    fn fill(&mut self, parts: &'a [Part]) -> Result<(), Unfilled> {
        for part in parts {
            match part {
                Part::Raw(text) => self.out.push(text)?,
                Part::Value(reference) => match self.resolve(reference)? {
                    Found::Json(json) => self.out.push(&json)?,
                    Found::Text(text) => self.out.quote(text)?,
                },
                Part::Text(pieces) => {
                    let text = self.text(pieces)?;
                    self.out.quote(&text)?;
                }
                Part::Scope => self.whole()?,
            }
        }
        Ok(())
    }

    fn resolve<'r>(&mut self, reference: &'r Reference) -> Result<Found<'r>, Unfilled>
    where
        'a: 'r,
    {
        let lookup = &mut self.lookup;
        if let Root::Step(id, Field::Error) = &reference.root
            && let Some(error) = self.scope.step(id).and_then(|step| step.error)
        {
            lookup.read += error.message.len().saturating_mul(ENCODING);
        }
        // One reference may read a path of large values, so none is begun once nothing is left.
        if lookup.read >= self.readable {
            return Err(Unfilled::TooLong);
        }
        let found = reference.resolve(self.scope, &mut |text, path| lookup.follow(text, path));
        found.ok_or_else(|| Unfilled::Absent(reference.text.clone()))
    }

    /// Renders a string with references inside: texts as they are, anything else as JSON.
    fn text(&mut self, pieces: &[Piece]) -> Result<String, Unfilled> {
        let mut text = Bounded { limit: self.out.left(), ..Bounded::new(self.out.named) };
        for piece in pieces {
            match piece {
                Piece::Text(literal) => text.push(literal)?,
                Piece::Reference(reference) => match self.resolve(reference)? {
                    Found::Text(value) => text.push(value)?,
                    Found::Json(json) if scan::is_string(&json) => {
                        self.lookup.read += json.len();
                        text.push(&scan::decode(&json))?;
                    }
                    Found::Json(json) => text.push(&json)?,
                },
            }
        }
        Ok(text.text)
    }

    fn whole(&mut self) -> Result<(), Unfilled> {
        let (scope, out) = (self.scope, &mut self.out);
        out.push("{\"input\":")?;
        out.push(scope.input().as_str())?;
        out.push(",\"thread\":{\"id\":")?;
        out.quote(scope.thread_id().text())?;
        out.push("},\"steps\":{")?;
        for (index, id) in scope.step_ids().into_iter().enumerate() {
            let Some(step) = scope.step(id) else { continue };
            if index > 0 {
                out.push(",")?;
            }
            out.quote(id)?;
            out.push(":{\"status\":")?;
            out.quote(step.status.as_str())?;
            out.push(",\"output\":")?;
            out.push(step.output.map_or("null", Json::as_str))?;
            out.push("}")?;
        }
        out.push("}}")
    }
}

/// Text that grows to a limit.
pub(in crate::definition) struct Bounded {
    text: String,
    limit: usize,
    /// The limit that errors name: that of the whole.
    named: usize,
}

impl Bounded {
    pub(in crate::definition) fn new(limit: usize) -> Self {
        Self { text: String::new(), limit, named: limit }
    }

    fn left(&self) -> usize {
        self.limit.saturating_sub(self.text.len())
    }

    pub(in crate::definition) fn push(&mut self, text: &str) -> Result<(), Unfilled> {
        if text.len() > self.left() {
            return Err(Unfilled::TooLarge(self.named));
        }
        self.text.push_str(text);
        Ok(())
    }

    /// Appends a JSON string.
    pub(in crate::definition) fn quote(&mut self, text: &str) -> Result<(), Unfilled> {
        if text.len() > self.left() {
            return Err(Unfilled::TooLarge(self.named));
        }
        quote(text, &mut self.text);
        if self.text.len() > self.limit {
            return Err(Unfilled::TooLarge(self.named));
        }
        Ok(())
    }

    pub(in crate::definition) fn finish(self) -> Result<Json, Unfilled> {
        // Assembled from compact JSON alone, so this cannot fail.
        Json::trusted(self.text).map_err(|fault| Unfilled::Broken(fault.to_string()))
    }
}
