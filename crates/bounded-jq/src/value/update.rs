//! Changes parts of values: `.[] |= f`, `.key |= f`, `.[2:4] |= f`.
//!
//! The first value that `f` yields takes the place of the part; if it yields none, the part is
//! removed.

use std::rc::Rc;

use jaq_core::path::Opt;
use jaq_core::val::Range;
use jaq_core::{Error, Exn, ValX};

use super::slice::{bounds, char_bounds, end, start};
use super::{
    Array, MAX_SIZE, Members, OVERHEAD, Object, Text, Value, allow_member, allow_text, copied, part,
};
use crate::meter::{Stop, spend_bytes, stop};

fn fail<'a>(value: Value, opt: Opt, want: &'static str) -> ValX<'a, Value> {
    opt.fail(value, |value| Exn::from(Error::typ(value, want)))
}

/// Returns the first value that `f` yields for `value`.
fn first<'a, I: Iterator<Item = ValX<'a, Value>>>(
    f: &impl Fn(Value) -> I,
    value: Value,
) -> Result<Option<Value>, Exn<'a, Value>> {
    f(value).next().transpose()
}

pub(super) fn values<'a, I: Iterator<Item = ValX<'a, Value>>>(
    value: Value,
    opt: Opt,
    f: impl Fn(Value) -> I,
) -> ValX<'a, Value> {
    match value {
        Value::Arr(mut array) => {
            let items = std::mem::take(&mut Array::unshare(&mut array).items);
            items.into_iter().flat_map(f).collect()
        }
        Value::Obj(mut object) => {
            let mut members = Members::new();
            for (key, value) in std::mem::take(&mut Object::unshare(&mut object).members) {
                if let Some(value) = first(&f, value)? {
                    allow_member();
                    members.insert(key, value);
                }
            }
            Ok(Value::object(members))
        }
        other @ (Value::Null | Value::Bool(_) | Value::Num(_) | Value::Str(_)) => {
            fail(other, opt, "array or object")
        }
    }
}

pub(super) fn index<'a, I: Iterator<Item = ValX<'a, Value>>>(
    value: Value,
    index: &Value,
    opt: Opt,
    f: impl Fn(Value) -> I,
) -> ValX<'a, Value> {
    match (value, index) {
        (Value::Null, Value::Str(key)) => member(Rc::default(), key, &f),
        (Value::Obj(object), Value::Str(key)) => member(object, key, &f),
        (Value::Null, Value::Num(number)) => item(Rc::default(), number.position(0), opt, &f),
        (Value::Arr(array), Value::Num(number)) => {
            let at = number.position(array.items.len());
            item(array, at, opt, &f)
        }
        (value @ (Value::Arr(_) | Value::Str(_)), Value::Obj(ends)) => {
            let (start, end) = (ends.members.get(&start()), ends.members.get(&end()));
            range(value, start..end, opt, f)
        }
        (value, index) => opt.fail(value, |value| Exn::from(Error::index(value, index.clone()))),
    }
}

fn member<'a, I: Iterator<Item = ValX<'a, Value>>>(
    mut object: Rc<Object>,
    key: &Text,
    f: &impl Fn(Value) -> I,
) -> ValX<'a, Value> {
    let inner = Object::unshare(&mut object);
    let slot = inner.members.get_mut(key);
    let old = slot.as_deref().map(|value| part(key, value));
    // The value is taken out, so that `f` can change it without copying.
    let new = first(f, slot.map(std::mem::take).unwrap_or_default())?;
    inner.size = old.map_or(inner.size, |old| inner.size.without(old));
    if let Some(new) = new {
        allow_member();
        inner.size = inner.size.with(part(key, &new));
        inner.members.insert(key.clone(), new);
    } else {
        spend_bytes(inner.members.len() * OVERHEAD);
        inner.members.shift_remove(key);
    }
    Ok(Value::Obj(object))
}

fn item<'a, I: Iterator<Item = ValX<'a, Value>>>(
    mut array: Rc<Array>,
    at: Option<usize>,
    opt: Opt,
    f: &impl Fn(Value) -> I,
) -> ValX<'a, Value> {
    let Some(at) = at else {
        return opt.fail(Value::Arr(array), |_| Exn::from(Error::str("index out of bounds")));
    };
    let inner = Array::unshare(&mut array);
    let slot = inner.items.get_mut(at);
    let old = slot.as_deref().map(Value::size);
    let new = first(f, slot.map(std::mem::take).unwrap_or_default())?;
    match (old, new) {
        (Some(old), Some(new)) => inner.swap(at, old, new),
        (Some(old), None) => {
            inner.size = inner.size.without(old);
            spend_bytes(inner.items.len() * OVERHEAD);
            inner.items.remove(at);
        }
        (None, Some(new)) => {
            if at.saturating_mul(OVERHEAD) > MAX_SIZE {
                stop(Stop::Value);
            }
            spend_bytes(at.saturating_sub(inner.items.len()) * OVERHEAD);
            while inner.items.len() < at {
                inner.push(Value::Null);
            }
            inner.push(new);
        }
        (None, None) => {}
    }
    Ok(Value::Arr(array))
}

pub(super) fn range<'a, I: Iterator<Item = ValX<'a, Value>>>(
    value: Value,
    range: Range<&Value>,
    opt: Opt,
    f: impl Fn(Value) -> I,
) -> ValX<'a, Value> {
    match value {
        Value::Arr(array) => {
            let (from, to) = match bounds(array.items.len(), range) {
                Ok(bounds) => bounds,
                Err(fault) => return opt.fail(Value::Arr(array), |_| Exn::from(fault)),
            };
            let slice = |from, to| copied(array.items.get(from..to).unwrap_or_default());
            let new = match first(&f, Value::array(slice(from, to)))? {
                None => Vec::new(),
                Some(Value::Arr(new)) => copied(&new.items),
                Some(other) => return Err(Exn::from(Error::typ(other, "array"))),
            };
            let mut items = slice(0, from);
            items.extend(new);
            items.extend(slice(to, array.items.len()));
            Ok(Value::array(items))
        }
        Value::Str(text) => {
            let (from, to) = match char_bounds(&text, range) {
                Ok(bounds) => bounds,
                Err(fault) => return opt.fail(Value::Str(text), |_| Exn::from(fault)),
            };
            let slice = |from, to| text.get(from..to).unwrap_or_default();
            let new = match first(&f, Value::text(slice(from, to)))? {
                None => Text::default(),
                Some(Value::Str(new)) => new,
                Some(other) => return Err(Exn::from(Error::typ(other, "string"))),
            };
            let parts = [slice(0, from), &*new, slice(to, text.len())];
            let held = allow_text(parts.iter().map(|part| part.len()).sum());
            Ok(Value::Str(Text::new(parts.concat(), held)))
        }
        other @ (Value::Null | Value::Bool(_) | Value::Num(_) | Value::Obj(_)) => {
            fail(other, opt, "array or string")
        }
    }
}
