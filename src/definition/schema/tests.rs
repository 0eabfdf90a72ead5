use proptest::prelude::*;
use serde_json::json;

use super::*;

fn compile(schema: &Value) -> Result<InputSchema, String> {
    InputSchema::compile(&Json::of(schema).map_err(|fault| fault.to_string())?)
}

/// Validates an input against a schema and returns the faults, place by place.
#[track_caller]
fn faults(schema: &Value, input: &Value) -> Vec<String> {
    let schema = compile(schema).unwrap_or_else(|fault| panic!("{schema}: {fault}"));
    let mut faults = Faults::default();
    schema.check(&Json::of(input).unwrap(), &Pointer::root().key("input"), &mut faults);
    faults.into_vec().into_iter().map(|f| format!("{}: {}", f.pointer, f.detail)).collect()
}

/// Returns whether validating an input against a schema takes more than half of the budget.
#[track_caller]
fn takes_long(schema: &Value, input: &Value) -> bool {
    let schema = compile(schema).unwrap_or_else(|fault| panic!("{schema}: {fault}"));
    let budget = Budget { fuel: FULL.fuel / 2, ..FULL };
    let input = Json::of(input).unwrap();
    with_large_stack(|| schema.attempt(&input, &Pointer::root(), budget)).unwrap().is_err()
}

/// Returns definitions of which each leads to the next one as `step` says, and the last to an
/// integer.
fn chain(length: usize, step: impl Fn(Value) -> Value) -> Value {
    let mut defs = serde_json::Map::new();
    for at in 0..length {
        let next = json!({ "$ref": format!("#/$defs/d{}", at + 1) });
        defs.insert(format!("d{at}"), step(next));
    }
    defs.insert(format!("d{length}"), json!({ "type": "integer" }));
    json!({ "$defs": defs, "$ref": "#/$defs/d0" })
}

#[test]
fn what_doubles_over_one_place_is_refused_before_it_is_compiled() {
    type Step = fn(Value) -> Value;
    let steps: [(&str, Step); 11] = [
        ("allOf", |next| json!({ "allOf": [next, next] })),
        ("anyOf", |next| json!({ "anyOf": [next, next] })),
        ("oneOf", |next| json!({ "oneOf": [next, next] })),
        ("not", |next| json!({ "not": next, "allOf": [next] })),
        ("if", |next| json!({ "if": next, "then": next, "else": next })),
        ("then", |next| json!({ "if": true, "then": next, "allOf": [next] })),
        ("dependentSchemas", |next| json!({ "dependentSchemas": { "a": next, "b": next } })),
        ("$ref", |next| json!({ "$ref": next["$ref"], "allOf": [next] })),
        ("$dynamicRef", |next| json!({ "$dynamicRef": next["$ref"], "anyOf": [next] })),
        ("unevaluated", |next| json!({ "allOf": [next, next], "unevaluatedProperties": false })),
        ("nested", |next| json!({ "allOf": [{ "anyOf": [next] }, { "not": { "not": next } }] })),
    ];
    for (name, step) in steps {
        let fault = compile(&chain(40, step)).unwrap_err();
        assert!(fault.contains("unfold"), "{name}: {fault}");
        // As many levels as a person writes are fine.
        let schema = chain(5, step);
        assert!(compile(&schema).is_ok(), "{name}");
        let _told = faults(&schema, &json!({ "a": 1, "b": 2 }));
    }
    let long = chain(300, |next| json!({ "allOf": [next] }));
    assert!(compile(&long).unwrap_err().contains("unfold"));
}

#[test]
fn what_leads_back_to_itself_over_one_place_is_refused() {
    for schema in [
        json!({ "$defs": { "a": { "allOf": [{ "$ref": "#/$defs/b" }] },
            "b": { "anyOf": [{ "$ref": "#/$defs/a" }] } }, "$ref": "#/$defs/a" }),
        json!({ "anyOf": [{ "type": "null" }, { "$ref": "#" }] }),
        json!({ "$dynamicAnchor": "n", "not": { "$dynamicRef": "#n" } }),
    ] {
        let fault = compile(&schema).unwrap_err();
        assert!(fault.contains("leads back"), "{schema}: {fault}");
    }
}

#[test]
fn what_goes_into_the_data_may_lead_back_to_itself() {
    let tree = json!({ "$defs": { "tree": { "type": "object", "required": ["n"],
        "properties": { "n": { "type": "integer" },
            "children": { "type": "array", "items": { "$ref": "#/$defs/tree" } } },
        "unevaluatedProperties": false } }, "$ref": "#/$defs/tree" });
    let good = json!({ "n": 1, "children": [{ "n": 2, "children": [] }, { "n": 3 }] });
    assert_eq!(faults(&tree, &good), Vec::<String>::new());
    let bad = json!({ "n": 1, "children": [{ "n": "x" }] });
    assert_eq!(faults(&tree, &bad).len(), 1);
    let dynamic = json!({ "$id": "https://h/t", "$dynamicAnchor": "node", "type": "object",
        "properties": { "c": { "items": { "$dynamicRef": "#node" } } } });
    assert_eq!(faults(&dynamic, &json!({ "c": [{ "c": [] }] })), Vec::<String>::new());
    assert_eq!(faults(&dynamic, &json!({ "c": [{ "c": [1] }] })).len(), 1);
}

/// Returns data nested `depth` deep under one name.
fn deep(depth: usize, leaf: Value) -> Value {
    (0..depth).fold(leaf, |inner, _| json!({ "a": inner }))
}

#[test]
fn what_doubles_with_the_depth_of_the_data_is_given_up() {
    type Step = fn(Value) -> Value;
    let steps: [(&str, Step); 5] = [
        (
            "allOf",
            |next| json!({ "allOf": [{ "properties": { "a": next } }, { "properties": { "a": next } }] }),
        ),
        (
            "anyOf",
            |next| json!({ "anyOf": [{ "properties": { "a": next } }, { "properties": { "a": next } }] }),
        ),
        ("patterns", |next| {
            json!({ "not": { "not": { "properties": { "a": next } } },
                "anyOf": [{ "patternProperties": { "^a": next } }, false] })
        }),
        (
            "additional",
            |next| json!({ "anyOf": [{ "additionalProperties": next }, { "properties": { "a": next } }] }),
        ),
        ("unevaluated", |next| {
            json!({ "anyOf": [{ "properties": { "a": next } }, { "unevaluatedProperties": next }],
                "unevaluatedProperties": next })
        }),
    ];
    for (name, step) in steps {
        // Some are valid by their first way, others are not valid.
        let leaves = [json!(1), json!("x")];
        let long = |depth| {
            let mut leaves = leaves.iter();
            leaves.any(|leaf| takes_long(&chain(depth, step), &deep(depth, leaf.clone())))
        };
        assert!(long(60), "{name}");
        assert!(!long(5), "{name}");
    }
}

#[test]
fn an_input_that_takes_too_long_is_told_so() {
    let twice = |next: Value| json!({ "allOf": [{ "properties": { "a": next } }, { "properties": { "a": next } }] });
    let told = faults(&chain(60, twice), &deep(60, json!(1)));
    assert!(told.len() == 1 && told[0].starts_with("/input: "), "{told:?}");
    assert!(told[0].contains("budget"), "{told:?}");
}

#[test]
fn large_data_against_costly_words_are_given_up_or_told() {
    let text = "a".repeat(500_000);
    let many: Vec<_> = (0..100_000).collect();
    let choices: Vec<_> = (0..5_000).map(|n| json!({ "n": n, "x": "y".repeat(50) })).collect();
    let schemas = [
        (json!({ "pattern": "(a{90}){90}b" }), json!(text)),
        (json!({ "items": { "enum": choices } }), json!(vec![json!({ "n": 1 }); 10_000])),
        (
            json!({ "items": { "anyOf": vec![json!({ "const": 1 }); 5_000] } }),
            json!(vec![0; 50_000]),
        ),
        (json!({ "allOf": vec![json!({ "contains": { "const": -1 } }); 1_000] }), json!(many)),
        (json!({ "allOf": vec![json!({ "uniqueItems": true }); 5_000] }), json!(many)),
        (json!({ "items": { "allOf": vec![true; 15_000] } }), json!(many)),
    ];
    for (schema, input) in schemas {
        assert!(takes_long(&schema, &input), "{:.80}", schema.to_string());
    }
}

#[test]
fn patterns_and_resources_are_bounded() {
    let many: serde_json::Map<_, _> =
        (0..600).map(|n| (format!("k{n}"), json!({ "pattern": format!("^{n}$") }))).collect();
    let fault = compile(&json!({ "properties": many })).unwrap_err();
    assert!(fault.contains("patterns"), "{fault}");
    assert!(compile(&json!({ "pattern": "a".repeat(20_000) })).is_err());
    assert!(compile(&json!({ "pattern": r"((\w{100}){100}){100}" })).is_err());
    let each = |n: usize| {
        let next = |m: usize| json!({ "$ref": format!("r{m}") });
        json!({ "$id": format!("r{n}"), "properties": { "a": next(n + 1), "b": next(n + 2) } })
    };
    let mut all: serde_json::Map<_, _> = (0..40).map(|n| (format!("r{n}"), each(n))).collect();
    for n in [40, 41] {
        all.insert(format!("r{n}"), json!({ "$id": format!("r{n}") }));
    }
    let fault = compile(&json!({ "$id": "https://h/", "$defs": all, "$ref": "r0" })).unwrap_err();
    assert!(fault.contains("too many ways"), "{fault}");
}

#[test]
fn schemas_and_inputs_of_ordinary_size_fit() {
    let properties: serde_json::Map<_, _> = (0..500)
        .map(|n| {
            (
                format!("field{n}"),
                json!({ "type": "string", "pattern": "^[a-z]+$", "maxLength": 9 }),
            )
        })
        .collect();
    let record: serde_json::Map<_, _> =
        (0..500).map(|n| (format!("field{n}"), json!("abc"))).collect();
    let schema =
        json!({ "type": "object", "properties": properties, "additionalProperties": false });
    assert_eq!(faults(&schema, &json!(record)), Vec::<String>::new());
    let item = json!({ "type": "object", "required": ["id", "price", "name"], "properties": {
        "id": { "type": "integer", "minimum": 0 },
        "price": { "type": "number", "exclusiveMinimum": 0 },
        "name": { "type": "string", "minLength": 1, "pattern": "^[A-Za-z0-9 ._-]+$" },
        "kind": { "enum": ["a", "b", "c"] },
        "tags": { "type": "array", "items": { "type": "string" }, "uniqueItems": true },
        "where": { "oneOf": [{ "$ref": "#/$defs/place" }, { "type": "null" }] },
    } });
    let place = json!({ "type": "object", "properties": { "lat": { "type": "number" }, "lon": { "type": "number" } } });
    let schema = json!({ "$defs": { "item": item, "place": place },
        "type": "array", "items": { "$ref": "#/$defs/item" } });
    let items: Vec<_> = (0..8_000)
        .map(|n| {
            json!({ "id": n, "price": 1.5, "name": format!("item {n}"), "kind": "b",
            "tags": ["x", "y"], "where": { "lat": 1.0, "lon": 2.0 } })
        })
        .collect();
    assert_eq!(faults(&schema, &json!(items)), Vec::<String>::new());
    let mut bad = items;
    bad[7]["price"] = json!(0);
    let told = faults(&schema, &json!(bad));
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("/input/7/price: "), "{told:?}");
}

#[test]
fn small_inputs_are_told_at_once_and_large_ones_are_not_begun() {
    let schema = compile(&json!({ "properties": { "n": { "type": "integer" } } })).unwrap();
    let inline = |input: &Value| {
        let mut faults = Faults::default();
        let told = schema.check_inline(&Json::of(input).unwrap(), &Pointer::root(), &mut faults);
        told.map(|()| faults.len())
    };
    assert_eq!(inline(&json!({ "n": 1 })), Ok(0));
    assert_eq!(inline(&json!({ "n": "x" })), Ok(1));
    assert_eq!(inline(&json!({ "n": "x".repeat(100_000) })), Err(TakesLong));
}

#[test]
fn faults_that_would_copy_gigabytes_end_at_their_budget_of_memory() {
    let names: Vec<_> = (0..40).map(|n| format!("{n:03}{}", "k".repeat(1_000))).collect();
    let text = "k".repeat(9_000);
    let nothing = json!(vec![json!({}); 20_000]);
    let requires = json!({ "required": names });
    let wide: serde_json::Map<_, _> =
        (0..10).map(|n| (format!("{n}{}", "k".repeat(500)), json!(1))).collect();
    let deep = (0..100).fold(json!(vec!["x"; 1_000]), |inner, _| json!({ &text[..2_000]: inner }));
    let tree = json!({ "additionalProperties": { "$ref": "#/$defs/n" },
        "items": { "type": "integer" } });
    let names_others = json!({ "properties": { "a": true }, "additionalProperties": false });
    let schemas = [
        (json!({ "items": requires }), nothing.clone()),
        (
            json!({ "items": { "dependentRequired": { "a": names } } }),
            json!(vec![json!({ "a": 1 }); 20_000]),
        ),
        (json!({ "items": { "anyOf": [requires, requires] } }), nothing.clone()),
        (json!({ "items": { "oneOf": [requires, requires] } }), nothing),
        (
            json!({ "items": { "not": { "type": "integer", "title": text } } }),
            json!(vec![1; 20_000]),
        ),
        (json!({ "items": { "pattern": text } }), json!(vec!["x"; 20_000])),
        (json!({ "items": { "format": "email", "pattern": text } }), json!(vec!["x"; 20_000])),
        (
            json!({ "items": { "propertyNames": { "pattern": text } } }),
            json!(vec![json!({ "a": 1 }); 20_000]),
        ),
        (json!({ "items": { "allOf": vec![names_others; 200] } }), json!(vec![json!(wide); 200])),
        (
            json!({ "items": { "allOf": vec![json!({ "unevaluatedProperties": false }); 200] } }),
            json!(vec![json!(wide); 200]),
        ),
        (json!({ "items": { "unevaluatedItems": false } }), json!(vec![vec![1; 100]; 2_000])),
        (json!({ "$defs": { "n": tree }, "$ref": "#/$defs/n" }), deep),
    ];
    for (schema, input) in schemas {
        let told = faults(&schema, &input);
        let last = told.last().unwrap();
        assert!(last.contains(TOO_MANY) && told.len() <= 2, "{schema:.80}: {}", told.len());
    }
}

#[test]
fn of_faults_that_fit_into_their_budget_a_hundred_are_named() {
    let schema = json!({ "items": { "required": ["id"], "anyOf": [{ "minProperties": 2 }] } });
    let told = faults(&schema, &json!(vec![json!({ "a": 1 }); 10_000]));
    assert_eq!(told.len(), MAX_INPUT_FAULTS);
    assert_eq!(told[0], "/input/0: \"id\" is a required property");
    assert!(told.iter().all(|fault| !fault.contains(TOO_MANY)), "{told:?}");
    let schema = json!({ "$schema": "http://json-schema.org/draft-07/schema#",
        "items": [true], "additionalItems": false });
    let told = faults(&schema, &json!([1, 2, 3]));
    assert!(told.len() == 1 && told[0].contains("2 items"), "{told:?}");
}

#[test]
fn a_name_that_faults_would_copy_is_not_long() {
    for (len, fits) in [(1_024, true), (1_025, false)] {
        let names = json!(["a", "k".repeat(len)]);
        for schema in [
            json!({ "items": { "required": names } }),
            json!({ "dependentRequired": { "a": [], "b": names } }),
            json!({ "$schema": "http://json-schema.org/draft-07/schema#",
                "dependencies": { "a": names } }),
        ] {
            assert_eq!(compile(&schema).is_ok(), fits, "{schema:.60}");
        }
    }
}

fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(true)),
        Just(json!(false)),
        Just(json!({})),
        Just(json!({ "type": "integer" })),
        Just(json!({ "const": [1, { "a": 2 }] })),
        Just(json!({ "enum": [1, "a", null] })),
        Just(json!({ "pattern": "^(a|b){3}" })),
        Just(json!({ "uniqueItems": true, "minItems": 1 })),
        (0_usize..4).prop_map(|n| json!({ "$ref": format!("#/$defs/d{n}") })),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let words = prop::sample::select(vec![
            "not",
            "if",
            "items",
            "contains",
            "propertyNames",
            "additionalProperties",
            "unevaluatedProperties",
            "unevaluatedItems",
        ]);
        let lists = prop::sample::select(vec!["allOf", "anyOf", "oneOf", "prefixItems"]);
        let maps =
            prop::sample::select(vec!["properties", "patternProperties", "dependentSchemas"]);
        prop_oneof![
            (words, inner.clone()).prop_map(|(word, of)| json!({ word: of })),
            (lists, prop::collection::vec(inner.clone(), 1..4))
                .prop_map(|(word, of)| json!({ word: of })),
            (maps, prop::collection::btree_map("[ab]", inner, 1..3))
                .prop_map(|(word, of)| json!({ word: of })),
        ]
    })
}

fn any_input() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        (0..3).prop_map(Value::from),
        "[ab]{0,5}".prop_map(Value::from)
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[ab]{1,2}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #[test]
    fn no_schema_takes_more_than_its_budget_and_every_answer_is_that_of_the_whole_check(
        root in any_schema(),
        defs in prop::collection::vec(any_schema(), 4),
        input in any_input(),
    ) {
        let mut schema = if root.is_object() { root } else { json!({ "allOf": [root] }) };
        for (at, one) in defs.into_iter().enumerate() {
            schema["$defs"][format!("d{at}")] = one;
        }
        // A schema is refused by our own survey, or by the library with a reason.
        let Ok(compiled) = compile(&schema) else { return Ok(()) };
        set_prices(compiled.prices);
        let budget = |fuel| Budget { fuel, ..INLINE };
        let whole = jsonschema::validator_for(&schema);
        for fuel in [10, 1_000, 200_000] {
            let told = meter::metered(budget(fuel), || compiled.validator.is_valid(Seen(&input)));
            if let (Ok(told), Ok(whole)) = (told, &whole) {
                prop_assert_eq!(told, whole.is_valid(&input), "{} of {}", schema, input);
            }
        }
    }
}
