//! Estimates of the time and memory that the engine of regular expressions takes, from the text of
//! an expression, never too low.

use super::flags::Flags;
use crate::meter::{Stop, spend, stop};

/// The largest regular expression, in states after its counted repetitions are written out.
const MAX_REGEX: u64 = 10_000;
/// The states that a search goes through for one unit of fuel.
const STATES_PER_UNIT: u64 = 64;
/// The engine's memory for a state, in bytes: the state itself, and its places in two sets of
/// states.
const STATE: u64 = 128;
/// The engine's memory for a group of a state, in bytes: the beginning and the end of the group, in
/// two sets of states.
const GROUP: u64 = 32;
/// The most states that the engine makes of one that is counted here, with those between them.
const STATES_PER_BYTE: u64 = 3;
/// The states that are gone through in the time that the engine takes for a byte whatever the
/// expression.
const BASE: u64 = 6;
/// The further states that are gone through for a sign by which the engine has a choice: it follows
/// both ways at each byte.
const CHOICE: u64 = 2;
/// The groups whose places are copied in the time that one state takes.
const GROUPS_PER_STATE: u64 = 4;
/// The units of fuel for reading a state and making it.
const COMPILED: u64 = 2;
/// The longest character that one state matches, in bytes.
const SIGN: u64 = 4;

/// The costs of an expression.
#[derive(Debug, Clone, Copy)]
pub(super) struct Costs {
    /// The approximate number of states.
    states: u64,
    /// The cost of a byte of text: states, and the places of their groups.
    byte: u64,
    /// The memory that the engine takes, in bytes.
    memory: u64,
    /// The number of bytes that a search may look at beyond the end of its match. The next search
    /// looks at them again: if that is the whole text, all searches together are quadratic in it.
    beyond: u64,
}

impl Costs {
    /// Estimates the costs of an expression; ends the run if it is too large.
    pub(super) fn of(regex: &str, flags: Flags<'_>) -> Self {
        let states = states(regex, flags);
        if states > MAX_REGEX {
            stop(Stop::Value);
        }
        let groups = count(regex.matches('(').count()) + 1;
        let choices = count(regex.matches(['|', '?', '*', '+']).count());
        // Counted repetitions multiply the choices within them as well.
        let repeated = states.div_ceil(count(regex.len()).max(1));
        let steps = BASE + states + choices * CHOICE * repeated;
        Self {
            states,
            byte: steps * (1 + groups / GROUPS_PER_STATE),
            memory: states * STATES_PER_BYTE * (STATE + groups * GROUP),
            beyond: match (is_plain(regex, flags), is_endless(regex)) {
                (true, _) => 0,
                (false, true) => u64::MAX,
                (false, false) => states * SIGN,
            },
        }
    }

    /// Returns the memory that the engine takes, in bytes.
    pub(super) fn memory(self) -> usize {
        usize::try_from(self.memory).unwrap_or(usize::MAX)
    }

    /// Charges for reading the expression.
    pub(super) fn compile(self) {
        spend(self.states * COMPILED);
    }

    /// Charges a search through this many bytes, and all searches that begin where the one before
    /// ended.
    pub(super) fn search(self, bytes: usize) {
        self.look(count(bytes));
    }

    /// Charges the bytes that the next search looks at once more, of the `bytes` that are left to
    /// it.
    pub(super) fn again(self, bytes: usize) {
        if self.beyond > 0 {
            self.look(count(bytes).min(self.beyond));
        }
    }

    fn look(self, bytes: u64) {
        spend(self.byte.saturating_mul(bytes.saturating_add(1)) / STATES_PER_UNIT + 1);
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Returns the approximate number of states of a regular expression: its length times every count
/// in it.
fn states(regex: &str, flags: Flags<'_>) -> u64 {
    let length = count(regex.len());
    regex.split('{').skip(1).fold(length.max(1), |states, counted| {
        let is_count = |sign: char| sign.is_ascii_digit() || sign == ',' || sign.is_whitespace();
        let end = counted.find(|sign| !is_count(sign)).unwrap_or(counted.len());
        if counted.get(end..).is_some_and(|rest| rest.starts_with('#')) && may_ignore(regex, flags)
        {
            // The digits have a comment between them.
            return u64::MAX;
        }
        let counts = counted.get(..end).unwrap_or_default().split(',').map(|digits| {
            let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
            if digits.is_empty() { 1 } else { digits.parse().unwrap_or(u64::MAX) }
        });
        states.saturating_mul(counts.max().unwrap_or(1).max(1))
    })
}

/// Returns whether white space and comments may be ignored in the expression.
fn may_ignore(regex: &str, flags: Flags<'_>) -> bool {
    flags.has('x') || (regex.contains("(?") && regex.contains('x'))
}

/// Returns whether a part of the expression may be repeated without an end.
fn is_endless(regex: &str) -> bool {
    regex.contains(['*', '+']) || (regex.contains('{') && regex.contains(','))
}

/// Returns whether an expression is a row of characters and classes, each repeated greedily or not
/// at all.
///
/// After a match, the search for such an expression goes on only while another repetition may still
/// reach the same end. Had it reached the end, the match would be longer; so no later match lies
/// within the bytes that it looked at in vain. This does not hold with a choice, an optional group
/// or lazy repetitions: `a([^z]*z)?` looks through all the text behind each `a`. The contents of a
/// class are read as if they stood outside of it: that makes some more expressions count as not
/// plain, and misses none.
fn is_plain(regex: &str, flags: Flags<'_>) -> bool {
    /// The part of the expression that a repetition would apply to.
    #[derive(PartialEq, Eq)]
    enum Before {
        Sign,
        Group,
        Repetition,
    }
    if flags.has('x') || flags.has('l') {
        return false;
    }
    let mut before = Before::Sign;
    let mut rest = regex.chars();
    while let Some(sign) = rest.next() {
        before = match sign {
            '|' => return false,
            '*' | '+' | '?' | '{' if before != Before::Sign => return false,
            '*' | '+' | '?' | '}' => Before::Repetition,
            ')' => Before::Group,
            '(' => {
                if rest.as_str().starts_with('?') {
                    rest.next();
                    let names = [":", "<", "P<"].iter().any(|of| rest.as_str().starts_with(of));
                    let flags = rest.as_str().split([')', ':']).next().unwrap_or_default();
                    if !names && !flags.chars().all(|flag| "imsuR-".contains(flag)) {
                        return false;
                    }
                }
                Before::Sign
            }
            '\\' => {
                rest.next();
                Before::Sign
            }
            _ => Before::Sign,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rows_of_signs_look_no_farther_than_their_match() {
        for plain in [
            "a",
            "[^@]+@[a-z]+",
            r"(?<y>\d{4})-(\d\d)",
            r"\(?x\)?",
            "(?i)ab*",
            "(?:a)b?",
            r"^\s+",
            r", *",
        ] {
            assert!(is_plain(plain, Flags("gn")), "{plain}");
        }
        for other in [
            "a|b",
            "(a)?",
            "(a)*",
            "(a){0,1}",
            "(a)+",
            "a*?",
            "a+?",
            "a??",
            "a{2}?",
            "a**",
            "a+{0,1}",
            "(?x)(a) ?",
            "(?x:(a) ?)",
            "(?ix)a",
            "(?U)a*",
            "(?i-x)a",
            "(?i:(?x)(.*z)#\n?)",
            "[)]{2}(b)?",
        ] {
            assert!(!is_plain(other, Flags("gn")), "{other}");
        }
        assert!(!is_plain("a", Flags("gx")) && !is_plain("a", Flags("l")));
    }

    #[test]
    fn each_byte_has_a_price_and_choices_have_one_beside_their_length() {
        let byte = |regex| Costs::of(regex, Flags("")).byte;
        assert_eq!((byte("a"), byte("abc")), (7, 9));
        assert_eq!((byte("(a|aa)+b"), byte("a?a?a?b")), (18, 19));
        assert_eq!(byte("(?:a?){50}"), BASE + 500 + 2 * CHOICE * 50);
    }

    #[test]
    fn counts_are_found_however_they_are_written() {
        let states = |regex, flags| states(regex, Flags(flags));
        assert_eq!(states("a{3}", ""), 12);
        assert_eq!(states("a{ 2 , 1 0 }", "x"), 120);
        assert_eq!(states("a{2,}", ""), 10);
        assert_eq!(states("(?x)a{#\n1000}", ""), u64::MAX);
        assert_eq!(states("a{1 #}\n000}", "x"), u64::MAX);
        assert_eq!(states(r"\{#", ""), 3);
    }
}
