//! JSON as a schema's validator sees it: the validator pays for everything that it looks at.
//!
//! The validator cannot be interrupted, but all its work calls this module, except going from
//! schema to schema over one place, which [`super::unfold`] has bounded: [`Prices`] make up for
//! that.

use std::borrow::Cow;
use std::cell::Cell;

use bounded_jq::meter::{HEAD, hold, spend, step};
use jsonschema::JsonType;
use jsonschema::json::{Array, Json, Node, NodeIdentity, Object, unique};
use serde_json::{Map, Number, Value};

use super::copies::{Copies, Extent};
use super::unfold::Costs;

/// The bytes that are read, or the states that are gone through, for one unit.
const PER_UNIT: u64 = 64;
/// The visits of schemas for one unit.
const VISITS: u64 = 16;

/// The prices of looking at data with one schema.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prices {
    /// The price of going to another place of the data.
    visit: u64,
    /// The price of each byte of a text, and of a name, in parts of a unit.
    text: u64,
    name: u64,
    /// The bytes of memory for a fault, beside those of the value itself.
    fault: usize,
    copies: Copies,
}

impl From<Costs> for Prices {
    fn from(costs: Costs) -> Self {
        Self {
            visit: 1 + costs.visits / VISITS,
            text: costs.text.max(1),
            name: costs.names.max(1),
            fault: costs.copies.of_fault(Extent::default()),
            copies: costs.copies,
        }
    }
}

impl Prices {
    /// Returns these prices for the gathering of this input's faults.
    pub(super) fn with_faults(self, input: &Value) -> Self {
        Self { fault: self.copies.of_fault(Extent::of(input)), ..self }
    }
}

thread_local! {
    static PRICES: Cell<Prices> = const {
        Cell::new(Prices { visit: 1, text: 1, name: 1, fault: 0, copies: Copies::NONE })
    };
}

/// Sets the prices for the work that follows on this thread.
pub(super) fn set_prices(prices: Prices) {
    PRICES.set(prices);
}

fn visit() {
    step();
    spend(PRICES.get().visit);
}

fn read(bytes: usize, states: u64) {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    spend(1 + bytes.saturating_mul(states) / PER_UNIT);
}

/// Pays `times` for all of a value.
fn read_all(value: &Value, times: u64) {
    spend(times);
    match value {
        Value::String(text) => read(text.len(), times),
        Value::Array(items) => items.iter().for_each(|item| read_all(item, times)),
        Value::Object(members) => members.iter().for_each(|(name, inner)| {
            read(name.len(), times);
            read_all(inner, times);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn equal(one: &Value, two: &Value) -> bool {
    spend(1);
    match (one, two) {
        (Value::String(one), Value::String(two)) => {
            read(one.len().min(two.len()), 1);
            one == two
        }
        (Value::Number(one), Value::Number(two)) => same_number(one, two),
        (Value::Array(one), Value::Array(two)) => {
            one.len() == two.len() && one.iter().zip(two).all(|(one, two)| equal(one, two))
        }
        (Value::Object(one), Value::Object(two)) => {
            one.len() == two.len()
                && one.iter().all(|(name, inner)| {
                    read(name.len(), 1);
                    two.get(name).is_some_and(|other| equal(inner, other))
                })
        }
        (one, two) => one == two,
    }
}

fn same_number(one: &Number, two: &Number) -> bool {
    match (one.as_i64(), two.as_i64()) {
        (Some(one), Some(two)) => one == two,
        _ => match (one.as_u64(), two.as_u64()) {
            (Some(one), Some(two)) => one == two,
            _ => one.as_f64() == two.as_f64(),
        },
    }
}

/// The representation of JSON that the validator works on.
pub(super) struct Metered;

/// One value.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a>(pub(super) &'a Value);

/// An object.
pub(super) struct Members<'a>(&'a Map<String, Value>);

/// An array.
pub(super) struct Elements<'a>(&'a [Value]);

impl Json for Metered {
    type Node<'a> = Seen<'a>;
    type PreparedKey = String;
    type StringBuffer = Value;

    fn prepare_key(key: &str) -> String {
        key.to_owned()
    }

    fn with_string_node<T>(buffer: &mut Value, string: &str, f: impl FnOnce(Seen<'_>) -> T) -> T {
        visit();
        read(string.len(), 1);
        *buffer = Value::String(string.to_owned());
        f(Seen(buffer))
    }
}

impl<'a> Node<'a, Metered> for Seen<'a> {
    type Object = Members<'a>;
    type Array = Elements<'a>;
    type Number = &'a Number;

    fn as_object(&self) -> Option<Members<'a>> {
        step();
        self.0.as_object().map(Members)
    }

    fn as_array(&self) -> Option<Elements<'a>> {
        step();
        self.0.as_array().map(|items| Elements(items))
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        step();
        let text = self.0.as_str()?;
        read(text.len(), PRICES.get().text);
        Some(Cow::Borrowed(text))
    }

    fn as_number(&self) -> Option<&'a Number> {
        spend(1);
        match self.0 {
            Value::Number(number) => Some(number),
            Value::Null
            | Value::Bool(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => None,
        }
    }

    fn as_boolean(&self) -> Option<bool> {
        spend(1);
        self.0.as_bool()
    }

    fn is_null(&self) -> bool {
        spend(1);
        self.0.is_null()
    }

    fn json_type(&self) -> JsonType {
        step();
        match self.0 {
            Value::Null => JsonType::Null,
            Value::Bool(_) => JsonType::Boolean,
            Value::Number(_) => JsonType::Number,
            Value::String(_) => JsonType::String,
            Value::Array(_) => JsonType::Array,
            Value::Object(_) => JsonType::Object,
        }
    }

    fn string_length(&self) -> Option<u64> {
        let text = self.0.as_str()?;
        read(text.len(), 1);
        Some(u64::try_from(text.chars().count()).unwrap_or(u64::MAX))
    }

    fn equals_value(&self, expected: &Value) -> bool {
        equal(self.0, expected)
    }

    /// Returns a stand-in for the value. The validator calls this for each fault and keeps the
    /// result. A fault never shows more of a value than its number of items, so a stand-in without
    /// their content is enough: copies would add up over the branches of a union.
    fn to_value(&self) -> Cow<'a, Value> {
        let Prices { fault, copies, .. } = PRICES.get();
        spend(1);
        hold(fault);
        match self.0 {
            Value::String(text) => hold(text.len()),
            Value::Array(items) if copies.counts_items => {
                hold(items.len().saturating_mul(size_of::<Value>()));
                return Cow::Owned(Value::Array(vec![Value::Null; items.len()]));
            }
            Value::Object(members) if copies.lists_names => members.keys().for_each(|name| {
                read(name.len(), 1);
                hold(HEAD + name.len());
            }),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => {}
        }
        Cow::Owned(Value::Null)
    }

    fn container_identity(&self) -> Option<NodeIdentity> {
        // The validator keeps its verdict on a container until the end.
        hold(HEAD);
        matches!(self.0, Value::Object(_) | Value::Array(_)).then(|| self.identity()).flatten()
    }

    fn identity(&self) -> Option<NodeIdentity> {
        Some(NodeIdentity::new(std::ptr::from_ref(self.0).addr()))
    }
}

impl<'a> Object<'a, Metered> for Members<'a> {
    type Node = Seen<'a>;
    type MemberName = &'a str;
    type MembersIter = Named<'a>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, key: &String) -> Option<Seen<'a>> {
        visit();
        self.0.get(key.as_str()).map(Seen)
    }

    fn members(&self) -> Named<'a> {
        Named(self.0.iter())
    }
}

/// An iterator over members that are paid for one by one.
pub(super) struct Named<'a>(serde_json::map::Iter<'a>);

impl<'a> Iterator for Named<'a> {
    type Item = (&'a str, Seen<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = self.0.next()?;
        visit();
        read(name.len(), PRICES.get().name);
        Some((name.as_str(), Seen(value)))
    }
}

impl<'a> Array<'a, Metered> for Elements<'a> {
    type Node = Seen<'a>;
    type ElementsIter = Each<'a>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn elements(&self) -> Each<'a> {
        Each(self.0.iter())
    }

    fn is_unique(&self) -> bool {
        /// The number of elements below which all are compared with each other; more are compared
        /// by their hashes.
        const COMPARED: u64 = 16;
        let times =
            if u64::try_from(self.0.len()).is_ok_and(|len| len < COMPARED) { COMPARED } else { 2 };
        self.0.iter().for_each(|item| read_all(item, times));
        let values: Vec<&Value> = self.0.iter().collect();
        unique::is_unique(&values)
    }
}

/// An iterator over elements that are paid for one by one.
pub(super) struct Each<'a>(std::slice::Iter<'a, Value>);

impl<'a> Iterator for Each<'a> {
    type Item = Seen<'a>;

    fn next(&mut self) -> Option<Seen<'a>> {
        let value = self.0.next()?;
        visit();
        Some(Seen(value))
    }
}
