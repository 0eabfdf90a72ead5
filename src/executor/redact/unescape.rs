//! Takes escapes off a text: percent-encoding, backslashes of JSON and of programs, entities of
//! HTML.
//!
//! A view is one layer lighter than its source and knows where in it each byte came from. Called by
//! [`Redactor`](super::Redactor) alone, which looks for secrets in each layer.

/// The length of the longest escape: a pair of surrogates, `\ud83d\ude00`.
const MAX_ESCAPE: usize = 12;

/// A text with one layer of escapes taken off.
pub(super) struct View {
    /// The text.
    pub(super) bytes: Vec<u8>,
    escapes: Vec<Escape>,
}

/// An escape: the `len` bytes of the view from `at` that it stands for, and its position in the
/// source.
struct Escape {
    at: usize,
    len: usize,
    from: usize,
    to: usize,
}

impl View {
    /// Takes a layer off; `None` if there is none.
    pub(super) fn of(source: &[u8]) -> Option<Self> {
        let mut view = Self { bytes: Vec::new(), escapes: Vec::new() };
        let mut rest = source;
        while let Some(next) = rest.iter().position(|byte| is_opening(*byte)) {
            let (plain, escaped) = rest.split_at(next);
            view.bytes.extend_from_slice(plain);
            let from = source.len() - escaped.len();
            let (decoded, length) = decode(escaped).unwrap_or_else(|| (Decoded::first(escaped), 0));
            if length > 0 {
                let at = view.bytes.len();
                view.escapes.push(Escape { at, len: decoded.len, from, to: from + length });
            }
            view.bytes.extend_from_slice(decoded.bytes());
            rest = escaped.get(length.max(1)..).unwrap_or_default();
        }
        view.bytes.extend_from_slice(rest);
        (!view.escapes.is_empty()).then_some(view)
    }

    /// Returns where in the source the bytes from `start` to `end` (not empty) stand.
    pub(super) fn source(&self, start: usize, end: usize) -> (usize, usize) {
        (self.locate(start, false), self.locate(end.saturating_sub(1), true))
    }

    /// Returns where the byte `at` begins in the source, or where it ends.
    fn locate(&self, at: usize, end: bool) -> usize {
        let before = self.escapes.partition_point(|escape| escape.at <= at);
        let Some(escape) = before.checked_sub(1).and_then(|last| self.escapes.get(last)) else {
            return at + usize::from(end);
        };
        match at.checked_sub(escape.at + escape.len) {
            Some(after) => escape.to + after + usize::from(end),
            None if end => escape.to,
            None => escape.from,
        }
    }
}

/// Returns where an escape begins that more text may complete; the end of the text if there is
/// none.
pub(super) fn unfinished(source: &[u8]) -> usize {
    let near = source.len().saturating_sub(MAX_ESCAPE);
    let tail = source.get(near..).unwrap_or_default();
    let opens = |at: &usize| {
        let rest = tail.get(*at..).unwrap_or_default();
        let inside = |byte: &u8| byte.is_ascii_alphanumeric() || b"#{\\".contains(byte);
        rest.first().is_some_and(|byte| is_opening(*byte))
            && decode(rest).is_none()
            && rest.iter().skip(1).all(inside)
    };
    (0..tail.len()).find(opens).map_or(source.len(), |at| near + at)
}

const fn is_opening(byte: u8) -> bool {
    matches!(byte, b'%' | b'\\' | b'&')
}

/// The meaning of an escape: one character, or one byte of one.
struct Decoded {
    buffer: [u8; 4],
    len: usize,
}

impl Decoded {
    const fn byte(byte: u8) -> Self {
        Self { buffer: [byte, 0, 0, 0], len: 1 }
    }

    fn first(text: &[u8]) -> Self {
        Self::byte(text.first().copied().unwrap_or_default())
    }

    fn char(char: char) -> Self {
        let mut buffer = [0; 4];
        let len = char.encode_utf8(&mut buffer).len();
        Self { buffer, len }
    }

    fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }
}

/// Returns the meaning of the escape at the beginning of a text, and its length.
fn decode(text: &[u8]) -> Option<(Decoded, usize)> {
    match text.first()? {
        b'%' => Some((Decoded::byte(u8::try_from(hex(text.get(1..3)?)?).ok()?), 3)),
        b'\\' => backslash(text),
        b'&' => entity(text),
        _ => None,
    }
}

fn backslash(text: &[u8]) -> Option<(Decoded, usize)> {
    let plain = |byte| Some((Decoded::byte(byte), 2));
    match *text.get(1)? {
        kept @ (b'"' | b'\\' | b'/' | b'\'') => plain(kept),
        b'n' => plain(b'\n'),
        b'r' => plain(b'\r'),
        b't' => plain(b'\t'),
        b'b' => plain(8),
        b'f' => plain(12),
        b'x' => Some((Decoded::byte(u8::try_from(hex(text.get(2..4)?)?).ok()?), 4)),
        b'u' if text.get(2) == Some(&b'{') => {
            let digits = text.get(3..)?;
            let digits = digits.get(..digits.iter().take(7).position(|byte| *byte == b'}')?)?;
            let char = char::from_u32(hex(digits)?)?;
            Some((Decoded::char(char), digits.len() + 4))
        }
        b'u' => utf16(text),
        _ => None,
    }
}

/// Decodes `\uXXXX`, or two of them that are one character.
fn utf16(text: &[u8]) -> Option<(Decoded, usize)> {
    let unit = hex(text.get(2..6)?)?;
    if let Some(char) = char::from_u32(unit) {
        return Some((Decoded::char(char), 6));
    }
    let second = text.get(6..12)?.strip_prefix(b"\\u")?;
    let pair = [u16::try_from(unit).ok()?, u16::try_from(hex(second)?).ok()?];
    let char = char::decode_utf16(pair).next()?.ok()?;
    Some((Decoded::char(char), 12))
}

fn entity(text: &[u8]) -> Option<(Decoded, usize)> {
    let end = text.iter().take(MAX_ESCAPE).position(|byte| *byte == b';')?;
    let char = match text.get(1..end)? {
        b"amp" => '&',
        b"lt" => '<',
        b"gt" => '>',
        b"quot" => '"',
        b"apos" => '\'',
        number => {
            let number = number.strip_prefix(b"#")?;
            let code = match number.strip_prefix(b"x").or_else(|| number.strip_prefix(b"X")) {
                Some(digits) => hex(digits),
                None => std::str::from_utf8(number).ok()?.parse().ok(),
            };
            char::from_u32(code?)?
        }
    };
    Some((Decoded::char(char), end + 1))
}

/// Reads a number of one to six hexadecimal digits.
fn hex(digits: &[u8]) -> Option<u32> {
    let plain = (1..=6).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).ok().filter(|_| plain)?;
    u32::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken_off(text: &str) -> Option<String> {
        View::of(text.as_bytes()).map(|view| String::from_utf8_lossy(&view.bytes).into_owned())
    }

    #[test]
    fn one_layer_of_every_known_escape_is_taken_off() {
        for (escaped, plain) in [
            ("a%2Fb%c3%a4", "a/bä"),
            (r#"\"\\\/\n\u00e4\ud83d\ude00"#, "\"\\/\nä😀"),
            (r"\u{e4}\x41\'", "äA'"),
            ("&lt;&amp;&#39;&#x41;&quot;", "<&'A\""),
            ("%2541 100%25", "%41 100%"),
        ] {
            assert_eq!(taken_off(escaped).as_deref(), Some(plain), "{escaped}");
        }
        for plain in
            ["", "plain", "100%", "%zz", r"\ud83d", r"\q", "a & b;", "&nosuch;", r"\u{110000}"]
        {
            assert_eq!(taken_off(plain), None, "{plain}");
        }
    }

    #[test]
    fn every_byte_of_a_view_knows_where_it_came_from() {
        let source = "ab%41cd&lt;e%zz\\u00e4f";
        let view = View::of(source.as_bytes()).unwrap();
        let text = String::from_utf8(view.bytes.clone()).unwrap();
        assert_eq!(text, "abAcd<e%zzäf");
        for (part, came_from) in [
            ("b", "b"),
            ("bA", "b%41"),
            ("A", "%41"),
            ("Acd<", "%41cd&lt;"),
            ("zzäf", "zz\\u00e4f"),
            (text.as_str(), source),
        ] {
            let start = text.find(part).unwrap();
            let (from, to) = view.source(start, start + part.len());
            assert_eq!(&source[from..to], came_from, "{part}");
        }
    }

    #[test]
    fn an_escape_that_is_cut_off_is_noticed() {
        for (text, whole) in [
            ("ab%", "ab"),
            ("ab%4", "ab"),
            ("ab%41", "ab%41"),
            (r"ab\", "ab"),
            (r"ab\u00", "ab"),
            (r"ab\ud83d\ud", "ab"),
            ("ab&am", "ab"),
            ("a & b", "a & b"),
            ("100% sure", "100% sure"),
        ] {
            assert_eq!(&text[..unfinished(text.as_bytes())], whole, "{text}");
        }
    }
}
