//! What checking a workflow may cost.

use serde_json::{Value, json};

use super::{parse, plan, with_step};
use crate::definition::Plan;
use crate::definition::testing::json as text;
use crate::model::Pointer;

/// What a plan may weigh in these tests, in bytes.
const WEIGHT: usize = 48 << 20;

/// The faults of a workflow that somebody brings.
fn checked(workflow: &Value) -> Result<Plan, Vec<String>> {
    let at = Pointer::root().key("workflow");
    Plan::check(&text(&workflow.to_string()), &at, WEIGHT).map_err(|faults| {
        faults.into_iter().map(|fault| format!("{}: {}", fault.pointer, fault.detail)).collect()
    })
}

fn many(steps: usize, step: impl Fn(usize) -> Value) -> Value {
    json!({"name": "many", "steps": (0..steps).map(step).collect::<Vec<_>>()})
}

#[test]
fn a_thousand_steps_with_ordinary_texts_are_checked() {
    let one = |at: usize| {
        let mut step = json!({"id": format!("step-{at}"), "kind": "transform",
            "when": format!("input.items.exists(i, i.id == {at}) && input.dry == false"),
            "check": format!("size(output) > {at} ? 'success' : 'blocked'"),
            "with": {"jq": format!(".items | map(select(.id == {at}) | .name | gsub(\" \"; \"-\")) | join(\",\")"),
                "from": {"items": "{input.items}", "note": format!("step {at} of {{input.name}} for {{thread.id}}")}}});
        if at > 0 {
            step["dependsOn"] = json!([format!("step-{}", at - 1)]);
        }
        step
    };
    let plan = checked(&many(1_000, one)).unwrap_or_else(|faults| panic!("{faults:#?}"));
    assert!(plan.weight() < WEIGHT, "{}", plan.weight());
}

#[test]
fn a_workflow_whose_programs_are_too_long_together_is_refused_where_nothing_was_left() {
    let jq = |program: String| {
        many(
            240,
            |at| json!({"id": format!("s{at}"), "kind": "transform", "with": {"jq": program, "from": 1}}),
        )
    };
    let when = |condition: String| {
        many(
            950,
            |at| json!({"id": format!("s{at}"), "kind": "sleep", "when": condition, "with": {"for": 1}}),
        )
    };
    for (workflow, member) in [
        (jq(vec!["1"; 8_000].join("+")), "with/jq"),
        (jq(vec![".a"; 5_300].join(",")), "with/jq"),
        (jq(format!("\"{}\"", "x".repeat(16_000))), "with/jq"),
        (when(format!("{{{}}} == {{}}", vec!["1:1"; 1_000].join(","))), "when"),
        (when("1 == 1 && ".repeat(60) + "true"), "when"),
    ] {
        let faults = checked(&workflow).unwrap_err();
        let fault = &faults[0];
        assert!(fault.starts_with("/workflow/steps/") && fault.contains(member), "{fault}");
        assert!(fault.contains("for one"), "{fault}");
        assert_eq!(checked(&workflow).unwrap_err(), faults, "the answer is the same again");
    }
}

#[test]
fn what_the_store_holds_is_read_whatever_it_costs() {
    let program = vec!["1"; 8_000].join("+");
    let workflow = many(
        80,
        |at| json!({"id": format!("s{at}"), "kind": "transform", "with": {"jq": program, "from": 1}}),
    );
    assert!(checked(&workflow).is_err());
    assert_eq!(plan(&workflow).steps.len(), 80);
}

#[test]
fn a_plan_that_weighs_too_much_is_refused_with_the_number() {
    let padding = "x".repeat(1_000_000);
    let pad = |at| json!({"id": format!("s{at}"), "kind": "transform", "with": {"jq": ".", "from": padding}});
    let faults = checked(&many(7, pad)).unwrap_err();
    assert!(faults[0].starts_with("/workflow: ") && faults[0].contains("49152 KiB"), "{faults:#?}");
    let large = json!({"name": "n", "inputSchema": {"enum": [padding]}, "steps": [pad(0)]});
    let faults = checked(&large).unwrap_err();
    assert!(faults[0].starts_with("/workflow/inputSchema: "), "{faults:#?}");
}

#[test]
fn a_session_is_refused_until_a_kind_of_step_has_one_and_read_from_the_store() {
    let workflow = json!({"name": "n", "steps": [
        {"id": "a", "kind": "transform", "with": {"jq": "1"}},
        {"id": "b", "kind": "transform", "dependsOn": ["a"], "with": {"jq": ".", "from": "{a.sessionId}"}},
    ]});
    let faults = checked(&workflow).map(|_| ()).unwrap_err();
    let told = "/workflow/steps/1/with/from: {a.sessionId}: no kind of step has a session yet";
    assert_eq!(faults, [told]);
    assert!(parse(&workflow).is_ok());
}

#[test]
fn programs_that_nest_too_deep_are_refused_before_they_are_parsed() {
    let within = |jq: String| with_step("with", json!({"jq": jq}));
    for workflow in [
        within(format!("{}1", "-".repeat(15_000))),
        within(format!("{}1", "- ".repeat(8_000))),
        within(format!("{}1{}", "[".repeat(300), "]".repeat(300))),
        within(format!("{}1", "try ".repeat(4_000))),
        within(format!("{}1{}", "def f: ".repeat(1_500), "; f".repeat(1_500))),
        with_step("when", json!(format!("{}true", "!".repeat(4_000)))),
        with_step("when", json!(format!("{}1 == 1", "-".repeat(1_000)))),
        with_step("when", json!(format!("{}true{}", "(".repeat(200), ")".repeat(200)))),
    ] {
        let faults = parse(&workflow).unwrap_err();
        assert!(faults[0].contains("at most"), "{faults:#?}");
    }
}

fn under(condition: &str) -> impl Fn(usize) -> Value {
    move |at| json!({"id": format!("s{at}"), "kind": "sleep", "with": {"for": 1}, "when": condition})
}

#[test]
fn conditions_that_are_dear_to_parse_use_up_the_budget_soon() {
    let dear = |fragment: &str| fragment.repeat(4_000).chars().take(4_090).collect::<String>();
    for (fragment, most) in [("--1", 3), ("<- 1", 5)] {
        let faults = checked(&many(80, under(&dear(fragment)))).map(|_| ()).unwrap_err();
        let parsed = faults.iter().filter(|fault| !fault.contains("not looked at")).count();
        assert!(parsed <= most, "{fragment}: {faults:#?}");
    }
    let list = format!("[{}1] == []", dear("-1,").get(..4_080).unwrap());
    let faults = checked(&many(80, under(&list))).map(|_| ()).unwrap_err();
    assert!(faults[0].contains("more work than is allowed"), "{faults:#?}");
    assert!(faults[0].starts_with("/workflow/steps/3/"), "{faults:#?}");
}

#[test]
fn of_many_conditions_that_are_wrong_the_first_are_reported() {
    let faults = checked(&many(80, under("1 +"))).map(|_| ()).unwrap_err();
    let parsed = faults.iter().filter(|fault| fault.contains("not a CEL expression")).count();
    let unseen = faults.iter().filter(|fault| fault.contains("not looked at")).count();
    assert_eq!((parsed, unseen), (20, faults.len() - 20), "{faults:#?}");
    // What a store holds is read as a whole.
    let all = parse(&many(80, under("1 +"))).map(|_| ()).unwrap_err();
    assert!(all.iter().all(|fault| fault.contains("not a CEL expression")), "{all:#?}");
}
