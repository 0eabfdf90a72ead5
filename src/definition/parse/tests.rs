mod bounds;

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::definition::testing::{Data, json as text};
use crate::definition::{Action, Plan};
use crate::model::{Faults, Json, Pointer, StepStatus};

pub(super) fn parse(workflow: &Value) -> Result<Plan, Vec<String>> {
    Plan::parse(&text(&workflow.to_string()), &Pointer::root().key("workflow")).map_err(|faults| {
        faults.into_iter().map(|fault| format!("{}: {}", fault.pointer, fault.detail)).collect()
    })
}

#[track_caller]
pub(super) fn plan(workflow: &Value) -> Plan {
    parse(workflow).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

/// A workflow with one field of its second step replaced.
fn with_step(field: &str, value: Value) -> Value {
    with_step_at(1, field, value)
}

/// A workflow with one field of a step replaced.
fn with_step_at(at: usize, field: &str, value: Value) -> Value {
    let mut workflow = example();
    workflow["steps"][at][field] = value;
    workflow
}

pub(super) fn example() -> Value {
    json!({
        "name": "release-notes",
        "description": "optional",
        "inputSchema": {"type": "object", "required": ["repo"]},
        "defaults": {"retry": {"maxAttempts": 5, "jitter": false}, "timeout": "30s"},
        "steps": [
            {"id": "fetch", "kind": "http", "with": {"method": "GET", "url": "http://host/{input.repo}"}},
            {"id": "pick", "kind": "transform", "dependsOn": ["fetch"],
             "with": {"jq": ".body.items | map(.title)", "from": "{fetch.output}"}},
            {"id": "send", "kind": "http", "dependsOn": ["pick"], "when": "size(pick.output) > 0",
             "with": {"method": "POST", "url": "http://host/notes", "json": {"titles": "{pick.output}"}},
             "retry": {"maxAttempts": 4, "initialInterval": "1s", "backoffFactor": 2, "maxInterval": "30s"},
             "timeout": "10s", "warnAfter": 500, "continueOnError": true},
            {"id": "run", "kind": "exec", "with": {"program": "ls", "args": ["-l", 1, "{input.repo}"], "parse": "lines"}},
            {"id": "nap", "kind": "sleep", "with": {"for": "1s"}, "dependsOn": ["send", "run"]},
        ],
        "output": {"titles": "{pick.output}"},
    })
}

#[test]
fn the_manuals_example_is_a_workflow() {
    let manual = include_str!("../../../docs/workflows.md");
    let (_, rest) = manual.split_once("```json\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    assert_eq!(plan(&serde_json::from_str(example).unwrap()).steps.len(), 3);
}

#[test]
fn the_contracts_example_is_read_whole() {
    let plan = plan(&example());
    assert_eq!((plan.name.as_str(), plan.steps.len()), ("release-notes", 5));
    let kinds: Vec<_> = plan.steps.iter().map(|step| step.action.kind()).collect();
    assert_eq!(kinds, ["http", "transform", "http", "exec", "sleep"]);
    let send = &plan.steps[2];
    assert_eq!((&send.depends_on, &send.dependents), (&vec![1.into()], &vec![4.into()]));
    assert_eq!(plan.steps[4].depends_on, [2.into(), 3.into()]);
    assert_eq!((send.retry.max_attempts, send.retry.jitter), (4, false));
    assert_eq!((plan.steps[0].retry.max_attempts, plan.steps[0].retry.jitter), (5, false));
    assert_eq!(send.timeout, Some(Duration::from_secs(10)));
    assert_eq!(plan.steps[0].timeout, Some(Duration::from_secs(30)));
    assert_eq!(send.warn_after, Some(Duration::from_millis(500)));
    assert!(send.continue_on_error && !plan.steps[0].continue_on_error);
    assert!(send.when.is_some());
    assert_eq!(plan.leaves().collect::<Vec<_>>(), [4.into()]);
    assert_eq!((plan.find("send"), plan.find("nosuch")), (Some(2.into()), None));
    let programs: Vec<_> =
        plan.programs(&Pointer::root()).map(|(at, name)| (at.text(), name)).collect();
    assert_eq!(programs, [("/steps/3/with/program".to_owned(), "ls")]);
    assert_eq!(plan.text, text(&example().to_string()).as_str());
    assert_eq!(plan.hash.len(), 64);
    let Action::Transform { .. } = &*plan.steps[1].action else { panic!() };
}

#[test]
fn the_hash_is_that_of_the_text() {
    let workflow =
        Json::parse(r#"{"name":"w","steps":[{"id":"s","kind":"sleep","with":{"for":1}}]}"#);
    let plan = Plan::parse(&workflow.unwrap(), &Pointer::root()).unwrap();
    assert_eq!(plan.hash, "05760482806bdbbde3b37c601b4a475f70b7f49f15cc511a5c0fa472acb45080");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_fault_is_named_at_its_place() {
    for (workflow, faults) in [
        (json!(1), vec!["/workflow: a workflow is an object"]),
        (json!({}), vec!["/workflow: the field \"name\"", "/workflow: the field \"steps\""]),
        (
            json!({"name": 1, "steps": {}}),
            vec!["/workflow/name: name is a string", "/workflow/steps: steps is an array"],
        ),
        (
            json!({"name": "a/b", "steps": []}),
            vec!["/workflow/name: a name must", "/workflow/steps: a workflow has at least one"],
        ),
        (
            json!({"name": "a@1", "steps": [1], "typo": 1, "onFailure": {}}),
            vec![
                "/workflow/typo: unknown field \"typo\"",
                "/workflow/name: a name must",
                "/workflow/onFailure: onFailure is a string",
                "/workflow/steps/0: a step is an object",
            ],
        ),
        (
            json!({"name": "w", "steps": [{}]}),
            vec![
                "/workflow/steps/0: the field \"id\"",
                "/workflow/steps/0: the field \"kind\"",
                "/workflow/steps/0: the field \"with\"",
            ],
        ),
        (
            json!({"name": "w", "steps": [
                {"id": "input", "kind": "sleep", "with": {"for": 1}},
                {"id": "a b", "kind": "sleep", "with": {"for": 1}},
                {"id": "a", "kind": "nosuch", "with": {}},
                {"id": "a", "kind": "agent", "with": {}},
            ]}),
            vec![
                "/workflow/steps/0/id: input, thread",
                "/workflow/steps/1/id: a step id must",
                "/workflow/steps/3/id: there are two steps \"a\"",
                "/workflow/steps/2/kind: unknown kind \"nosuch\"",
                "/workflow/steps/3/kind: unknown kind \"agent\"",
            ],
        ),
        (
            with_step("dependsOn", json!(["fetch", "nosuch", "fetch", "pick", 1])),
            vec![
                "/workflow/steps/1/dependsOn/1: there is no step \"nosuch\"",
                "/workflow/steps/1/dependsOn/2: step \"fetch\" stands here twice",
                "/workflow/steps/1/dependsOn/3: step \"pick\" depends on itself",
                "/workflow/steps/1/dependsOn/4: a step's id is a string",
            ],
        ),
        (
            with_step("dependsOn", json!(["fetch", "send"])),
            vec!["/workflow/steps/1/dependsOn/1: a cycle: pick needs send needs pick"],
        ),
        (
            with_step("dependsOn", json!([])),
            vec![
                "/workflow/steps/1/with/from: {fetch.output}: this step does not depend on \"fetch\"",
            ],
        ),
        (
            with_step("dependsOn", json!("fetch")),
            vec![
                "/workflow/steps/1/dependsOn: dependsOn is an array",
                "/workflow/steps/1/with/from: {fetch.output}",
            ],
        ),
        (
            with_step("with", json!({"jq": "nosuch", "from": "{secrets.A}", "more": 1})),
            vec![
                "/workflow/steps/1/with/more: unknown field",
                "/workflow/steps/1/with/jq: undefined filter nosuch",
                "/workflow/steps/1/with/from: {secrets.A} may stand only",
            ],
        ),
        (
            {
                let mut workflow = example();
                workflow["steps"][4]["with"] = json!({"until": "{secrets.A}"});
                workflow
            },
            vec!["/workflow/steps/4/with/until: {secrets.A} may stand only"],
        ),
        (
            with_step("when", json!("send.output == 1 && 2")),
            vec!["/workflow/steps/1/when: \"send\" is not known here"],
        ),
        (with_step("when", json!("1 +")), vec!["/workflow/steps/1/when: not a CEL expression"]),
        (with_step("when", json!(true)), vec!["/workflow/steps/1/when: when is a string"]),
        (
            with_step("check", json!("send.output == output")),
            vec![
                "/workflow/steps/1/check: \"send\" is not known here: there are input, thread, output",
            ],
        ),
        (
            with_step("check", json!("output >")),
            vec!["/workflow/steps/1/check: not a CEL expression"],
        ),
        (with_step("check", json!(["x"])), vec!["/workflow/steps/1/check: check is a string"]),
        (
            with_step_at(4, "check", json!("output.sleptMs > 1")),
            vec!["/workflow/steps/4/check: a sleep step makes no attempt"],
        ),
        (
            json!({"name": "w", "steps": [{"id": "s", "kind": "approval", "with": {"prompt": "?"},
                "check": "true", "heartbeatTimeout": "5s"}]}),
            vec![
                "/workflow/steps/0/heartbeatTimeout: an approval step runs inside the server",
                "/workflow/steps/0/check: an approval step makes no attempt",
            ],
        ),
        (
            {
                let mut workflow = example();
                workflow["escalateAfter"] = json!(0);
                workflow
            },
            vec!["/workflow/escalateAfter: escalateAfter is longer than zero"],
        ),
        (with_step("timeout", json!("soon")), vec!["/workflow/steps/1/timeout: \"soon\" is not"]),
        (with_step("timeout", json!(0)), vec!["/workflow/steps/1/timeout: timeout is longer"]),
        (
            with_step("warnAfter", json!("30s")),
            vec!["/workflow/steps/1/warnAfter: warnAfter is shorter"],
        ),
        (
            with_step("continueOnError", json!("yes")),
            vec!["/workflow/steps/1/continueOnError: continueOnError is true or false"],
        ),
        (
            with_step("check", json!({})),
            vec!["/workflow/steps/1/check: check is a string, not object"],
        ),
        (
            with_step("heartbeatTimeout", json!(1)),
            vec!["/workflow/steps/1/heartbeatTimeout: a transform step runs inside the server"],
        ),
        (
            with_step_at(4, "heartbeatTimeout", json!("5s")),
            vec!["/workflow/steps/4/heartbeatTimeout: a sleep step runs inside the server"],
        ),
        (
            with_step_at(0, "heartbeatTimeout", json!(0)),
            vec!["/workflow/steps/0/heartbeatTimeout: heartbeatTimeout is longer than zero"],
        ),
        (
            with_step_at(0, "heartbeatTimeout", json!([])),
            vec!["/workflow/steps/0/heartbeatTimeout: "],
        ),
        (
            with_step_at(2, "heartbeatTimeout", json!("10s")),
            vec!["/workflow/steps/2/heartbeatTimeout: heartbeatTimeout is shorter than timeout"],
        ),
        (
            with_step_at(0, "heartbeatTimeout", json!("30s")),
            vec![
                "/workflow/steps/0/heartbeatTimeout: heartbeatTimeout is shorter than the timeout",
            ],
        ),
        (
            with_step("description", json!("x")),
            vec!["/workflow/steps/1/description: unknown field"],
        ),
        (with_step("retry", json!(3)), vec!["/workflow/steps/1/retry: retry is an object"]),
        (
            with_step(
                "retry",
                json!({"maxAttempts": 0, "backoffFactor": 0.5, "jitter": 1, "retryOn": ["A B"], "x": 1,
            "initialInterval": "2m", "maxInterval": "1m"}),
            ),
            vec![
                "/workflow/steps/1/retry/x: unknown field",
                "/workflow/steps/1/retry/maxAttempts: maxAttempts is a whole number from 1",
                "/workflow/steps/1/retry/backoffFactor: backoffFactor is a number from 1",
                "/workflow/steps/1/retry/jitter: jitter is true or false",
                "/workflow/steps/1/retry/retryOn/0: retryOn lists",
                "/workflow/steps/1/retry/initialInterval: initialInterval is at most",
            ],
        ),
        (
            with_step("retry", json!({"maxAttempts": 1.5, "backoffFactor": 1e300})),
            vec![
                "/workflow/steps/1/retry/maxAttempts: maxAttempts is a whole number",
                "/workflow/steps/1/retry/backoffFactor: backoffFactor is a number",
            ],
        ),
    ] {
        let found = parse(&workflow).map(|_| ()).unwrap_err();
        assert_eq!(found.len(), faults.len(), "{workflow}\n{found:#?}");
        for (found, fault) in found.iter().zip(&faults) {
            assert!(found.starts_with(fault), "{found}\nshould be {fault}");
        }
    }
}

#[test]
fn a_field_that_stands_twice_is_refused() {
    let workflow =
        r#"{"name":"a","name":"b","steps":[{"id":"s","kind":"sleep","with":{"for":1,"for":2}}]}"#;
    let faults = Plan::parse(&text(workflow), &Pointer::root()).unwrap_err();
    let places: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
    assert_eq!(places, ["/name", "/steps/0/with/for"]);
}

#[test]
fn cycles_of_any_length_are_named_once() {
    let step = |id: &str, needs: &[&str]| json!({"id": id, "kind": "sleep", "with": {"for": 1}, "dependsOn": needs});
    let workflow = json!({"name": "w", "steps": [
        step("after", &["c"]), step("a", &["root", "c"]), step("b", &["a"]), step("c", &["b"]),
        step("root", &[]), step("x", &["y"]), step("y", &["x"]),
    ]});
    let faults = parse(&workflow).map(|_| ()).unwrap_err();
    assert_eq!(
        faults,
        [
            "/workflow/steps/3/dependsOn/0: a cycle: c needs b needs a needs c",
            "/workflow/steps/5/dependsOn/0: a cycle: x needs y needs x",
        ]
    );
}

#[test]
fn a_thousand_steps_are_read_and_one_more_is_refused() {
    let steps = |count: usize| -> Vec<Value> {
        (0..count)
            .map(|at| {
                let needs: Vec<String> = (at.saturating_sub(20)..at).map(|n| format!("s{n}")).collect();
                json!({"id": format!("s{at}"), "kind": "sleep", "with": {"for": 1}, "dependsOn": needs})
            })
            .collect()
    };
    let plan = plan(&json!({"name": "w", "steps": steps(1000)}));
    assert_eq!(plan.leaves().collect::<Vec<_>>(), [999.into()]);
    let faults = parse(&json!({"name": "w", "steps": steps(1001)})).map(|_| ()).unwrap_err();
    assert_eq!(faults, ["/workflow/steps: a workflow has at most 1000 steps"]);
}

#[test]
fn output_may_name_any_step_but_no_secret() {
    let mut workflow = example();
    workflow["output"] = json!(["{nap.output}", "{secrets.A}", "{nosuch.output}"]);
    let faults = parse(&workflow).map(|_| ()).unwrap_err();
    assert_eq!(faults.len(), 2);
    assert!(
        faults[0].starts_with("/workflow/output/1") && faults[1].starts_with("/workflow/output/2")
    );
}

#[test]
fn the_output_is_the_template_or_what_the_leaves_gave() {
    let scope = Data::new("{}")
        .completed("fetch", "1")
        .completed("pick", "[-0]")
        .ended("send", StepStatus::Skipped, None)
        .completed("run", r#"{"b":1,"a":2}"#)
        .completed("nap", r#"{"sleptMs":1}"#);
    let workflow = example();
    assert_eq!(
        plan(&workflow).render_output(&scope, 1 << 20).unwrap().as_str(),
        r#"{"titles":[-0]}"#
    );
    let mut workflow = example();
    workflow.as_object_mut().unwrap().remove("output");
    assert_eq!(
        plan(&workflow).render_output(&scope, 1 << 20).unwrap().as_str(),
        r#"{"nap":{"sleptMs":1}}"#
    );
    workflow["steps"].as_array_mut().unwrap().pop();
    let output = plan(&workflow).render_output(&scope, 1 << 20).unwrap();
    assert_eq!(output.as_str(), r#"{"send":null,"run":{"b":1,"a":2}}"#);
}

#[test]
fn the_input_is_held_against_its_schema() {
    let mut workflow = example();
    workflow["inputSchema"] = json!({"type": "object", "required": ["repo"], "additionalProperties": false,
        "properties": {"repo": {"type": "string", "pattern": "^[a-z]+$"}, "tags/x": {"type": "array", "items": {"$ref": "#/$defs/tag"}}},
        "$defs": {"tag": {"type": "integer"}}});
    let plan = plan(&workflow);
    for (input, places) in [
        (r#"{"repo":"abc"}"#, vec![]),
        ("{}", vec!["/input"]),
        ("1", vec!["/input"]),
        (
            r#"{"repo":"A","tags/x":[1,"b",2.5]}"#,
            vec!["/input/repo", "/input/tags~1x/1", "/input/tags~1x/2"],
        ),
        (r#"{"repo":"a","x":1}"#, vec!["/input"]),
        (r#"{"repo":"a","tags/x":[12345678901234567890123]}"#, vec![]),
    ] {
        let mut faults = Faults::default();
        plan.check_input(&text(input), &Pointer::root().key("input"), &mut faults);
        let found = faults.into_vec();
        let found: Vec<_> = found.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(found, places, "{input}");
    }
}

#[test]
fn schemas_that_reach_outside_or_are_none_are_refused() {
    for schema in [
        json!(1),
        json!({"type": "nosuch"}),
        json!({"$ref": "https://example.com/schema.json"}),
        json!({"$ref": "file:///etc/passwd"}),
        json!({"properties": {"a": {"$ref": "other.json"}}}),
        json!({"pattern": "(?=a)"}),
        json!({"pattern": "((a{1000}){1000}){1000}"}),
    ] {
        let mut workflow = example();
        workflow["inputSchema"] = schema.clone();
        let faults = parse(&workflow).map(|_| ()).expect_err(&schema.to_string());
        assert!(
            faults.iter().all(|fault| fault.starts_with("/workflow/inputSchema")),
            "{faults:?}"
        );
    }
}

#[test]
fn schemas_that_refer_to_themselves_end() {
    for schema in [
        json!({"$ref": "#"}),
        json!({"allOf": [{"$ref": "#"}]}),
        json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}),
        json!({"properties": {"a": {"$ref": "#"}}}),
    ] {
        let mut workflow = example();
        workflow["inputSchema"] = schema;
        if let Ok(plan) = parse(&workflow) {
            let mut faults = Faults::default();
            let deep = format!("{}1{}", "{\"a\":".repeat(100), "}".repeat(100));
            plan.check_input(&text(&deep), &Pointer::root(), &mut faults);
        }
    }
}

fn mutations() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!([])),
        Just(json!({})),
        Just(json!(true)),
        any::<i64>().prop_map(Value::from),
        "[a-z{}.\\[\\]'\" ()|]{0,20}".prop_map(Value::from),
        prop::collection::vec("[a-z]{1,5}".prop_map(Value::from), 0..4).prop_map(Value::from),
        Just(json!(["nap", "fetch"])),
        Just(json!("{pick.output}")),
    ]
}

/// The places of all values in a document.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places(item, &format!("{at}/{index}"), found);
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                places(member, &format!("{at}/{key}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn mutated_workflows_are_read_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), mutations()), 1..4),
    ) {
        let mut workflow = example();
        for (index, mutation) in changes {
            let mut all = Vec::new();
            places(&workflow, "", &mut all);
            let place = index.get(&all).clone();
            *workflow.pointer_mut(&place).unwrap() = mutation;
        }
        if let Err(faults) = parse(&workflow) {
            prop_assert!(!faults.is_empty());
            for fault in faults {
                prop_assert!(fault.starts_with("/workflow"), "{}", fault);
            }
        }
    }
}
