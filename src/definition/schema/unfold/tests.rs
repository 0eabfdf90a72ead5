use serde_json::json;

use super::*;

/// The most fuel that each name or reference of a schema takes.
const EACH: u64 = 40;

/// Returns a document of `count` members under `$defs`, and as many under `properties`.
fn document(
    count: usize,
    named: impl Fn(usize) -> Value,
    referring: impl Fn(usize) -> Value,
) -> Value {
    let all = |of: &dyn Fn(usize) -> Value| -> Map<String, Value> {
        (0..count).map(|at| (at.to_string(), of(at))).collect()
    };
    json!({ "$defs": all(&named), "properties": all(&referring) })
}

/// Returns whether a survey ended because its budget was used up.
fn is_spent(budget: Budget, schema: &Value) -> bool {
    survey_within(budget, schema).is_err_and(|fault| fault.contains("looked through"))
}

#[test]
fn the_work_of_a_survey_grows_no_faster_than_the_schema() {
    type Shape = fn(usize) -> Value;
    let shapes: [(&str, Shape); 9] = [
        ("$recursiveRef", |n| {
            document(
                n,
                |at| json!({ "$id": format!("r{at}") }),
                |_| json!({ "$recursiveRef": "#" }),
            )
        }),
        ("loops", |n| {
            let each = |at: usize| json!({ "$id": format!("r{at}"), "$recursiveRef": "#" });
            document(n, each, |_| json!(true))
        }),
        ("$dynamicRef", |n| {
            document(n, |_| json!({ "$dynamicAnchor": "a" }), |_| json!({ "$dynamicRef": "#a" }))
        }),
        ("many dynamic names", |n| {
            let named = |at: usize| json!({ "$dynamicAnchor": format!("a{at}") });
            document(n, named, |at| json!({ "$dynamicRef": format!("#a{at}") }))
        }),
        ("ids", |n| {
            let named = |at: usize| json!({ "$id": format!("r{at}") });
            document(n, named, |at| json!({ "$ref": format!("r{at}") }))
        }),
        ("one last part", |n| {
            let named = |at: usize| json!({ "$id": format!("http://h/{at}/x") });
            document(n, named, |at| json!({ "$ref": format!("http://h/{at}/x") }))
        }),
        ("anchors", |n| {
            let named = |at: usize| json!({ "$anchor": format!("a{at}") });
            document(n, named, |at| json!({ "$ref": format!("#a{at}") }))
        }),
        ("one anchor", |n| document(n, |_| json!({ "$anchor": "a" }), |_| json!({ "$ref": "#a" }))),
        ("pointers", |n| {
            document(n, |_| json!({}), |at| json!({ "$ref": format!("#/$defs/{at}") }))
        }),
    ];
    for (name, shape) in shapes {
        for count in [250, 1_000, 4_000] {
            let fuel = EACH * u64::try_from(count).unwrap();
            let spent = is_spent(Budget { fuel, ..SURVEY }, &shape(count));
            assert!(!spent, "{name}: {count} took more than {EACH} units each");
        }
    }
}

#[test]
fn what_multiplies_names_by_references_ends_with_the_budget() {
    let named = |at: usize| json!({ "$id": format!("http://h/{at}/x") });
    let other = document(2_000, named, |at| json!({ "$ref": format!("x#/a{at}") }));
    assert!(is_spent(SURVEY, &other));
    // Each of the resources leads to every other one, in two groups.
    let each = |at: usize| {
        json!({ "$id": format!("r{at}"), "$dynamicAnchor": "a",
            "properties": { "x": { "$dynamicRef": "#a" }, "y": { "$recursiveRef": "#" } } })
    };
    let web = document(5_000, each, |_| json!(true));
    assert!(survey(&web).is_err());
}

#[test]
fn one_long_name_above_many_words_ends_with_the_budget() {
    let words: Map<String, Value> = (0..10_000).map(|at| (at.to_string(), json!(true))).collect();
    let long = "k".repeat(100_000);
    for schema in [
        json!({ "properties": { &long: { "properties": words } } }),
        json!({ "$id": format!("http://h/{long}"), "properties": words }),
        json!({ "$id": format!("http://h/{long}/"), "$defs": { "a": { "$id": "b", "properties": words } } }),
    ] {
        assert!(is_spent(SURVEY, &schema));
    }
    let brief = json!({ "properties": { "k": { "properties": words } }, "description": long });
    assert!(survey(&brief).is_ok());
}

#[test]
fn a_group_counts_all_of_its_members() {
    let named = |_| json!({ "$dynamicAnchor": "a", "type": "string" });
    let costs = survey(&document(100, named, |_| json!({ "$dynamicRef": "#a" }))).unwrap();
    assert_eq!(costs.visits, 101);
}

#[test]
fn a_document_has_so_many_schemas() {
    let of = |count: usize| document(count, |_| json!({}), |_| json!({}));
    assert!(survey(&of(MAX_SCHEMAS / 2 - 1)).is_ok());
    let fault = survey(&of(MAX_SCHEMAS / 2 + 1)).unwrap_err();
    assert!(fault.contains("schemas"), "{fault}");
}
