//! Templates that render to more than an event may hold, in every place where one may stand.

use serde_json::{Value, json};

use super::theatre::{Stage, http, http_with, refused};
use crate::definition::Work;

/// A thread with an input that is larger than an event when doubled.
fn stage(steps: Value) -> Stage {
    Stage::with(json!({ "name": "w", "steps": steps }), json!("x".repeat(600)))
}

const TWICE: &str = "{input}{input}";

#[test]
fn what_waits_for_too_much_fails() {
    for (kind, with) in [
        ("sleep", json!({ "for": TWICE })),
        ("sleep", json!({ "until": TWICE })),
        ("signal", json!({ "name": TWICE })),
        ("signal", json!({ "name": "go", "timeout": TWICE })),
        ("approval", json!({ "prompt": TWICE })),
        ("approval", json!({ "prompt": "?", "choices": ["{input}", "{input}"] })),
    ] {
        let mut stage = stage(json!([{ "id": "a", "kind": kind, "with": with }]));
        let lines = stage.advance();
        assert_eq!(lines.last().unwrap(), "workflow_failed payload_too_large", "{kind} {with}");
    }
}

#[test]
fn an_output_that_stands_in_is_bounded() {
    let more = json!({ "fallback": { "output": [TWICE] } });
    let mut stage = stage(json!([http_with("a", &[], more)]));
    stage.advance();
    assert_eq!(
        stage.fail("a", refused()),
        ["step_failed a 1 payload_too_large", "workflow_failed payload_too_large"]
    );
}

#[test]
fn the_output_of_a_thread_is_bounded_with_a_template_and_without() {
    let step = json!([http("a", &[]), http("b", &[])]);
    let templated = json!({ "name": "w", "steps": step, "output": [TWICE] });
    let plain = json!({ "name": "w", "steps": step });
    for workflow in [templated, plain] {
        let mut stage = Stage::with(workflow, json!("x".repeat(600)));
        stage.advance();
        stage.complete("a", json!("x".repeat(600)));
        let lines = stage.complete("b", json!("x".repeat(600)));
        assert_eq!(lines.last().unwrap(), "workflow_failed payload_too_large");
    }
}

#[test]
fn what_an_attempt_is_given_is_bounded_in_each_of_its_phases() {
    let with = |place: &str| json!({ "url": "http://h/", "json": { "at": place, "all": TWICE } });
    let steps = json!([{
        "id": "a", "kind": "http", "with": with("own"),
        "fallback": { "kind": "http", "with": with("fallback") },
        "compensate": { "kind": "http", "with": with("compensation") },
    }, { "id": "t", "kind": "transform", "with": { "jq": ".", "from": TWICE } },
       { "id": "u", "kind": "transform", "with": { "jq": "." } }]);
    let stage = stage(steps);
    for step in &stage.state.plan.steps {
        for phase in Work::ALL {
            let with = &step.work(phase).with;
            assert!(with.render(&stage.state, 600).is_err(), "{} {phase:?}", step.id);
            assert!(with.render(&stage.state, 2_000).is_ok(), "{} {phase:?}", step.id);
        }
    }
}
