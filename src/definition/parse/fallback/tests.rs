use std::time::Duration;

use serde_json::{Value, json};

use crate::definition::parse::tests::{example, parse, plan};
use crate::definition::{Fallback, PlanStep, Work};
use crate::model::Pointer;

fn with_fallback(at: usize, fallback: Value) -> Value {
    let mut workflow = example();
    workflow["steps"][at]["fallback"] = fallback;
    workflow
}

fn step(fallback: Option<&Fallback>) -> &PlanStep {
    match fallback {
        Some(Fallback::Step(step)) => step,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_fallback_is_an_output_or_a_step_over_the_workflows_defaults() {
    let mut workflow =
        with_fallback(2, json!({ "output": ["{send.error.message}", "{pick.output}"] }));
    let other = json!({ "kind": "exec", "with": { "program": "cat", "stdin": "{fetch.error}" },
        "retry": { "maxAttempts": 2 }, "breaker": { "failureThreshold": 9 } });
    workflow["steps"][0]["fallback"] = other;
    let plan = plan(&workflow);
    assert!(matches!(plan.steps[2].fallback, Some(Fallback::Output(_))));
    let stand_in = step(plan.steps[0].fallback.as_ref());
    assert_eq!(stand_in.id.as_str(), "fetch");
    assert_eq!((stand_in.retry.max_attempts, stand_in.retry.jitter), (2, false));
    assert_eq!(stand_in.timeout, Some(Duration::from_secs(30)));
    assert_eq!(stand_in.breaker.policy.failure_threshold, 9);
    assert!(stand_in.dependents.is_empty() && stand_in.depends_on.is_empty());
    assert_eq!(plan.steps[0].work(Work::Fallback).action.kind(), "exec");
    assert_eq!(plan.steps[0].work(Work::Own).action.kind(), "http");
    assert_eq!(plan.steps[2].work(Work::Fallback).action.kind(), "http");
    // What it starts has to be allowed like any other program.
    let programs: Vec<_> =
        plan.programs(&Pointer::root()).map(|(at, name)| (at.text(), name.to_owned())).collect();
    let wanted = [("/steps/0/fallback/with/program", "cat"), ("/steps/3/with/program", "ls")];
    assert_eq!(programs, wanted.map(|(at, name)| (at.to_owned(), name.to_owned())));
}

#[test]
fn faults_of_a_fallback_are_named_where_they_stand() {
    let nested = json!({ "kind": "http", "with": { "url": "http://h/" }, "id": "x",
        "dependsOn": [], "when": "true", "continueOnError": true, "fallback": { "output": 1 } });
    for (fallback, faults) in [
        (json!(1), &[": fallback is an object"][..]),
        (json!({}), &[": a fallback has an output, or the kind and with"]),
        (json!({ "ouput": 1 }), &["/ouput: unknown field", ": a fallback has an output"]),
        (json!({ "output": 1, "kind": "http" }), &["/kind: unknown field"]),
        (json!({ "output": "{send.output}" }), &["/output: {send.output}: this step does not"]),
        (json!({ "output": "{secrets.A}" }), &["/output: {secrets.A} may stand only"]),
        (json!({ "kind": "nosuch", "with": {} }), &["/kind: unknown kind"]),
        (json!({ "kind": "http" }), &[": the field \"with\" is missing"]),
        (json!({ "kind": "http", "with": { "url": "h" } }), &["/with/url: not an absolute url"]),
        (
            json!({ "kind": "sleep", "with": { "for": 1 }, "heartbeatTimeout": 1, "breaker": {} }),
            &["/heartbeatTimeout: a sleep step", "/breaker: a step of this kind"],
        ),
        (nested, &["/id", "/dependsOn", "/when", "/continueOnError", "/fallback"]),
    ] {
        let found = parse(&with_fallback(0, fallback)).map(|_| ()).unwrap_err();
        assert_eq!(found.len(), faults.len(), "{found:#?}");
        for (found, fault) in found.iter().zip(faults) {
            let wanted = format!("/workflow/steps/0/fallback{fault}");
            assert!(found.starts_with(&wanted), "{wanted}\n{found:#?}");
        }
    }
}
