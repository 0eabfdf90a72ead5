//! Regular expressions: what `test`, `match`, `capture`, `scan`, `split`, `sub` and `gsub` are made of.
//!
//! The engine does not come by the meter. So each search is charged before it starts, and each match
//! before anything is made of it: an empty expression matches sixty million times in sixty megabytes.

use std::rc::Rc;

use jaq_core::{Cv, Error, ValR};
use regex_bites::{Captures, Regex, RegexBuilder};

use super::kind::Kind;
use super::meter::{Stop, hold_slot, lend, spend, spend_bytes, stop};
use super::text::text_of;
use super::value::{Members, Value, allow_member};

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

/// What is wanted of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The matches, each a list of its groups.
    Matches,
    /// What is between them.
    Between,
    /// Both, in their order.
    Both,
}

/// How an expression is meant and used: a letter for each.
#[derive(Debug, Clone, Copy)]
struct Flags<'a>(&'a str);

impl<'a> Flags<'a> {
    /// All matches, without empty ones, of either case, lines by themselves, any sign for a dot, greed
    /// the other way round, white space ignored; and lines with any sign for a dot.
    const KNOWN: &'static str = "gnimslxp";

    fn read(text: &'a str) -> Result<Self, Error<Value>> {
        match text.chars().find(|flag| !Self::KNOWN.contains(*flag)) {
            Some(other) => Err(Error::str(format_args!("invalid regex flag: {other}"))),
            None => Ok(Self(text)),
        }
    }

    fn has(self, flag: char) -> bool {
        self.0.contains(flag)
    }
}

/// Searches the text at hand; the arguments are the expression and the flags.
pub(super) fn search(mut cv: Cv<'_, Kind>, wanted: Wanted) -> ValR<Value> {
    let (flags, regex) = (cv.0.pop_var(), cv.0.pop_var());
    let (text, regex) = (text_of(&cv.1)?, text_of(&regex)?);
    let flags = Flags::read(text_of(&flags)?)?;
    let (all, full_alone) = (flags.has('g'), flags.has('n'));
    let costs = Costs::of(regex, flags);
    let _engine = lend(costs.memory);
    spend(costs.states / STATES_PER_UNIT + 1);
    let regex = compile(regex, flags)?;
    let mut found = Found::new(text, &regex);
    costs.search(text.len());
    for captures in regex.captures_iter(text) {
        spend(1);
        let Some(whole) = captures.get(0) else { break };
        if full_alone && whole.is_empty() {
            costs.again(text.len() - whole.end());
            continue;
        }
        if wanted != Wanted::Matches {
            found.between(whole.start(), whole.end());
        }
        if wanted != Wanted::Between {
            found.add(&captures);
        }
        if !all {
            break;
        }
        costs.again(text.len() - whole.end());
    }
    if wanted != Wanted::Matches {
        found.between(text.len(), text.len());
    }
    Ok(Value::array(found.values))
}

fn compile(regex: &str, flags: Flags<'_>) -> Result<Regex, Error<Value>> {
    RegexBuilder::new(regex)
        .case_insensitive(flags.has('i'))
        .multi_line(flags.has('m') || flags.has('p'))
        .dot_matches_new_line(flags.has('s') || flags.has('p'))
        .swap_greed(flags.has('l'))
        .ignore_whitespace(flags.has('x'))
        .build()
        .map_err(|fault| Error::str(format_args!("invalid regex: {fault}")))
}

/// What an expression costs.
struct Costs {
    /// About how many states it has.
    states: u64,
    /// What a byte of a text costs: states, and the places of their groups.
    byte: u64,
    /// What the engine takes for it, in bytes.
    memory: usize,
    /// Whether a search may look far ahead and yet end early, so that all searches together are
    /// quadratic in the text.
    backs_off: bool,
}

impl Costs {
    /// Counts; ends the run if the expression is too large.
    fn of(regex: &str, flags: Flags<'_>) -> Self {
        let states = states(regex);
        if states > MAX_REGEX {
            stop(Stop::Value);
        }
        let groups = u64::try_from(regex.matches('(').count()).unwrap_or(u64::MAX) + 1;
        let memory = states * STATES_PER_BYTE * (STATE + groups * GROUP);
        let early = ["|", ")?", ")*", "){", "??", "*?"];
        let ends_early = flags.has('x') || early.iter().any(|part| regex.contains(part));
        Self {
            states,
            byte: states * (1 + groups / GROUPS_PER_STATE),
            memory: usize::try_from(memory).unwrap_or(usize::MAX),
            backs_off: regex.contains(['*', '+', '{']) && ends_early,
        }
    }

    /// Charges a search through that many bytes.
    fn search(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(1);
        spend(self.byte.saturating_mul(bytes) / STATES_PER_UNIT + 1);
    }

    /// Charges one more search. If none looks farther than its match, the first one was charged for all.
    fn again(&self, bytes: usize) {
        if self.backs_off {
            self.search(bytes);
        }
    }
}

/// About how many states a regular expression has: its length times every count in it.
fn states(regex: &str) -> u64 {
    let length = u64::try_from(regex.len()).unwrap_or(u64::MAX);
    regex.split('{').skip(1).fold(length.max(1), |states, counted| {
        let counts = counted.split('}').next().unwrap_or_default();
        let most = counts.split(',').filter_map(|count| count.trim().parse().ok()).max();
        states.saturating_mul(most.unwrap_or(1_u64).max(1))
    })
}

/// What was found so far.
struct Found<'a> {
    text: &'a str,
    names: Vec<Option<&'a str>>,
    keys: [Rc<String>; 4],
    values: Vec<Value>,
    /// Where the last match ended, in bytes.
    end: usize,
    /// A place in bytes, and in characters.
    place: (usize, usize),
}

impl<'a> Found<'a> {
    fn new(text: &'a str, regex: &'a Regex) -> Self {
        Self {
            text,
            names: regex.capture_names().collect(),
            keys: ["offset", "length", "string", "name"].map(|key| Rc::new(key.to_owned())),
            values: Vec::new(),
            end: 0,
            place: (0, 0),
        }
    }

    fn push(&mut self, value: Value) {
        hold_slot();
        self.values.push(value);
    }

    /// Adds what stands before a match.
    fn between(&mut self, start: usize, end: usize) {
        let text = self.text.get(self.end..start).unwrap_or_default();
        self.push(Value::text(text));
        self.end = end;
    }

    /// Adds a match.
    fn add(&mut self, captures: &Captures<'_>) {
        let mut groups = Vec::new();
        for (group, name) in captures.iter().zip(self.names.clone()) {
            spend(1);
            let Some(group) = group else { continue };
            hold_slot();
            let offset = self.offset(group.start());
            groups.push(self.group((offset, group.as_str()), name));
        }
        self.push(Value::array(groups));
    }

    fn group(&self, (offset, text): (usize, &str), name: Option<&str>) -> Value {
        let [offset_key, length_key, string_key, name_key] = &self.keys;
        let mut members = Members::new();
        let mut member = |key: &Rc<String>, value| {
            allow_member();
            members.insert(Rc::clone(key), value);
        };
        spend_bytes(text.len());
        member(offset_key, Value::from(offset));
        member(length_key, Value::from(text.chars().count()));
        member(string_key, Value::text(text));
        if let Some(name) = name {
            member(name_key, Value::text(name));
        }
        Value::object(members)
    }

    /// How many characters stand before a byte, counted from the place that was asked for last, or
    /// back to it: groups need not stand in their order.
    fn offset(&mut self, byte: usize) -> usize {
        let (last, chars) = self.place;
        let (from, to) = (last.min(byte), last.max(byte));
        spend_bytes(to - from);
        let between = self.text.get(from..to).map_or(0, |text| text.chars().count());
        let offset = if byte < last { chars - between } else { chars + between };
        self.place = (byte, offset);
        offset
    }
}
