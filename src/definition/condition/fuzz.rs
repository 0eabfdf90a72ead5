//! Fuzzes conditions: every expression has the value that another reader of the language gives it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value as Tree;

use super::Condition;
use super::value::{Key, Value};
use crate::definition::fuzz::{apart, data, parts};
use crate::fuzz::fuzz;
use crate::model::Json;

/// A small budget: an evaluation that has no end within it ends soon, too.
const SMALL: u64 = 20_000;
const TOKENS: &[&str] = &[
    "&&",
    "||",
    "!",
    "==",
    "!=",
    "<=",
    "in ",
    "? 1 : 2",
    "size(",
    ".all(x, ",
    ".exists(x, ",
    ".exists_one(x, x)",
    ".map(x, ",
    ".filter(x, ",
    "has(input.a)",
    "steps['my-step'].output",
    "a.output.items",
    "gone.output",
    "thread.id",
    "type(",
    "int(",
    "uint(",
    "double(",
    "string(",
    "bytes(",
    "b'\\xff'",
    "1u",
    "9223372036854775807",
    "-9223372036854775808",
    "{'a': 1}",
    "{1: 2, 1u: 3}",
    "[1, 2.0, 3u]",
    "min(",
    "max(",
    ".contains('a')",
    ".startsWith('')",
    ".endsWith(",
    "%",
    "0.0/0.0",
    "dyn(",
    "output",
    "null",
    "r'\\d'",
    "'''",
];

#[test]
fn any_condition_comes_to_what_the_interpreter_of_its_library_says() {
    let visible = BTreeSet::from(["a", "my-step", "gone"]);
    fuzz("condition", TOKENS, |bytes| {
        let Some((text, input)) = parts(bytes) else { return "no parts".to_owned() };
        let condition = match Condition::compile(text, &visible) {
            Ok(condition) => condition,
            Err(faults) => {
                let faults = faults.join("; ");
                assert!(!faults.contains("its evaluation failed"), "{faults}");
                return faults;
            }
        };
        let data = data(&input);
        apart(|| {
            let ours = condition.answer(&data, None);
            let holds = condition.evaluate(&data).ok();
            let said = ours.as_ref().ok();
            assert!(
                holds
                    == said.and_then(|value| if let Value::Bool(b) = value {
                        Some(*b)
                    } else {
                        None
                    })
            );
            if condition.effort(input.as_str().len()) < SMALL
                && let (Ok(ours), Some(theirs)) = (&ours, interpreted(text, &input))
            {
                assert!(same(ours, &theirs), "ours is {ours:?}, theirs {theirs:?}");
            }
            ours.map_or_else(|why| why, |value| value.type_name().to_owned())
        })
    });
}

/// Returns the value that the interpreter of the `cel` crate gives an expression, if it succeeds.
fn interpreted(text: &str, input: &Json) -> Option<cel::Value> {
    let tree: Tree = input.decode().ok()?;
    let step = |status: &str, output: &str| {
        let output = of_tree(&serde_json::from_str(output).unwrap());
        map([("output", output), ("status", status.to_owned().into())])
    };
    let steps = [
        ("a", step("completed", r#"{"items":[{"name":"n0"},{"name":"n1"}],"text":"héllo"}"#)),
        ("my-step", step("completed", "7")),
        ("gone", step("skipped", "null")),
    ];
    catch_unwind(AssertUnwindSafe(|| {
        let program = cel::Program::compile(text).ok()?;
        let mut context = cel::Context::default();
        context.add_variable_from_value("input", of_tree(&tree));
        context.add_variable_from_value("thread", map([("id", "t-1".to_owned().into())]));
        context.add_variable_from_value("steps", map(steps.clone()));
        for (name, step) in steps {
            context.add_variable_from_value(name, step);
        }
        program.execute(&context).ok()
    }))
    .ok()?
}

fn map<const N: usize>(members: [(&str, cel::Value); N]) -> cel::Value {
    let members = members.map(|(name, value)| (name.to_owned(), value));
    cel::Value::from(HashMap::from(members))
}

fn of_tree(tree: &Tree) -> cel::Value {
    match tree {
        Tree::Null => cel::Value::Null,
        Tree::Bool(value) => cel::Value::Bool(*value),
        Tree::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => cel::Value::Int(number),
            (_, Some(number)) => cel::Value::UInt(number),
            _ => cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Tree::String(text) => text.clone().into(),
        Tree::Array(items) => items.iter().map(of_tree).collect::<Vec<_>>().into(),
        Tree::Object(members) => {
            let members = members.iter().map(|(name, value)| (name.clone(), of_tree(value)));
            members.collect::<HashMap<_, _>>().into()
        }
    }
}

/// Returns whether an answer is that of the interpreter; types have no value there.
fn same(ours: &Value, theirs: &cel::Value) -> bool {
    match (ours, theirs) {
        (Value::Null, cel::Value::Null) | (Value::Type(_), _) => true,
        (Value::Bool(one), cel::Value::Bool(two)) => one == two,
        (Value::Int(one), cel::Value::Int(two)) => one == two,
        (Value::UInt(one), cel::Value::UInt(two)) => one == two,
        (Value::Double(one), cel::Value::Float(two)) => {
            one.partial_cmp(two).is_some_and(Ordering::is_eq) || (one.is_nan() && two.is_nan())
        }
        (Value::Text(one), cel::Value::String(two)) => **one == **two,
        (Value::Bytes(one), cel::Value::Bytes(two)) => **one == ***two,
        (Value::List(one), cel::Value::List(two)) => {
            one.len() == two.len() && one.iter().zip(two.iter()).all(|(one, two)| same(one, two))
        }
        (Value::Map(one), cel::Value::Map(two)) => {
            let two: BTreeMap<String, &cel::Value> =
                two.map.iter().map(|(key, value)| (key.to_string(), value)).collect();
            one.len() == two.len()
                && one
                    .values()
                    .zip(one.keys())
                    .all(|(value, key)| two.get(&key_text(key)).is_some_and(|two| same(value, two)))
        }
        _ => false,
    }
}

fn key_text(key: &Key) -> String {
    match key {
        Key::Bool(value) => value.to_string(),
        Key::Number(number) => number.to_string(),
        Key::Text(text) => text.to_string(),
    }
}
