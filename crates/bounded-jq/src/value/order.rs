//! The order of values: null, false, true, numbers, strings, arrays, objects.

use std::cmp::Ordering;

use super::{Object, Text, Value};
use crate::meter::{lend, spend};

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        spend(1);
        match (self, other) {
            (Self::Null, Self::Null) => Ordering::Equal,
            (Self::Bool(one), Self::Bool(two)) => one.cmp(two),
            (Self::Num(one), Self::Num(two)) => one.cmp(two),
            (Self::Str(one), Self::Str(two)) => one.cmp(two),
            (Self::Arr(one), Self::Arr(two)) => one.items.cmp(&two.items),
            (Self::Obj(one), Self::Obj(two)) => objects(one, two),
            _ => rank(self).cmp(&rank(other)),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Arr(one), Self::Arr(two)) if one.items.len() != two.items.len() => false,
            (Self::Obj(one), Self::Obj(two)) if one.members.len() != two.members.len() => false,
            _ => self.cmp(other) == Ordering::Equal,
        }
    }
}

impl Eq for Value {}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Num(_) => 2,
        Value::Str(_) => 3,
        Value::Arr(_) => 4,
        Value::Obj(_) => 5,
    }
}

/// Compares objects by their sorted keys, then by the values in that order.
fn objects(one: &Object, two: &Object) -> Ordering {
    let members = one.members.len() + two.members.len();
    spend(u64::try_from(members).unwrap_or(u64::MAX));
    let _sorted = lend(members * (size_of::<Text>() + size_of::<Value>()) * 2);
    let sorted = |object: &Object| {
        let mut keys: Vec<_> = object.members.keys().cloned().collect();
        keys.sort_unstable();
        keys
    };
    let keys = sorted(one);
    keys.cmp(&sorted(two)).then_with(|| {
        let values = |object: &Object| {
            keys.iter().filter_map(|key| object.members.get(key).cloned()).collect::<Vec<_>>()
        };
        values(one).cmp(&values(two))
    })
}
