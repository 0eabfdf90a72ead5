//! Regular expressions: the basis of `test`, `match`, `capture`, `scan`, `split`, `sub` and `gsub`.
//!
//! The engine does not call the meter. So each search is charged before it starts ([`Costs`]), and
//! each match before values are made of it: an empty expression matches sixty million times in
//! sixty megabytes.

mod costs;
mod flags;

use jaq_core::{Cv, Error, ValR};
use regex_bites::{Captures, Regex, RegexBuilder};

use super::kind::Kind;
use super::meter::{hold_slot, lend, spend, spend_bytes};
use super::text::text_of;
use super::value::{Members, Text, Value, allow_member};
use costs::Costs;
use flags::Flags;

/// The functions that search, and the functions of the library that use them: the names, and the
/// numbers of arguments.
const FUNCTIONS: [(&str, &[usize]); 12] = [
    ("matches", &[2]),
    ("split_matches", &[2]),
    ("split_", &[2]),
    ("test", &[1, 2]),
    ("scan_", &[2]),
    ("scan", &[1, 2]),
    ("match", &[1, 2]),
    ("capture", &[1, 2]),
    ("split", &[2]),
    ("splits", &[1, 2]),
    ("sub", &[2, 3]),
    ("gsub", &[2, 3]),
];

/// Returns whether a call of this name, with this many arguments, searches.
pub(super) fn is_made_of(name: &str, args: usize) -> bool {
    FUNCTIONS.iter().any(|(function, counts)| *function == name && counts.contains(&args))
}

/// The result of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The matches, each a list of its groups.
    Matches,
    /// The texts between the matches.
    Between,
    /// Both, in their order in the text.
    Both,
}

/// Searches the input text; the arguments are the expression and the flags.
pub(super) fn search(mut cv: Cv<'_, Kind>, wanted: Wanted) -> ValR<Value> {
    let (flags, regex) = (cv.0.pop_var(), cv.0.pop_var());
    let (text, regex) = (text_of(&cv.1)?, text_of(&regex)?);
    let flags = Flags::read(text_of(&flags)?)?;
    let (all, full_alone) = (flags.has('g'), flags.has('n'));
    let costs = Costs::of(regex, flags);
    let _engine = lend(costs.memory());
    costs.compile();
    let regex = compile(regex, flags, costs.memory())?;
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

fn compile(regex: &str, flags: Flags<'_>, memory: usize) -> Result<Regex, Error<Value>> {
    RegexBuilder::new(regex)
        .case_insensitive(flags.has('i'))
        .multi_line(flags.has('m') || flags.has('p'))
        .dot_matches_new_line(flags.has('s') || flags.has('p'))
        .swap_greed(flags.has('l'))
        .ignore_whitespace(flags.has('x'))
        // The engine takes no more memory than was paid for, even if the states are counted wrong.
        .size_limit(memory)
        .build()
        .map_err(|fault| Error::str(format_args!("invalid regex: {fault}")))
}

/// The results found so far.
struct Found<'a> {
    text: &'a str,
    names: Vec<Option<&'a str>>,
    keys: [Text; 4],
    values: Vec<Value>,
    /// The end of the last match, in bytes.
    end: usize,
    /// The last place that was asked for, in bytes and in characters.
    place: (usize, usize),
}

impl<'a> Found<'a> {
    fn new(text: &'a str, regex: &'a Regex) -> Self {
        Self {
            text,
            names: regex.capture_names().collect(),
            keys: ["offset", "length", "string", "name"].map(Text::copy),
            values: Vec::new(),
            end: 0,
            place: (0, 0),
        }
    }

    fn push(&mut self, value: Value) {
        hold_slot();
        self.values.push(value);
    }

    /// Adds the text before a match.
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
        let mut member = |key: &Text, value| {
            allow_member();
            members.insert(key.clone(), value);
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

    /// Returns the number of characters before a byte, counted from the last place that was asked
    /// for, forwards or backwards: groups need not come in their order.
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
