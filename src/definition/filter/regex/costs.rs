//! What the engine of regular expressions takes: counted from the text of an expression, never too little.

use super::flags::Flags;
use crate::definition::filter::meter::{Stop, spend, stop};

/// Largest regular expression, in states after its counted repetitions are written out.
const MAX_REGEX: u64 = 10_000;
/// States a search goes through, per unit of fuel.
const STATES_PER_UNIT: u64 = 64;
/// What the engine takes for a state, in bytes: the state itself, and its places in two sets of states.
const STATE: u64 = 128;
/// What it takes for a group of a state, in bytes: where that began and ended, in two sets of states.
const GROUP: u64 = 32;
/// States that the engine makes at the most of one that is counted here: with those between them.
const STATES_PER_BYTE: u64 = 3;
/// Groups whose places are copied in the time that a state is gone through.
const GROUPS_PER_STATE: u64 = 4;
/// Units of fuel for reading a state and making it.
const COMPILED: u64 = 2;
/// Longest sign that one state goes over, in bytes.
const SIGN: u64 = 4;

/// What an expression costs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Costs {
    /// About how many states it has.
    states: u64,
    /// What a byte of a text costs: states, and the places of their groups.
    byte: u64,
    /// What the engine takes for it, in bytes.
    memory: u64,
    /// How many bytes a search may look at beyond the end of its match. The next search looks at them
    /// again: if that is the whole text, all searches together are quadratic in it.
    beyond: u64,
}

impl Costs {
    /// Counts; ends the run if the expression is too large.
    pub(super) fn of(regex: &str, flags: Flags<'_>) -> Self {
        let states = states(regex, flags);
        if states > MAX_REGEX {
            stop(Stop::Value);
        }
        let groups = count(regex.matches('(').count()) + 1;
        Self {
            states,
            byte: states * (1 + groups / GROUPS_PER_STATE),
            memory: states * STATES_PER_BYTE * (STATE + groups * GROUP),
            beyond: match (is_plain(regex, flags), is_endless(regex)) {
                (true, _) => 0,
                (false, true) => u64::MAX,
                (false, false) => states * SIGN,
            },
        }
    }

    /// What the engine takes, in bytes.
    pub(super) fn memory(self) -> usize {
        usize::try_from(self.memory).unwrap_or(usize::MAX)
    }

    /// Charges for reading the expression.
    pub(super) fn compile(self) {
        spend(self.states * COMPILED);
    }

    /// Charges a search through that many bytes, and all that begin where the one before ended.
    pub(super) fn search(self, bytes: usize) {
        self.look(count(bytes));
    }

    /// Charges what the next search, before which that many bytes lie, looks at once more.
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

/// About how many states a regular expression has: its length times every count in it.
fn states(regex: &str, flags: Flags<'_>) -> u64 {
    let length = count(regex.len());
    regex.split('{').skip(1).fold(length.max(1), |states, counted| {
        let is_count = |sign: char| sign.is_ascii_digit() || sign == ',' || sign.is_whitespace();
        let end = counted.find(|sign| !is_count(sign)).unwrap_or(counted.len());
        if counted.get(end..).is_some_and(|rest| rest.starts_with('#')) && may_ignore(regex, flags)
        {
            // A comment between the digits.
            return u64::MAX;
        }
        let counts = counted.get(..end).unwrap_or_default().split(',').map(|digits| {
            let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
            if digits.is_empty() { 1 } else { digits.parse().unwrap_or(u64::MAX) }
        });
        states.saturating_mul(counts.max().unwrap_or(1).max(1))
    })
}

/// Whether white space, and comments, may stand for nothing.
fn may_ignore(regex: &str, flags: Flags<'_>) -> bool {
    flags.has('x') || (regex.contains("(?") && regex.contains('x'))
}

/// Whether something may be repeated without an end.
fn is_endless(regex: &str) -> bool {
    regex.contains(['*', '+']) || (regex.contains('{') && regex.contains(','))
}

/// Whether an expression is a row of signs and classes, each repeated greedily or not at all.
///
/// A search with such a one goes on after a match only while another repetition may still reach the same end.
/// Had it reached it, the match would be longer; so no later match lies within what it looked at in vain.
/// With a choice, a group that may be left out, or least repetitions it is not so: `a([^z]*z)?` looks through
/// all the text behind each `a`. What stands in a class is looked at as if it stood outside: that refuses some
/// more, and hides nothing.
fn is_plain(regex: &str, flags: Flags<'_>) -> bool {
    /// What a repetition would be of.
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
