//! Sleeps, and the outputs threads end with.

use serde_json::{Value, json};

use super::theatre::{DAWN, Stage, http};
use crate::model::{EventBody, StepStatus, ThreadStatus, Timestamp};

#[test]
fn a_sleep_waits_until_its_recorded_instant() {
    let until = Timestamp::from_millis(DAWN + 5_000);
    for (with, slept) in [
        (json!({ "for": "5s" }), 5_000),
        (json!({ "for": 5_000 }), 5_000),
        (json!({ "until": until.to_string() }), 5_000),
    ] {
        let mut stage = Stage::new(json!([{ "id": "s", "kind": "sleep", "with": with }]));
        assert_eq!(stage.advance(), ["step_start s 1", "step_waiting s 1"]);
        assert_eq!(stage.state.next_wake(), Some(until));
        assert_eq!(stage.status("s"), StepStatus::Waiting);
        assert!(stage.pass(4_999).advance().is_empty());
        assert_eq!(stage.pass(1).advance(), ["step_complete s 1", "workflow_complete"]);
        assert_eq!(stage.output(), format!(r#"{{"s":{{"sleptMs":{slept}}}}}"#));
    }
}

#[test]
fn a_sleep_that_is_over_already_ends_in_the_same_append() {
    for with in [json!({ "for": 0 }), json!({ "until": "2001-01-01T00:00:00Z" })] {
        let mut stage = Stage::new(json!([
            { "id": "s", "kind": "sleep", "with": with },
            http("a", &["s"]),
        ]));
        assert_eq!(
            stage.advance(),
            ["step_start s 1", "step_waiting s 1", "step_complete s 1", "step_start a 1"]
        );
    }
}

#[test]
fn the_output_is_the_template_or_else_that_of_the_last_steps() {
    let steps = json!([http("a", &[]), http("b", &["a"]), http("c", &["a"])]);
    let cases: [(Value, &str); 4] = [
        (json!(null), r#"{"b":{"n":2},"c":3}"#),
        (json!("{b.output.n}"), "2"),
        (json!({ "x": ["{a.output}", "n={b.output}"] }), r#"{"x":[1,"n={\"n\":2}"]}"#),
        (json!("{b.status} {thread.id} {input}"), r#""completed t {\"i\":1}""#),
    ];
    for (output, expected) in cases {
        let mut workflow = json!({ "name": "w", "steps": steps });
        if !output.is_null() {
            workflow["output"] = output;
        }
        let mut stage = Stage::with(workflow, json!({ "i": 1 }));
        stage.advance();
        stage.complete("a", json!(1));
        stage.complete("b", json!({ "n": 2 }));
        stage.complete("c", json!(3));
        assert_eq!(stage.output(), expected);
    }
}

#[test]
fn an_output_that_names_something_absent_fails_the_thread() {
    let workflow =
        json!({ "name": "w", "steps": [http("a", &[])], "output": "{a.output.missing}" });
    let mut stage = Stage::with(workflow, json!({}));
    stage.advance();
    assert_eq!(
        stage.complete("a", json!(1)),
        ["step_complete a 1", "workflow_failed template_unresolved"]
    );
    let EventBody::WorkflowFailed(data) = stage.last() else { panic!("{:?}", stage.last()) };
    assert_eq!((&data.error.step_id, data.error.recoverable), (&None, false));
    // The step has completed: no step runs again, and the end is the same.
    assert_eq!(stage.resume(), ["workflow_resumed", "workflow_failed template_unresolved"]);
}

#[test]
fn an_output_beyond_the_largest_event_fails_the_thread() {
    let workflow = json!({ "name": "w", "steps": [http("a", &[])], "output": "{a.output}" });
    for (length, fits) in [(998, true), (999, false)] {
        let mut stage = Stage::with(workflow.clone(), json!({}));
        stage.advance();
        let lines = stage.complete("a", json!("x".repeat(length)));
        let end = if fits { "workflow_complete" } else { "workflow_failed payload_too_large" };
        assert_eq!(lines, ["step_complete a 1", end]);
        assert_eq!(stage.state.status == ThreadStatus::Completed, fits);
    }
}
