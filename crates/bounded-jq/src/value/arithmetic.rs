//! `+ - * / %` and negation.

use std::ops::{Add, Div, Mul, Neg, Rem, Sub};
use std::rc::Rc;

use jaq_core::{Error, ValR, ops::Math};

use super::{Array, Number, Object, Text, Value, allow_text, find};
use crate::meter::{lend, spend, spend_bytes};

impl Add for Value {
    type Output = ValR<Self>;

    fn add(self, other: Self) -> Self::Output {
        match (self, other) {
            (Self::Null, value) | (value, Self::Null) => Ok(value),
            (Self::Num(one), Self::Num(two)) => Ok(Self::Num(one.compute(Math::Add, two))),
            (Self::Str(mut one), Self::Str(two)) => {
                one.push(&two);
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
            (Self::Num(one), Self::Num(two)) => Ok(Self::Num(one.compute(Math::Sub, two))),
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
            (Self::Num(one), Self::Num(two)) => Ok(Self::Num(one.compute(Math::Mul, two))),
            (Self::Str(text), Self::Num(times)) | (Self::Num(times), Self::Str(text))
                if times.is_whole() =>
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

/// Repeats a text; `null` for zero times or fewer, as jq has it.
fn repeat(text: &str, times: &Number) -> Value {
    if *times <= Number::from(0_usize) {
        return Value::Null;
    }
    let times = times.inner().as_isize().and_then(|times| usize::try_from(times).ok());
    if text.is_empty() {
        return Value::text("");
    }
    let times = times.unwrap_or(usize::MAX);
    let held = allow_text(text.len().saturating_mul(times));
    Value::Str(Text::new(text.repeat(times), held))
}

/// Merges `two` into `one`, and nested objects likewise.
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
            (Self::Num(one), Self::Num(two)) => Ok(Self::Num(one.compute(Math::Div, two))),
            (Self::Str(text), Self::Str(separator)) => Ok(split(&text, &separator)),
            (one, two) => Err(Error::math(one, Math::Div, two)),
        }
    }
}

fn split(text: &str, separator: &str) -> Value {
    spend_bytes(text.len());
    find::spend_on(text, separator);
    if text.is_empty() {
        Value::array(Vec::new())
    } else if separator.is_empty() {
        text.chars().map(|char| Value::text(char.encode_utf8(&mut [0; 4]))).collect()
    } else if separator.len() > text.len() {
        // The library would go through the separator before it searches.
        std::iter::once(Value::text(text)).collect()
    } else {
        text.split(separator).map(Value::text).collect()
    }
}

impl Rem for Value {
    type Output = ValR<Self>;

    fn rem(self, other: Self) -> Self::Output {
        match (self, other) {
            (Self::Num(one), Self::Num(two))
                if !(one.is_whole() && two.is_whole() && two == Number::from(0_usize)) =>
            {
                Ok(Self::Num(one.compute(Math::Rem, two)))
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
        Ok(Self::Num(number.negate()))
    }
}
