//! The functions and definitions that filters can call.
//!
//! Those of jq, without what reaches outside the value at hand: the environment, the clock, the
//! time zone, logs, further inputs, `halt`.

use jaq_core::load::parse::Def;
use jaq_core::native::{Fun, bome, run, unary, v};
use jaq_core::{Error, RunPtr, ValR, ValT as _};

use super::kind::Kind;
use super::meter::{Stop, spend, spend_bytes, stop};
use super::read;
use super::value::Value;
use super::write;
use crate::model::Json;

/// Native functions that are left out: they reach outside, or take long for a short argument.
const LEFT_OUT: [&str; 9] =
    ["env", "now", "localtime", "strflocaltime", "debug_empty", "stderr_empty", "halt", "jn", "yn"];
/// Definitions that are left out, being made of those.
const UNDEFINED: [&str; 5] = ["halt", "halt_error", "stderr", "debug", "tobytes"];

/// Names that only the definitions here may use, and what they stand for in the library.
const GUARDED: [(&str, &str); 3] = [
    ("matches", "unguarded_matches"),
    ("split_matches", "unguarded_split_matches"),
    ("split_", "unguarded_split_"),
];

/// What the library's definitions are made of instead: the same behind a guard, and what it lacks.
const OWN: &str = r"
def matches($re; $flags): regex_guard($re; $flags) | unguarded_matches($re; $flags);
def split_matches($re; $flags): regex_guard($re; $flags) | unguarded_split_matches($re; $flags);
def split_($re; $flags): regex_guard($re; $flags) | unguarded_split_($re; $flags);
def toarray: if . >= [] and . < {} then . else [.] end;
def trimstr($s): ltrimstr($s) | rtrimstr($s);
def have_literal_numbers: 0 == 0;
def have_decnum: 0 != 0;
";

/// Whether a program may not call a function of that name.
pub(super) fn is_guarded(name: &str) -> bool {
    name == "regex_guard" || GUARDED.iter().any(|(_, inner)| *inner == name)
}

/// The definitions every program can call.
pub(super) fn defs() -> Result<Vec<Def<&'static str>>, String> {
    let parse = |text| jaq_core::load::parse(text, |parser| parser.defs());
    let own: Vec<Def<&str>> = parse(OWN).ok_or("the definitions do not parse")?;
    let library = jaq_core::defs().chain(own).chain(jaq_std::defs()).chain(jaq_json::defs());
    Ok(library
        .filter(|def| !UNDEFINED.contains(&def.name) && !NATIVE.contains(&def.name))
        .collect())
}

/// Definitions of the library that are functions here.
const NATIVE: [&str; 1] = ["join"];

/// The functions every program can call.
pub(super) fn funs() -> impl Iterator<Item = Fun<Kind>> {
    let rename = |(name, args, fun): Fun<Kind>| {
        let inner = GUARDED.iter().find(|(outer, _)| *outer == name);
        (inner.map_or(name, |(_, inner)| inner), args, fun)
    };
    jaq_core::funs()
        .chain(jaq_std::funs())
        .filter(|(name, _, _)| !LEFT_OUT.contains(name))
        .map(rename)
        .chain(own().into_iter().map(run::<Kind>))
}

type Native = jaq_core::native::Filter<RunPtr<Kind>>;

fn own() -> [Native; 9] {
    [
        ("fromjson", v(0), |cv| bome(from_json(&cv.1))),
        ("tojson", v(0), |cv| bome(Ok(Value::string(write::to_json(&cv.1))))),
        ("length", v(0), |cv| bome(length(cv.1))),
        ("contains", v(1), |cv| unary(cv, |value, part| contains(&value, &part).map(Value::from))),
        ("has", v(1), |cv| unary(cv, |value, key| has(value, &key))),
        ("indices", v(1), |cv| unary(cv, |value, part| value.indices(&part))),
        ("bsearch", v(1), |cv| unary(cv, |value, item| bsearch(value, &item))),
        ("join", v(1), |cv| unary(cv, join)),
        ("regex_guard", v(2), |mut cv| {
            let (flags, regex) = (cv.0.pop_var(), cv.0.pop_var());
            regex_guard(&cv.1, &regex, &flags);
            bome(Ok(cv.1))
        }),
    ]
}

fn from_json(value: &Value) -> ValR<Value> {
    let Value::Str(text) = value else { return Err(Error::typ(value.clone(), "string")) };
    spend_bytes(text.len());
    let fault =
        |fault: crate::model::JsonFault| Error::str(format!("cannot parse as JSON: {fault}"));
    Json::parse(text).map(|json| read::read(&json)).map_err(fault)
}

fn length(value: Value) -> ValR<Value> {
    Ok(match value {
        Value::Null => Value::from(0_usize),
        Value::Num(_) if value < Value::from(0_usize) => return -value,
        Value::Num(_) => value,
        Value::Str(text) => {
            spend_bytes(text.len());
            Value::from(text.chars().count())
        }
        Value::Arr(array) => Value::from(array.items.len()),
        Value::Obj(object) => Value::from(object.members.len()),
        Value::Bool(_) => return Err(Error::str(format!("{value} has no length"))),
    })
}

fn contains(value: &Value, part: &Value) -> ValR<bool, Value> {
    spend(1);
    Ok(match (value, part) {
        (Value::Str(text), Value::Str(part)) => {
            spend_bytes(text.len());
            text.contains(&***part)
        }
        (Value::Arr(array), Value::Arr(parts)) => {
            for part in &parts.items {
                let mut found = false;
                for item in &array.items {
                    found = found || (item.kind() == part.kind() && contains(item, part)?);
                }
                if !found {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Obj(object), Value::Obj(parts)) => {
            for (key, part) in &parts.members {
                match object.members.get(key) {
                    Some(value) if contains(value, part)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        _ if value.kind() == part.kind() => value == part,
        _ => {
            let detail = format!("{} and {} cannot be compared so", value.kind(), part.kind());
            return Err(Error::str(detail));
        }
    })
}

fn has(value: Value, key: &Value) -> ValR<Value> {
    match (&value, key) {
        (Value::Obj(object), Value::Str(key)) => Ok(object.members.contains_key(key).into()),
        (Value::Arr(array), Value::Num(_)) => {
            let inside = *key >= Value::from(0_usize) && *key < Value::from(array.items.len());
            Ok(inside.into())
        }
        _ => Err(Error::index(value, key.clone())),
    }
}

fn bsearch(value: Value, item: &Value) -> ValR<Value> {
    let Value::Arr(array) = &value else { return Err(Error::typ(value, "array")) };
    Ok(match array.items.binary_search(item) {
        Ok(at) => Value::from(at),
        Err(at) => (Value::from(-1_isize) - Value::from(at))?,
    })
}

/// The library's `join` copies what it has at every item.
fn join(value: Value, separator: Value) -> ValR<Value> {
    let Value::Arr(array) = &value else { return Err(Error::typ(value, "array")) };
    let Value::Str(separator) = &separator else { return Err(Error::typ(separator, "string")) };
    let mut joined = Value::string(String::new());
    for (index, item) in array.items.iter().enumerate() {
        if index > 0 {
            joined = (joined + Value::Str(std::rc::Rc::clone(separator)))?;
        }
        let item = match item {
            Value::Null => continue,
            item @ (Value::Bool(_) | Value::Num(_) | Value::Str(_)) => item.clone().into_string(),
            item @ (Value::Arr(_) | Value::Obj(_)) => {
                return Err(Error::typ(item.clone(), "string"));
            }
        };
        joined = (joined + item)?;
    }
    Ok(joined)
}

/// Largest regular expression, in states after its counted repetitions are written out.
const MAX_REGEX: u64 = 10_000;
/// States a search goes through, per unit of fuel.
const STATES_PER_UNIT: u64 = 64;

/// Charges a search before it starts: the engine does not come by the meter. A search is linear
/// in the text and in the expression; finding all matches can be quadratic in the text where the
/// expression can stop early after looking far ahead.
fn regex_guard(text: &Value, regex: &Value, flags: &Value) {
    let (Value::Str(text), Value::Str(regex)) = (text, regex) else { return };
    let states = states(regex);
    if states > MAX_REGEX {
        stop(Stop::Value);
    }
    let length = u64::try_from(text.len()).unwrap_or(u64::MAX).saturating_add(1);
    let all = matches!(flags, Value::Str(flags) if flags.contains('g'));
    let backs_off = regex.contains(['*', '+', '{'])
        && ["|", ")?", ")*", "){", "??", "*?"].iter().any(|part| regex.contains(part));
    let searches = if all && backs_off { length } else { 1 };
    let work = states.saturating_mul(length).saturating_mul(searches);
    spend((states + work) / STATES_PER_UNIT + 1);
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
