//! The work that it takes to parse an expression, by its text alone.
//!
//! The parser guesses which rule applies, and looks ahead until it knows. So a long name costs it
//! little, and an operator much. Before a number, a minus is either an operator or part of the number, and
//! the parser follows both ways at every such place: that costs four times as much again. The figures
//! were measured with repeated fragments of all kinds, and hold for expressions of 50 to 4,096 bytes.
//! A text that cannot be parsed costs up to two milliseconds beyond them; the budget of a workflow bounds
//! the number of those.

/// Units for any expression.
const EACH: u64 = 50;
/// Units for each byte.
const BYTE: u64 = 3;
/// Units for each operator, bracket and comma beside that.
const OPERATOR: u64 = 22;
/// Units for each minus that may stand before a number.
const SIGN: u64 = 180;

/// Returns the price of an expression, in units of about half a microsecond. The content of text
/// literals counts like the rest.
pub(super) fn of(text: &str) -> u64 {
    let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
    let mut units = EACH.saturating_add(BYTE.saturating_mul(bytes));
    let mut rest = text.as_bytes();
    loop {
        let (cost, after) = match rest {
            [] => return units,
            [b'=' | b'!' | b'<' | b'>', b'=', after @ ..]
            | [b'&', b'&', after @ ..]
            | [b'|', b'|', after @ ..] => (OPERATOR, after),
            [b'-', after @ ..] if is_before_no_number(after) => (OPERATOR, after),
            [b'-', after @ ..] => (SIGN, after),
            [byte, after @ ..] if is_plain(*byte) => (0, after),
            [_, after @ ..] => (OPERATOR, after),
        };
        units = units.saturating_add(cost);
        rest = after;
    }
}

/// Whether what follows a minus begins a name, a text or a bracket. Other characters may be
/// skipped before a number: a comment, or one that CEL does not know.
fn is_before_no_number(after: &[u8]) -> bool {
    let next = after.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
    next.is_some_and(|next| {
        next.is_ascii_alphabetic() || matches!(next, b'_' | b'(' | b'[' | b'{' | b'"' | b'\'')
    })
}

/// Whether a byte is part of a name, a number or a text, or stands between them.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'_' | b'.' | b'"' | b'\'' | b' ' | b'\t' | b'\r' | b'\n')
        || !byte.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_cost_more_than_names_and_signs_of_numbers_most() {
        let cost = |text: &str| of(text) - EACH - BYTE * u64::try_from(text.len()).unwrap();
        for (text, operators, signs) in [
            ("", 0, 0),
            ("input.total_1 in x", 0, 0),
            ("a == b && c != d || e <= f", 5, 0),
            ("a < b ? [c, 'd'] : {\"e\": f(g)}", 11, 0),
            ("a - b -(c) - 'd'", 5, 0),
            ("a - 1", 0, 1),
            ("--1", 0, 2),
            ("-\n 1 -@1 -//x\n1", 3, 3),
            ("-.5 -", 0, 2),
            ("'\u{e9}' === '='", 3, 0),
        ] {
            assert_eq!(cost(text), operators * OPERATOR + signs * SIGN, "{text}");
        }
        assert_eq!(of("aa"), EACH + 2 * BYTE);
    }
}
