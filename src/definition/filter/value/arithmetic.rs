//! `+ - * / %` and negation.

use std::ops::{Add, Div, Mul, Neg, Rem, Sub};
use std::rc::Rc;

use jaq_core::{Error, ValR, ops::Math};
use jaq_json::Num;

use super::{Array, MAX_BITS, MAX_SIZE, Object, Value, allow_text};
use crate::definition::filter::meter::{HEAD, Stop, hold, lend, spend, spend_bytes, stop};

/// Bits of a whole number that does not fit a machine word, else of a word.
fn bits(number: &Num) -> u64 {
    match number {
        Num::BigInt(number) => number.bits(),
        Num::Int(_) | Num::Float(_) | Num::Dec(_) => 64,
    }
}

/// Charges arithmetic with large numbers; ends the run if the result would be too large.
fn charge(one: &Num, two: &Num) {
    let sum = bits(one) + bits(two);
    if sum > MAX_BITS {
        stop(Stop::Value);
    }
    spend(1 + (sum / 64) * (sum / 64) / 64);
    if sum > 2 * 64 {
        hold(HEAD + usize::try_from(sum / 8).unwrap_or(usize::MAX));
    }
}

fn is_whole(number: &Num) -> bool {
    matches!(number, Num::Int(_) | Num::BigInt(_))
}

impl Add for Value {
    type Output = ValR<Self>;

    fn add(self, other: Self) -> Self::Output {
        match (self, other) {
            (Self::Null, value) | (value, Self::Null) => Ok(value),
            (Self::Num(one), Self::Num(two)) => {
                charge(&one, &two);
                Ok(Self::Num(one + two))
            }
            (Self::Str(mut one), Self::Str(two)) => {
                if one.len().saturating_add(two.len()) > MAX_SIZE {
                    stop(Stop::Value);
                }
                let copied = if Rc::strong_count(&one) > 1 { one.len() } else { 0 };
                spend_bytes(copied + two.len());
                // The copy, and the string that doubles as it grows.
                hold(HEAD + copied + (copied + two.len()) * 2);
                Rc::make_mut(&mut one).push_str(&two);
                Ok(Self::Str(one))
            }
            (Self::Arr(mut one), Self::Arr(two)) => {
                let into = Array::unshare(&mut one);
                for item in &two.items {
                    spend(1);
                    into.push(item.clone());
                }
                Ok(Self::Arr(one))
            }
            (Self::Obj(mut one), Self::Obj(two)) => {
                let into = Object::unshare(&mut one);
                for (key, value) in &two.members {
                    spend(1);
                    into.insert(key, value.clone());
                }
                Ok(Self::Obj(one))
            }
            (one, two) => Err(Error::math(one, Math::Add, two)),
        }
    }
}

impl Sub for Value {
    type Output = ValR<Self>;

    fn sub(self, other: Self) -> Self::Output {
        match (self, other) {
            (Self::Num(one), Self::Num(two)) => {
                charge(&one, &two);
                Ok(Self::Num(one - two))
            }
            (Self::Arr(one), Self::Arr(two)) => {
                let _sorted = lend(two.items.len() * 2 * size_of::<&Self>());
                let mut gone: Vec<&Self> = two.items.iter().collect();
                gone.sort();
                let kept = one.items.iter().filter(|item| gone.binary_search(item).is_err());
                Ok(kept.cloned().collect())
            }
            (one, two) => Err(Error::math(one, Math::Sub, two)),
        }
    }
}

impl Mul for Value {
    type Output = ValR<Self>;

    fn mul(self, other: Self) -> Self::Output {
        match (self, other) {
            (Self::Num(one), Self::Num(two)) => {
                charge(&one, &two);
                Ok(Self::Num(one * two))
            }
            (Self::Str(text), Self::Num(times)) | (Self::Num(times), Self::Str(text))
                if is_whole(&times) =>
            {
                Ok(repeat(&text, &times))
            }
            (Self::Obj(mut one), Self::Obj(two)) => {
                merge(&mut one, &two);
                Ok(Self::Obj(one))
            }
            (one, two) => Err(Error::math(one, Math::Mul, two)),
        }
    }
}

/// A text so many times; `null` for none, as jq has it.
fn repeat(text: &str, times: &Num) -> Value {
    if *times <= Num::Int(0) {
        return Value::Null;
    }
    let times =
        times.as_isize().and_then(|times| usize::try_from(times).ok()).unwrap_or(usize::MAX);
    if text.is_empty() {
        return Value::text("");
    }
    allow_text(text.len().saturating_mul(times));
    Value::allowed(text.repeat(times))
}

/// Merges `two` into `one`, objects in objects too.
fn merge(one: &mut Rc<Object>, two: &Object) {
    let into = Object::unshare(one);
    for (key, value) in &two.members {
        spend(1);
        let merged = match (into.members.get(key), value) {
            (Some(Value::Obj(inner)), Value::Obj(other)) => {
                let mut inner = Rc::clone(inner);
                merge(&mut inner, other);
                Value::Obj(inner)
            }
            _ => value.clone(),
        };
        into.insert(key, merged);
    }
}

impl Div for Value {
    type Output = ValR<Self>;

    fn div(self, other: Self) -> Self::Output {
        match (self, other) {
            (Self::Num(one), Self::Num(two)) => {
                charge(&one, &two);
                Ok(Self::Num(one / two))
            }
            (Self::Str(text), Self::Str(separator)) => Ok(split(&text, &separator)),
            (one, two) => Err(Error::math(one, Math::Div, two)),
        }
    }
}

fn split(text: &str, separator: &str) -> Value {
    spend_bytes(text.len());
    if text.is_empty() {
        Value::array(Vec::new())
    } else if separator.is_empty() {
        text.chars().map(|char| Value::text(char.encode_utf8(&mut [0; 4]))).collect()
    } else {
        text.split(separator).map(Value::text).collect()
    }
}

impl Rem for Value {
    type Output = ValR<Self>;

    fn rem(self, other: Self) -> Self::Output {
        match (self, other) {
            (Self::Num(one), Self::Num(two))
                if !(is_whole(&one) && is_whole(&two) && two == Num::Int(0)) =>
            {
                charge(&one, &two);
                Ok(Self::Num(one % two))
            }
            (Self::Num(_), Self::Num(_)) => Err(Error::str("cannot divide by zero")),
            (one, two) => Err(Error::math(one, Math::Rem, two)),
        }
    }
}

impl Neg for Value {
    type Output = ValR<Self>;

    fn neg(self) -> Self::Output {
        let Self::Num(number) = self else { return Err(Error::typ(self, "number")) };
        Ok(Self::Num(-number))
    }
}
