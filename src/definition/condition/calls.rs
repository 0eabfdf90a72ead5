//! The operators and functions of conditions.
//!
//! Each pays for the data that it reads and makes before it does so. Only the evaluator calls them.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "an operator is for the types it names, and for no other that there may be"
)]

use std::cmp::Ordering;
use std::rc::Rc;

use cel::common::ast::operators;

use super::meter::{Meter, Stop};
use super::value::{Key, Value, whole};

type Answer = Result<Value, Stop>;

/// Calls an operator or a function. With `member`, the first value is the one that it was called
/// on.
pub(super) fn call(name: &str, member: bool, values: &[Value], meter: &Meter) -> Answer {
    match (name, values) {
        (operators::EQUALS, [one, two]) => one.equals(two, meter).map(Value::Bool),
        (operators::NOT_EQUALS, [one, two]) => {
            one.equals(two, meter).map(|equal| Value::Bool(!equal))
        }
        (operators::LESS, [one, two]) => {
            order(name, one, two, meter).map(|found| Value::Bool(found == Ordering::Less))
        }
        (operators::LESS_EQUALS, [one, two]) => {
            order(name, one, two, meter).map(|found| Value::Bool(found != Ordering::Greater))
        }
        (operators::GREATER, [one, two]) => {
            order(name, one, two, meter).map(|found| Value::Bool(found == Ordering::Greater))
        }
        (operators::GREATER_EQUALS, [one, two]) => {
            order(name, one, two, meter).map(|found| Value::Bool(found != Ordering::Less))
        }
        (operators::IN, [item, of]) => is_in(item, of, meter),
        (operators::LOGICAL_NOT, [Value::Bool(value)]) => Ok(Value::Bool(!value)),
        (operators::NEGATE, [Value::Int(number)]) => {
            number.checked_neg().map(Value::Int).ok_or_else(overflow)
        }
        (operators::NEGATE, [Value::Double(number)]) => Ok(Value::Double(-number)),
        (operators::ADD, [one, two]) => add(one, two, meter),
        (
            operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE | operators::MODULO,
            [one, two],
        ) => arithmetic(name, one, two),
        (operators::INDEX, [of, index]) => self::index(of, index, meter),
        _ => function(name, member, values, meter),
    }
}

fn function(name: &str, member: bool, values: &[Value], meter: &Meter) -> Answer {
    match (name, values) {
        ("size", [of]) => size(of, meter),
        ("contains", [Value::Text(text), Value::Text(part)]) => {
            meter.read(text.len() + part.len())?;
            Ok(Value::Bool(text.contains(&**part)))
        }
        ("startsWith", [Value::Text(text), Value::Text(part)]) => {
            meter.read(part.len())?;
            Ok(Value::Bool(text.starts_with(&**part)))
        }
        ("endsWith", [Value::Text(text), Value::Text(part)]) => {
            meter.read(part.len())?;
            Ok(Value::Bool(text.ends_with(&**part)))
        }
        ("type", [of]) if !member => Ok(Value::Type(of.type_name())),
        ("dyn", [of]) if !member => Ok(of.clone()),
        ("int" | "uint" | "double" | "bool" | "string" | "bytes", [of]) if !member => {
            convert(name, of, meter)
        }
        ("min", _) if !member => extreme(name, values, Ordering::Less, meter),
        ("max", _) if !member => extreme(name, values, Ordering::Greater, meter),
        _ => Err(no_overload(name, values)),
    }
}

fn no_overload(name: &str, values: &[Value]) -> Stop {
    let types: Vec<_> = values.iter().map(Value::type_name).collect();
    Stop::failed(format!(
        "found no matching overload for '{name}' applied to '({})'",
        types.join(", ")
    ))
}

fn overflow() -> Stop {
    Stop::failed("the number is too large")
}

fn order(name: &str, one: &Value, two: &Value, meter: &Meter) -> Result<Ordering, Stop> {
    one.compare(two, meter)?.ok_or_else(|| no_overload(name, &[one.clone(), two.clone()]))
}

fn is_in(item: &Value, of: &Value, meter: &Meter) -> Answer {
    match of {
        Value::List(items) => {
            for other in items.iter() {
                if item.equals(other, meter)? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        Value::Map(map) => {
            let Some(key) = item.key() else { return Ok(Value::Bool(false)) };
            pay_for_key(&key, meter)?;
            Ok(Value::Bool(map.contains_key(&key)))
        }
        _ => Err(no_overload(operators::IN, &[item.clone(), of.clone()])),
    }
}

/// Pays for looking a key up: a text is compared with some keys of the map.
pub(super) fn pay_for_key(key: &Key, meter: &Meter) -> Result<(), Stop> {
    /// The number of keys that one lookup compares at most, roughly: maps are trees.
    const COMPARED: usize = 20;
    meter.spend(1)?;
    match key {
        Key::Text(text) => meter.read(text.len().saturating_mul(COMPARED)),
        Key::Bool(_) | Key::Number(_) => Ok(()),
    }
}

/// Evaluates `of[index]`.
pub(super) fn index(of: &Value, index: &Value, meter: &Meter) -> Answer {
    match (of, index) {
        (Value::List(items), Value::Int(_) | Value::UInt(_) | Value::Double(_)) => {
            let at = match index {
                Value::Int(at) => usize::try_from(*at).ok(),
                Value::UInt(at) => usize::try_from(*at).ok(),
                Value::Double(at) if at.fract() == 0.0 => {
                    whole(*at).and_then(|at| usize::try_from(at).ok())
                }
                _ => None,
            };
            let item = at.and_then(|at| items.get(at));
            item.cloned().ok_or_else(|| Stop::failed("Index out of bounds"))
        }
        (Value::Map(map), index) => {
            let Some(key) = index.key() else { return Err(Stop::failed("No such key")) };
            pay_for_key(&key, meter)?;
            map.get(&key).cloned().ok_or_else(|| match index {
                Value::Text(key) => no_key(key),
                _ => Stop::failed("No such key"),
            })
        }
        _ => Err(no_overload(operators::INDEX, &[of.clone(), index.clone()])),
    }
}

fn no_key(key: &str) -> Stop {
    /// The most characters of a key that a message repeats.
    const SHOWN: usize = 100;
    Stop::failed(format!("No such key: {}", key.chars().take(SHOWN).collect::<String>()))
}

/// Evaluates `of.field`.
pub(super) fn member(of: &Value, field: &str, meter: &Meter) -> Answer {
    match of {
        Value::Map(map) => {
            let key = Key::Text(Rc::from(field));
            pay_for_key(&key, meter)?;
            map.get(&key).cloned().ok_or_else(|| no_key(field))
        }
        other => {
            let why = format!("No such key: {field}; {} has no members", other.type_name());
            Err(Stop::failed(why))
        }
    }
}

/// Evaluates `has(of.field)`.
pub(super) fn has(of: &Value, field: &str, meter: &Meter) -> Answer {
    match of {
        Value::Map(map) => {
            let key = Key::Text(Rc::from(field));
            pay_for_key(&key, meter)?;
            Ok(Value::Bool(map.contains_key(&key)))
        }
        other => Err(Stop::failed(format!("{} has no members", other.type_name()))),
    }
}

fn size(of: &Value, meter: &Meter) -> Answer {
    let size = match of {
        Value::Text(text) => {
            meter.read(text.len())?;
            text.chars().count()
        }
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.len(),
        Value::Map(map) => map.len(),
        _ => return Err(no_overload("size", std::slice::from_ref(of))),
    };
    i64::try_from(size).map(Value::Int).map_err(|_| overflow())
}

fn add(one: &Value, two: &Value, meter: &Meter) -> Answer {
    match (one, two) {
        (Value::Text(one), Value::Text(two)) => {
            meter.copy(one.len() + two.len())?;
            Ok(Value::Text(Rc::from(format!("{one}{two}"))))
        }
        (Value::Bytes(one), Value::Bytes(two)) => {
            meter.copy(one.len() + two.len())?;
            Ok(Value::Bytes(Rc::from([&**one, &**two].concat())))
        }
        (Value::List(one), Value::List(two)) => {
            meter.make(one.len() + two.len())?;
            Ok(Value::List(Rc::new(one.iter().chain(two.iter()).cloned().collect())))
        }
        _ => arithmetic(operators::ADD, one, two),
    }
}

/// The result of an operator on two whole numbers of one type.
macro_rules! checked {
    ($name:expr, $one:expr, $two:expr) => {
        match $name {
            operators::ADD => $one.checked_add($two),
            operators::SUBSTRACT => $one.checked_sub($two),
            operators::MULTIPLY => $one.checked_mul($two),
            _ if $two == 0 => return Err(by_zero()),
            operators::DIVIDE => $one.checked_div($two),
            _ => $one.checked_rem($two),
        }
        .ok_or_else(overflow)
    };
}

/// Computes with numbers: as integers while both are, else as floats.
fn arithmetic(name: &str, one: &Value, two: &Value) -> Answer {
    match (one, two) {
        (Value::Int(one), Value::Int(two)) => checked!(name, *one, *two).map(Value::Int),
        (Value::UInt(one), Value::UInt(two)) => checked!(name, *one, *two).map(Value::UInt),
        (Value::Double(_), _) | (_, Value::Double(_)) => {
            let (Some(left), Some(right)) = (fraction(one), fraction(two)) else {
                return Err(no_overload(name, &[one.clone(), two.clone()]));
            };
            Ok(Value::Double(match name {
                operators::ADD => left + right,
                operators::SUBSTRACT => left - right,
                operators::MULTIPLY => left * right,
                operators::DIVIDE => left / right,
                _ => return Err(no_overload(name, &[one.clone(), two.clone()])),
            }))
        }
        _ => Err(no_overload(name, &[one.clone(), two.clone()])),
    }
}

fn by_zero() -> Stop {
    Stop::failed("a division by zero")
}

#[expect(
    clippy::cast_precision_loss,
    clippy::as_conversions,
    reason = "arithmetic of fractions rounds"
)]
const fn fraction(value: &Value) -> Option<f64> {
    match value {
        Value::Double(number) => Some(*number),
        Value::Int(number) => Some(*number as f64),
        Value::UInt(number) => Some(*number as f64),
        _ => None,
    }
}

fn extreme(name: &str, values: &[Value], wanted: Ordering, meter: &Meter) -> Answer {
    let values = match values {
        [Value::List(items)] => items.as_slice(),
        values => values,
    };
    let mut found: Option<&Value> = None;
    for value in values {
        let better = match found {
            Some(best) => order(name, value, best, meter)? == wanted,
            None => true,
        };
        if better {
            found = Some(value);
        }
    }
    Ok(found.cloned().unwrap_or(Value::Null))
}

fn convert(name: &str, of: &Value, meter: &Meter) -> Answer {
    if let Value::Text(text) = of {
        meter.copy(text.len())?;
    }
    let made = match (name, of) {
        ("int", Value::Int(_))
        | ("uint", Value::UInt(_))
        | ("double", Value::Double(_))
        | ("bool", Value::Bool(_))
        | ("string", Value::Text(_))
        | ("bytes", Value::Bytes(_)) => Some(of.clone()),
        ("int", Value::UInt(number)) => i64::try_from(*number).ok().map(Value::Int),
        ("int", Value::Double(number)) => {
            whole(*number).and_then(|number| i64::try_from(number).ok()).map(Value::Int)
        }
        ("int", Value::Text(text)) => text.parse().ok().map(Value::Int),
        ("uint", Value::Int(number)) => u64::try_from(*number).ok().map(Value::UInt),
        ("uint", Value::Double(number)) => {
            whole(*number).and_then(|number| u64::try_from(number).ok()).map(Value::UInt)
        }
        ("uint", Value::Text(text)) => text.parse().ok().map(Value::UInt),
        ("double", Value::Text(text)) => text.parse().ok().map(Value::Double),
        ("double", Value::Int(_) | Value::UInt(_)) => fraction(of).map(Value::Double),
        ("bool", Value::Text(text)) => match &**text {
            "true" | "True" | "TRUE" | "t" | "1" => Some(Value::Bool(true)),
            "false" | "False" | "FALSE" | "f" | "0" => Some(Value::Bool(false)),
            _ => None,
        },
        ("string", Value::Bool(value)) => Some(Value::text(&value.to_string())),
        ("string", Value::Int(number)) => Some(Value::text(&number.to_string())),
        ("string", Value::UInt(number)) => Some(Value::text(&number.to_string())),
        ("string", Value::Double(number)) => Some(Value::text(&number.to_string())),
        ("string", Value::Bytes(bytes)) => {
            meter.copy(bytes.len())?;
            std::str::from_utf8(bytes).ok().map(Value::text)
        }
        ("bytes", Value::Text(text)) => Some(Value::Bytes(Rc::from(text.as_bytes()))),
        _ => return Err(no_overload(name, std::slice::from_ref(of))),
    };
    made.ok_or_else(|| Stop::failed(format!("this {} is no {name}", of.type_name())))
}
