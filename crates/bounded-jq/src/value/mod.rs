//! The values that filters compute with.
//!
//! Numbers keep their text until something is computed with them, objects keep the order of their
//! keys, strings are Unicode. Every value knows its size and depth, and none grows beyond
//! [`MAX_SIZE`] or [`MAX_DEPTH`]: so comparing, printing and dropping one are bounded too.
//!
//! Each kind of value, but for `null`, `true` and `false`, is made in one place, which holds its
//! memory: [`Text`], [`Number`], [`Value::array`] and [`Value::object`]. Reading a string or a
//! number spends fuel for its length there as well, so that no comparison, sort, hash or
//! computation can forget to.

pub(crate) mod access;
mod arithmetic;
pub(crate) mod find;
mod number;
mod order;
mod slice;
mod text;
mod update;

use std::rc::Rc;

use indexmap::IndexMap;

use crate::limits::MAX_JSON_DEPTH;
use crate::meter::{HEAD, SLOT, Stop, hold, hold_slot, spend_bytes, stop};

pub(super) use number::Number;
pub(super) use text::{MAX_SIZE, Text, allow_text};

/// The depth of the deepest value: twice the depth of JSON, and small enough for recursion.
pub(super) const MAX_DEPTH: usize = 2 * MAX_JSON_DEPTH;
/// The size of a value beside its content, in bytes.
const OVERHEAD: usize = 16;
/// The memory of an object without its members, in bytes, with its table of at least four places.
const OBJECT: usize = 256;
/// The memory of a member of an object beside its content, in bytes, while the object doubles as it
/// grows.
const MEMBER: usize = 64;

/// A JSON value.
#[derive(Debug, Clone, Default)]
pub(super) enum Value {
    #[default]
    Null,
    Bool(bool),
    Num(Number),
    Str(Text),
    Arr(Rc<Array>),
    Obj(Rc<Object>),
}

/// The members of an object, in their order.
pub(super) type Members = IndexMap<Text, Value>;

/// An array and its size.
#[derive(Debug, Clone, Default)]
pub(super) struct Array {
    pub(super) items: Vec<Value>,
    size: Size,
}

/// An object and its size.
#[derive(Debug, Clone, Default)]
pub(super) struct Object {
    pub(super) members: Members,
    size: Size,
}

/// An upper bound of a value's size, and its depth.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Size {
    bytes: usize,
    depth: usize,
}

impl Size {
    /// Returns the size of a container with one more part in it; ends the run if that is too large.
    pub(super) fn with(self, part: Self) -> Self {
        let bytes = self.bytes.saturating_add(part.bytes);
        let depth = self.depth.max(part.depth + 1);
        if bytes > MAX_SIZE || depth > MAX_DEPTH {
            stop(Stop::Value);
        }
        Self { bytes, depth }
    }

    fn without(self, part: Self) -> Self {
        Self { bytes: self.bytes.saturating_sub(part.bytes), depth: self.depth }
    }
}

impl Value {
    pub(super) fn size(&self) -> Size {
        let scalar = |bytes| Size { bytes: OVERHEAD + bytes, depth: 0 };
        match self {
            Self::Null | Self::Bool(_) => scalar(0),
            Self::Num(number) => scalar(number.weight()),
            Self::Str(text) => scalar(text.len()),
            Self::Arr(array) => array.size,
            Self::Obj(object) => object.size,
        }
    }

    /// Returns the size in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.size().bytes
    }

    /// Copies a text; ends the run if it is too long.
    pub(super) fn text(text: &str) -> Self {
        Self::Str(Text::copy(text))
    }

    /// Makes an array of items whose slots were taken before; ends the run if it is too large.
    pub(super) fn array(items: Vec<Self>) -> Self {
        hold(HEAD);
        spend_bytes(items.len() * OVERHEAD);
        let empty = Size { bytes: OVERHEAD, depth: 1 };
        let size = items.iter().fold(empty, |size, item| size.with(item.size()));
        Self::Arr(Rc::new(Array { items, size }))
    }

    /// Makes an object; ends the run if it is too large.
    pub(super) fn object(members: Members) -> Self {
        hold(OBJECT);
        spend_bytes(members.len() * OVERHEAD);
        let mut object =
            Object { members: Members::new(), size: Size { bytes: OVERHEAD, depth: 1 } };
        for (key, value) in &members {
            object.size = object.size.with(part(key, value));
        }
        Self::Obj(Rc::new(Object { members, ..object }))
    }

    /// Returns the kind of this value, in the words of jq.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Num(_) => "number",
            Self::Str(_) => "string",
            Self::Arr(_) => "array",
            Self::Obj(_) => "object",
        }
    }
}

/// Takes the memory of one more member of an object, beside its key and its value.
pub(super) fn allow_member() {
    hold(MEMBER);
}

/// Copies some items for an array.
fn copied(items: &[Value]) -> Vec<Value> {
    hold(items.len() * SLOT);
    items.to_vec()
}

/// Returns the size of a member of an object.
fn part(key: &str, value: &Value) -> Size {
    let size = value.size();
    Size { bytes: size.bytes.saturating_add(OVERHEAD + key.len()), ..size }
}

impl Array {
    /// Returns the items for a change that keeps their sizes; charges a copy if they are shared.
    fn unshare(array: &mut Rc<Self>) -> &mut Self {
        if Rc::strong_count(array) > 1 {
            spend_bytes(array.items.len() * OVERHEAD);
            hold(HEAD + array.items.len() * SLOT);
        }
        Rc::make_mut(array)
    }

    fn push(&mut self, item: Value) {
        hold_slot();
        self.size = self.size.with(item.size());
        self.items.push(item);
    }

    /// Puts `new` in the place that `old` was taken from.
    fn swap(&mut self, at: usize, old: Size, new: Value) {
        self.size = self.size.without(old).with(new.size());
        if let Some(slot) = self.items.get_mut(at) {
            *slot = new;
        }
    }
}

impl Object {
    fn unshare(object: &mut Rc<Self>) -> &mut Self {
        if Rc::strong_count(object) > 1 {
            spend_bytes(object.members.len() * 2 * OVERHEAD);
            hold(OBJECT + object.members.len() * MEMBER);
        }
        Rc::make_mut(object)
    }

    fn insert(&mut self, key: &Text, value: Value) {
        allow_member();
        let size = part(key, &value);
        let old = self.members.insert(key.clone(), value);
        self.size = old.map_or(self.size, |old| self.size.without(part(key, &old))).with(size);
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

impl From<isize> for Value {
    fn from(number: isize) -> Self {
        Self::Num(number.into())
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Num(number.into())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Num(number.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        // The text is of a program or a message, so it is no longer than those.
        Self::Str(Text::new(text, 0))
    }
}

impl From<jaq_core::val::Range<Self>> for Value {
    fn from(range: jaq_core::val::Range<Self>) -> Self {
        let ends = [("start", range.start), ("end", range.end)];
        let ends = ends.into_iter().filter_map(|(key, end)| Some((Text::copy(key), end?)));
        Self::object(ends.collect())
    }
}

impl FromIterator<Self> for Value {
    fn from_iter<I: IntoIterator<Item = Self>>(items: I) -> Self {
        let mut bytes = 0_usize;
        let items = items.into_iter().inspect(|item| {
            // Checked before the whole is gathered: it may be endless.
            bytes = bytes.saturating_add(item.bytes());
            if bytes > MAX_SIZE {
                stop(Stop::Value);
            }
            hold_slot();
        });
        Self::array(items.collect())
    }
}
