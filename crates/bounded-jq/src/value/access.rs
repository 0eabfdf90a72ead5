//! Reading parts of values: `.[]`, `.key`, `.[2:4]`; what the interpreter asks of a value.

use std::rc::Rc;

use jaq_core::path::Opt;
use jaq_core::val::Range;
use jaq_core::{Error, ValR, ValT, ValX};

use super::find;
use super::slice::{bounds, char_bounds, end, start};
use super::{Members, Number, OVERHEAD, Text, Value, allow_member, allow_text, copied, update};
use crate::meter::{SLOT, hold, spend, spend_bytes};
use crate::write;

type Pairs = Box<dyn Iterator<Item = ValR<(Value, Value), Value>>>;
type Values = Box<dyn Iterator<Item = ValR<Value>>>;

impl ValT for Value {
    fn from_num(text: &str) -> ValR<Self> {
        Ok(Self::Num(Number::read(text)))
    }

    fn from_map<I: IntoIterator<Item = (Self, Self)>>(pairs: I) -> ValR<Self> {
        let mut members = Members::new();
        for (key, value) in pairs {
            let Self::Str(key) = key else { return Err(Error::typ(key, "key of an object")) };
            allow_member();
            members.insert(key, value);
        }
        Ok(Self::object(members))
    }

    fn key_values(self) -> Pairs {
        match self {
            Self::Arr(array) => {
                let mut at = 0_usize;
                Box::new(std::iter::from_fn(move || {
                    let item = array.items.get(at)?.clone();
                    spend(1);
                    at += 1;
                    Some(Ok((Self::from(at - 1), item)))
                }))
            }
            Self::Obj(object) => {
                let mut at = 0_usize;
                Box::new(std::iter::from_fn(move || {
                    let (key, value) = object.members.get_index(at)?;
                    spend(1);
                    at += 1;
                    Some(Ok((Self::Str(key.clone()), value.clone())))
                }))
            }
            other @ (Self::Null | Self::Bool(_) | Self::Num(_) | Self::Str(_)) => {
                Box::new(std::iter::once(Err(Error::typ(other, "array or object"))))
            }
        }
    }

    fn values(self) -> Values {
        if let Self::Arr(_) | Self::Obj(_) = self {
            return Box::new(self.key_values().map(|pair| pair.map(|(_, value)| value)));
        }
        Box::new(std::iter::once(Err(Error::typ(self, "array or object"))))
    }

    fn index(self, index: &Self) -> ValR<Self> {
        match (&self, index) {
            (Self::Null, Self::Null | Self::Str(_) | Self::Num(_) | Self::Obj(_)) => Ok(Self::Null),
            (Self::Obj(object), Self::Str(key)) => {
                Ok(object.members.get(key).cloned().unwrap_or_default())
            }
            (Self::Arr(array), Self::Num(number)) => {
                let at = number.position(array.items.len());
                Ok(at.and_then(|at| array.items.get(at)).cloned().unwrap_or_default())
            }
            (Self::Arr(_), Self::Arr(_)) => self.indices(index),
            (Self::Arr(_) | Self::Str(_), Self::Obj(ends)) => {
                let (start, end) = (ends.members.get(&start()), ends.members.get(&end()));
                self.range(start..end)
            }
            _ => Err(Error::index(self, index.clone())),
        }
    }

    fn range(self, range: Range<&Self>) -> ValR<Self> {
        match self {
            Self::Null => Ok(Self::Null),
            Self::Str(text) => {
                let (from, to) = char_bounds(&text, range)?;
                Ok(Self::text(text.get(from..to).unwrap_or_default()))
            }
            Self::Arr(array) => {
                let (from, to) = bounds(array.items.len(), range)?;
                Ok(Self::array(copied(array.items.get(from..to).unwrap_or_default())))
            }
            other @ (Self::Bool(_) | Self::Num(_) | Self::Obj(_)) => {
                Err(Error::typ(other, "array or string"))
            }
        }
    }

    fn map_values<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        update::values(self, opt, f)
    }

    fn map_index<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        index: &Self,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        update::index(self, index, opt, f)
    }

    fn map_range<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        range: Range<&Self>,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        update::range(self, range, opt, f)
    }

    fn as_bool(&self) -> bool {
        !matches!(self, Self::Null | Self::Bool(false))
    }

    fn into_string(self) -> Self {
        if let Self::Str(_) = self { self } else { Self::Str(write::to_json(&self)) }
    }
}

impl jaq_std::ValT for Value {
    fn into_seq<S: FromIterator<Self>>(self) -> Result<S, Self> {
        let Self::Arr(array) = self else { return Err(self) };
        spend_bytes(array.items.len() * OVERHEAD);
        hold(array.items.len() * SLOT);
        Ok(match Rc::try_unwrap(array) {
            Ok(array) => array.items.into_iter().collect(),
            Err(array) => array.items.iter().cloned().collect(),
        })
    }

    fn is_int(&self) -> bool {
        matches!(self, Self::Num(number) if number.is_whole())
    }

    fn as_isize(&self) -> Option<isize> {
        match self {
            Self::Num(number) => number.inner().as_isize(),
            Self::Null | Self::Bool(_) | Self::Str(_) | Self::Arr(_) | Self::Obj(_) => None,
        }
    }

    fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Num(number) => Some(number.float()),
            Self::Null | Self::Bool(_) | Self::Str(_) | Self::Arr(_) | Self::Obj(_) => None,
        }
    }

    fn is_utf8_str(&self) -> bool {
        matches!(self, Self::Str(_))
    }

    fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Str(text) => {
                // The caller asks for the bytes to go through them.
                spend_bytes(text.len());
                Some(text.as_bytes())
            }
            Self::Null | Self::Bool(_) | Self::Num(_) | Self::Arr(_) | Self::Obj(_) => None,
        }
    }

    fn as_sub_str(&self, sub: &[u8]) -> Self {
        Self::lossy(sub)
    }

    fn from_utf8_bytes(bytes: impl AsRef<[u8]> + Send + 'static) -> Self {
        Self::lossy(bytes.as_ref())
    }
}

impl Value {
    /// Reads bytes as text. Invalid bytes are each replaced by a character of three bytes.
    pub(crate) fn lossy(bytes: &[u8]) -> Self {
        if let Ok(text) = std::str::from_utf8(bytes) {
            return Self::text(text);
        }
        let held = allow_text(bytes.len().saturating_mul(3));
        Self::Str(Text::new(String::from_utf8_lossy(bytes).into_owned(), held))
    }

    /// Returns the places of `part` in this value.
    pub(crate) fn indices(self, part: &Self) -> ValR<Self> {
        match (&self, part) {
            (Self::Null, _) => Ok(Self::Null),
            (Self::Str(text), Self::Str(part)) => {
                Ok(find::places(text, part).into_iter().map(Self::from).collect())
            }
            (Self::Arr(array), Self::Arr(part)) => {
                let windows = array.items.windows(part.items.len().max(1)).enumerate();
                let found = windows.filter(|(_, window)| {
                    spend(1);
                    *window == part.items.as_slice()
                });
                Ok(found.map(|(at, _)| Self::from(at)).collect())
            }
            (Self::Arr(array), item) => {
                let found = array.items.iter().enumerate().filter(|(_, other)| *other == item);
                Ok(found.map(|(at, _)| Self::from(at)).collect())
            }
            _ => Err(Error::index(self, part.clone())),
        }
    }
}
