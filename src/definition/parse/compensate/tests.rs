use serde_json::{Value, json};

use crate::definition::Work;
use crate::definition::parse::tests::{example, parse, plan};
use crate::model::Pointer;

fn with_compensation(at: usize, compensate: Value) -> Value {
    let mut workflow = example();
    workflow["steps"][at]["compensate"] = compensate;
    workflow
}

#[test]
fn a_compensation_is_a_step_that_sees_what_it_undoes_over_the_workflows_defaults() {
    let undo = json!({ "kind": "exec", "with": { "program": "cat", "stdin": "{fetch.output}" },
        "retry": { "maxAttempts": 7 }, "timeout": "2s", "breaker": { "failureThreshold": 9 } });
    let plan = plan(&with_compensation(0, undo));
    let step = &plan.steps[0];
    let undo = step.work(Work::Compensation);
    assert_eq!((undo.id.as_str(), undo.action.kind()), ("fetch", "exec"));
    assert_eq!((undo.retry.max_attempts, undo.retry.jitter), (7, false));
    assert_eq!(undo.timeout, Some(std::time::Duration::from_secs(2)));
    assert_eq!(undo.breaker.policy.failure_threshold, 9);
    assert!(undo.dependents.is_empty() && undo.compensate.is_none());
    assert_eq!(step.work(Work::Own).action.kind(), "http");
    assert_eq!(plan.steps[2].work(Work::Compensation).id.as_str(), "send", "it has none");
    // What it starts has to be allowed like any other program.
    let programs: Vec<_> =
        plan.programs(&Pointer::root()).map(|(at, name)| (at.text(), name.to_owned())).collect();
    let wanted = [("/steps/0/compensate/with/program", "cat"), ("/steps/3/with/program", "ls")];
    assert_eq!(programs, wanted.map(|(at, name)| (at.to_owned(), name.to_owned())));
}

#[test]
fn faults_of_a_compensation_are_named_where_they_stand() {
    let nested = json!({ "kind": "http", "with": { "url": "http://h/" }, "id": "x",
        "dependsOn": [], "when": "true", "continueOnError": true, "fallback": { "output": 1 },
        "compensate": {} });
    for (compensate, faults) in [
        (json!(1), &[": compensate is an object"][..]),
        (json!({}), &[": the field \"kind\" is missing", ": the field \"with\" is missing"]),
        (json!({ "kind": "nosuch", "with": {} }), &["/kind: unknown kind"]),
        (json!({ "kind": "sleep", "with": { "for": 1 } }), &["/kind: sleep steps wait"]),
        (json!({ "kind": "signal", "with": { "name": "s" } }), &["/kind: signal steps wait"]),
        (json!({ "kind": "approval", "with": { "prompt": "?" } }), &["/kind: approval steps wait"]),
        (
            json!({ "kind": "http", "with": { "url": "http://h/{send.output}" } }),
            &["/with/url: {send.output}: this step does not"],
        ),
        (nested, &["/id", "/dependsOn", "/when", "/continueOnError", "/fallback", "/compensate"]),
    ] {
        let found = parse(&with_compensation(0, compensate)).map(|_| ()).unwrap_err();
        assert_eq!(found.len(), faults.len(), "{found:#?}");
        for (found, fault) in found.iter().zip(faults) {
            let wanted = format!("/workflow/steps/0/compensate{fault}");
            assert!(found.starts_with(&wanted), "{wanted}\n{found:#?}");
        }
    }
}
