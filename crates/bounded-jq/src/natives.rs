//! The functions and definitions that filters can call.
//!
//! They are those of jq, without the ones that reach beyond the value at hand: the environment, the
//! clock, the time zone, logs, further inputs, `halt`.

use jaq_core::load::parse::Def;
use jaq_core::native::{Fun, bome, run, unary, v};
use jaq_core::{Error, ValR, ValT as _};

use super::kind::{Kind, Native};
use super::meter::{hold, spend, spend_bytes};
use super::regex::{self, Wanted};
use super::value::{Value, find};
use super::{read, text, write};

/// The native functions that are left out: they reach beyond the value at hand, or take long for a
/// short argument.
const LEFT_OUT: [&str; 9] =
    ["env", "now", "localtime", "strflocaltime", "debug_empty", "stderr_empty", "halt", "jn", "yn"];
/// The definitions that are left out because they use those functions.
const UNDEFINED: [&str; 5] = ["halt", "halt_error", "stderr", "debug", "tobytes"];

/// The native functions of the library that [`text`] and [`regex`] replace.
const REPLACED: [&str; 12] = [
    "ascii_downcase",
    "ascii_upcase",
    "escape_sh",
    "escape_html",
    "unescape_html",
    "encode_uri",
    "decode_uri",
    "encode_base64",
    "decode_base64",
    "matches",
    "split_matches",
    "split_",
];

/// The functions that only the definitions here may use, and their names for them.
const GUARDED: [(&str, &str); 7] = [
    ("sort_by", "unguarded_sort_by"),
    ("group_by", "unguarded_group_by"),
    ("min_by_or_empty", "unguarded_min_by_or_empty"),
    ("max_by_or_empty", "unguarded_max_by_or_empty"),
    ("fromdateiso8601", "unguarded_fromdateiso8601"),
    ("strptime", "unguarded_strptime"),
    ("strftime", "unguarded_strftime"),
];
/// The guards that come before those functions.
const GUARDS: [&str; 2] = ["keys_guard", "time_guard"];

/// Our definitions in place of the library's: the same behind a guard, and some that it lacks. The
/// keys of an item are one list, which is charged as it grows: the library would gather them
/// natively.
const OWN: &str = r"
def sort_by(f): keys_guard | unguarded_sort_by([f]);
def group_by(f): keys_guard | unguarded_group_by([f]);
def min_by_or_empty(f): unguarded_min_by_or_empty([f]);
def max_by_or_empty(f): unguarded_max_by_or_empty([f]);
def fromdateiso8601: time_guard(.) | unguarded_fromdateiso8601;
def strptime($format): time_guard(.) | time_guard($format) | unguarded_strptime($format);
def strftime($format): time_guard($format) | unguarded_strftime($format);
def toarray: if . >= [] and . < {} then . else [.] end;
def trimstr($s): ltrimstr($s) | rtrimstr($s);
def have_literal_numbers: 0 == 0;
def have_decnum: 0 != 0;
";

/// Returns whether programs may not call a function of this name.
pub(super) fn is_guarded(name: &str) -> bool {
    GUARDS.contains(&name) || GUARDED.iter().any(|(_, inner)| *inner == name)
}

/// Returns the definitions that every program can call.
pub(super) fn defs() -> Result<Vec<Def<&'static str>>, String> {
    let parse = |text| jaq_core::load::parse(text, |parser| parser.defs());
    let own: Vec<Def<&str>> = parse(OWN).ok_or("the definitions do not parse")?;
    let library = jaq_core::defs().chain(own).chain(jaq_std::defs()).chain(jaq_json::defs());
    Ok(library
        .filter(|def| !UNDEFINED.contains(&def.name) && !NATIVE.contains(&def.name))
        .collect())
}

/// The definitions of the library that are native functions here.
const NATIVE: [&str; 1] = ["join"];

/// Returns the functions that every program can call.
pub(super) fn funs() -> impl Iterator<Item = Fun<Kind>> {
    let rename = |(name, args, fun): Fun<Kind>| {
        let inner = GUARDED.iter().find(|(outer, _)| *outer == name);
        (inner.map_or(name, |(_, inner)| inner), args, fun)
    };
    jaq_core::funs()
        .chain(jaq_std::funs())
        .filter(|(name, _, _)| !LEFT_OUT.contains(name) && !REPLACED.contains(name))
        .map(rename)
        .chain(own().into_iter().chain(text::natives()).map(run::<Kind>))
}

fn own() -> [Native; 13] {
    [
        ("fromjson", v(0), |cv| bome(from_json(&cv.1))),
        ("tojson", v(0), |cv| bome(Ok(Value::Str(write::to_json(&cv.1))))),
        ("length", v(0), |cv| bome(length(cv.1))),
        ("contains", v(1), |cv| unary(cv, |value, part| contains(&value, &part).map(Value::from))),
        ("has", v(1), |cv| unary(cv, |value, key| has(value, &key))),
        ("indices", v(1), |cv| unary(cv, |value, part| value.indices(&part))),
        ("bsearch", v(1), |cv| unary(cv, |value, item| bsearch(value, &item))),
        ("join", v(1), |cv| unary(cv, join)),
        ("matches", v(2), |cv| bome(regex::search(cv, Wanted::Matches))),
        ("split_matches", v(2), |cv| bome(regex::search(cv, Wanted::Both))),
        ("split_", v(2), |cv| bome(regex::search(cv, Wanted::Between))),
        ("keys_guard", v(0), |cv| {
            keys_guard(&cv.1);
            bome(Ok(cv.1))
        }),
        ("time_guard", v(1), |cv| unary(cv, |value, text| time_guard(value, &text))),
    ]
}

/// The memory that sorting by a key takes for an item, in bytes: the list of its keys, and the item
/// beside it.
const KEYS: usize = 128;

/// Takes the memory that sorting or grouping by keys needs: all keys are held at once.
fn keys_guard(value: &Value) {
    if let Value::Arr(array) = value {
        hold(array.items.len() * KEYS);
    }
}

/// The longest time, and the longest format of one, in bytes. Results made of either, and the
/// errors that quote it, are some times as long.
const MAX_TIME: usize = 1024;
/// The units of fuel for reading or writing a time, beside those for each byte of it or of its
/// format.
const TIME: u64 = 16;

fn time_guard(value: Value, text: &Value) -> ValR<Value> {
    let Value::Str(text) = text else { return Ok(value) };
    let bytes = text.len().min(MAX_TIME);
    spend(TIME + u64::try_from(bytes).unwrap_or(u64::MAX));
    if text.len() > MAX_TIME {
        let told = format_args!("a time, or its format, has at most {MAX_TIME} bytes");
        return Err(Error::str(told));
    }
    Ok(value)
}

fn from_json(value: &Value) -> ValR<Value> {
    let Value::Str(text) = value else { return Err(Error::typ(value.clone(), "string")) };
    // It is read once as text and once as a value.
    spend_bytes(text.len());
    read::read(text).map_err(|fault| Error::str(format!("cannot parse as JSON: {fault}")))
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
        (Value::Str(text), Value::Str(part)) => find::contains(text, part),
        (Value::Arr(array), Value::Arr(parts)) => {
            for part in &parts.items {
                let mut found = false;
                for item in &array.items {
                    spend(1);
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

/// Joins strings. The library's `join` copies its result so far at every item.
fn join(value: Value, separator: Value) -> ValR<Value> {
    let Value::Arr(array) = &value else { return Err(Error::typ(value, "array")) };
    let Value::Str(separator) = &separator else { return Err(Error::typ(separator, "string")) };
    let mut joined = Value::text("");
    for (index, item) in array.items.iter().enumerate() {
        if index > 0 {
            joined = (joined + Value::Str(separator.clone()))?;
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
