//! Changes samples: by bytes, and by pieces (words, strings, whatever stands in brackets), so that
//! much of what comes out is still of the language that is read.

use std::cell::RefCell;
use std::ops::Range;

use proptest::collection::vec;
use proptest::prelude::*;

/// Longest input, in bytes: more costs time and shows little else.
const MAX_INPUT: usize = 16 * 1024;
/// Most changes of one input.
const MAX_CHANGES: usize = 6;
/// Most times that a piece is repeated.
const MAX_REPEATS: u16 = 200;

/// Bytes that mean something to many readers.
const BYTES: &[u8] = b"\0\t\n\r \"#%&'*+,-./09:;<=>?@AZ[\\]_az{|}~\x7f\x80\xbf\xc3\xed\xf0\xff";

/// Numbers at whose edges readers err, and texts that are not quite what they seem.
const EDGES: &[&str] = &[
    "0",
    "1",
    "-0",
    "-1",
    "00",
    "1.0",
    "1e9",
    "1e-9",
    "1e400",
    "0.1",
    "255",
    "256",
    "65536",
    "2147483648",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "1000000000000000000000000000000",
    "null",
    "true",
    "false",
    "\"\"",
    "[]",
    "{}",
    "\\u0000",
    "\\ud800",
    "\\ud83d\\ude00",
    "\u{feff}",
    "\u{2028}",
    "é",
    "\u{1F600}",
    "\u{202e}",
    "%00",
    "%2f",
    "..",
    "\r\n",
    "\n\n",
    "nan",
    "inf",
];

/// A change: its kind, and what it takes to carry it out.
type Change = (u8, u16, u16, u16);

/// Inputs made of samples.
pub(super) fn inputs<'a>(
    samples: &'a RefCell<Vec<Vec<u8>>>,
    tokens: &'a [&'a str],
) -> impl Strategy<Value = Vec<u8>> + 'a {
    let known = samples.borrow().len();
    let change = (0_u8..14, any::<u16>(), any::<u16>(), any::<u16>());
    (0..known, vec(change, 0..=MAX_CHANGES)).prop_map(move |(at, changes)| {
        let samples = samples.borrow();
        let changed = changes.into_iter().fold(samples[at].clone(), |input, change| {
            let other = &samples[usize::from(change.3) % known];
            apply(input, change, other, tokens)
        });
        changed.into_iter().take(MAX_INPUT).collect()
    })
}

fn apply(mut input: Vec<u8>, change: Change, other: &[u8], tokens: &[&str]) -> Vec<u8> {
    let (kind, one, two, three) = change;
    let at = place(&input, one);
    match kind {
        0 => with(&input, at..at + 1, &[input.get(at).unwrap_or(&0) ^ (1 << (two % 8))]),
        1 => with(&input, at..at + 1, &[*pick(BYTES, two)]),
        2 => with(&input, at..at, pick(EDGES, two).as_bytes()),
        3 => with(&input, piece(&input, at), pick(EDGES, two).as_bytes()),
        4 if !tokens.is_empty() => with(&input, at..at, pick(tokens, two).as_bytes()),
        5 if !tokens.is_empty() => with(&input, piece(&input, at), pick(tokens, two).as_bytes()),
        6 => with(&input, piece(&input, at), b""),
        7 => with(&input, at..at + usize::from(two % 16), b""),
        8 => {
            let part = input[piece(&input, at)].to_vec();
            let most = MAX_INPUT / part.len().max(1);
            with(&input, at..at, &part.repeat(usize::from(1 + two % MAX_REPEATS).min(most)))
        }
        9 => {
            let (from, to) = (piece(&input, at), piece(&input, place(&input, two)));
            let part = input[from].to_vec();
            with(&input, to, &part)
        }
        10 => {
            input.truncate(at);
            input
        }
        11 => with(&input, at..input.len(), &other[place(other, two)..]),
        12 => with(&input, piece(&input, at), &other[piece(other, place(other, two))]),
        _ => {
            let (open, close) = *pick(&[("[", "]"), ("{\"a\":", "}"), ("(", ")"), ("!", "")], two);
            let depth = usize::from(three % MAX_REPEATS);
            let inner = piece(&input, at);
            let (open, close) = (open.repeat(depth), close.repeat(depth));
            let nested = [open.as_bytes(), &input[inner.clone()], close.as_bytes()].concat();
            with(&input, inner, &nested)
        }
    }
}

fn pick<T>(from: &[T], number: u16) -> &T {
    &from[usize::from(number) % from.len()]
}

/// A place in the input, its end among them.
fn place(input: &[u8], number: u16) -> usize {
    usize::from(number) % (input.len() + 1)
}

/// The input with `part` in the place of a range of it.
fn with(input: &[u8], range: Range<usize>, part: &[u8]) -> Vec<u8> {
    let (from, to) = (range.start.min(input.len()), range.end.min(input.len()));
    [&input[..from], part, &input[to..]].concat()
}

/// The word, the string or the bracket that begins at a place or around it.
fn piece(input: &[u8], at: usize) -> Range<usize> {
    let Some(&byte) = input.get(at) else { return at..at };
    let end = match byte {
        b'{' | b'[' | b'(' => end_of_bracket(input, at),
        b'"' | b'\'' => {
            let rest = input.iter().skip(at + 1).position(|other| *other == byte);
            rest.map_or(input.len(), |length| at + length + 2)
        }
        _ if is_word(byte) => {
            let before = input[..at].iter().rev().take_while(|byte| is_word(**byte)).count();
            let after = input[at..].iter().take_while(|byte| is_word(**byte)).count();
            return at - before..at + after;
        }
        _ => at + 1,
    };
    at..end
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-') || byte >= 0x80
}

fn end_of_bracket(input: &[u8], at: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, byte) in input[at..].iter().enumerate() {
        match byte {
            b'{' | b'[' | b'(' => depth += 1,
            b'}' | b']' | b')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + offset + 1;
        }
    }
    input.len()
}
