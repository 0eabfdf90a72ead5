//! Faults of a request's body, each with a JSON pointer, collected so that one answer names all.
//!
//! A place is kept as the way to it and written out when something is wrong there: a document has more
//! places than its length squared could write, and faults only a hundred. Names and texts in it are the
//! client's, so that pointers and details are cut, and an answer never grows to a multiple of its request.

use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;

/// Most faults named in one answer: enough for a person, bounded for the wire.
const MAX_FAULTS: usize = 100;
/// Longest pointer and longest detail, in bytes: each is longer than any that a person reads, and a name
/// in a body may be as long as the body.
const MAX_TEXT: usize = 1024;
/// Most bytes of pointers and details in one answer: some hundred ordinary ones.
const MAX_BYTES: usize = 64 * 1024;
/// Stands at the end of a text that was cut.
const CUT: char = '…';

/// One fault and where in the body it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// JSON pointer (RFC 6901) into the body, of at most 1,024 bytes: a longer one is cut and ends in `…`.
    pub pointer: String,
    /// What is wrong there and what is allowed; cut like the pointer.
    pub detail: String,
}

impl Fault {
    /// A fault of that place.
    pub fn new(at: &Pointer, detail: impl Into<String>) -> Self {
        Self { pointer: at.text(), detail: cut(detail.into()) }
    }

    fn len(&self) -> usize {
        self.pointer.len() + self.detail.len()
    }
}

/// Cuts a text that is too long.
fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT - CUT.len_utf8()));
        text.push(CUT);
    }
    text
}

/// A place in a JSON document. Cheap to make and to clone, however deep it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pointer(Option<Arc<Place>>);

#[derive(Debug, PartialEq, Eq)]
struct Place {
    parent: Pointer,
    name: Name,
}

#[derive(Debug, PartialEq, Eq)]
enum Name {
    /// A member's name, or the beginning of one that no pointer shows whole.
    Key(Box<str>),
    Index(usize),
}

impl Pointer {
    /// The document itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// The member `key` of this object.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        let shown = key.get(..key.floor_char_boundary(MAX_TEXT)).unwrap_or_default();
        self.below(Name::Key(shown.into()))
    }

    /// The element `index` of this array.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.below(Name::Index(index))
    }

    fn below(&self, name: Name) -> Self {
        Self(Some(Arc::new(Place { parent: self.clone(), name })))
    }

    /// The place as an RFC 6901 pointer, cut if it is too long.
    pub fn text(&self) -> String {
        let places = std::iter::successors(self.0.as_deref(), |place| place.parent.0.as_deref());
        let names: Vec<&Name> = places.map(|place| &place.name).collect();
        let mut text = String::new();
        for name in names.into_iter().rev() {
            if text.len() > MAX_TEXT {
                break;
            }
            text.push('/');
            match name {
                Name::Key(key) => text.push_str(&key.replace('~', "~0").replace('/', "~1")),
                Name::Index(index) => {
                    let _infallible = write!(text, "{index}");
                }
            }
        }
        cut(text)
    }
}

/// Collects faults while a document is read.
#[derive(Debug, Default)]
pub struct Faults {
    found: Vec<Fault>,
    bytes: usize,
}

impl Faults {
    /// Notes a fault.
    pub fn add(&mut self, at: &Pointer, detail: impl Into<String>) {
        if !self.is_full() {
            self.push(Fault::new(at, detail));
        }
    }

    /// Notes faults that were found elsewhere, as far as there is room for them.
    pub fn extend(&mut self, faults: impl IntoIterator<Item = Fault>) {
        for fault in faults {
            if self.is_full() {
                break;
            }
            self.push(fault);
        }
    }

    fn push(&mut self, fault: Fault) {
        self.bytes += fault.len();
        self.found.push(fault);
    }

    /// Whether no more are taken: an answer holds so many and no longer ones.
    pub fn is_full(&self) -> bool {
        self.found.len() >= MAX_FAULTS || self.bytes >= MAX_BYTES
    }

    /// Whether nothing was found wrong.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// How many faults were found so far.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// The faults, in the order they were found.
    pub fn into_vec(self) -> Vec<Fault> {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_escapes_and_its_place_keeps_the_order() {
        let at = Pointer::root().key("a/b").index(3).key("~");
        assert_eq!((at.text().as_str(), Pointer::root().text().as_str()), ("/a~1b/3/~0", ""));
        assert_eq!(at, Pointer::root().key("a/b").index(3).key("~"));
    }

    #[test]
    fn a_pointer_or_a_detail_that_is_too_long_is_cut_and_ends_in_an_ellipsis() {
        let whole = Pointer::root().key(&"k".repeat(MAX_TEXT - 1)).text();
        assert_eq!((whole.len(), whole.ends_with('k')), (MAX_TEXT, true));
        for at in [
            Pointer::root().key(&"k".repeat(MAX_TEXT)),
            Pointer::root().key(&"ü/".repeat(MAX_TEXT)).key("x"),
            (0..MAX_TEXT).fold(Pointer::root(), |at, index| at.index(index)),
        ] {
            let fault = Fault::new(&at, "ß".repeat(MAX_TEXT));
            for text in [&fault.pointer, &fault.detail] {
                let (cut, least) = (text.ends_with(CUT), MAX_TEXT - 4);
                assert!(cut && (least..=MAX_TEXT).contains(&text.len()), "{} bytes", text.len());
            }
        }
    }

    #[test]
    fn all_faults_of_an_answer_together_stay_below_a_bound() {
        let long = "x".repeat(1 << 20);
        let mut at = Pointer::root();
        let mut faults = Faults::default();
        for _ in 0..200 {
            at = at.key(&long);
            faults.add(&at, long.as_str());
        }
        let bytes: usize = faults.into_vec().iter().map(Fault::len).sum();
        assert!((MAX_BYTES..MAX_BYTES + 2 * MAX_TEXT).contains(&bytes), "{bytes} bytes");
        let mut short = Faults::default();
        for index in 0..200 {
            short.add(&Pointer::root().index(index), "is wrong");
        }
        assert_eq!(short.len(), MAX_FAULTS);
    }
}
