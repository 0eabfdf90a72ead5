//! Conditions, skipped steps and the steps that depend on them.

use serde_json::json;

use super::theatre::{Stage, broken, http, http_with, refused};
use crate::model::{RecoveryCause, StepStatus, ThreadStatus};

#[test]
fn independent_steps_start_side_by_side_and_dependants_after_all_they_need() {
    let mut stage = Stage::new(json!([http("a", &[]), http("b", &[]), http("c", &["a", "b"])]));
    assert_eq!(stage.advance(), ["step_start a 1", "step_start b 1"]);
    assert_eq!(stage.complete("b", json!(1)), ["step_complete b 1"]);
    assert_eq!(stage.complete("a", json!(1)), ["step_complete a 1", "step_start c 1"]);
    assert_eq!(stage.complete("c", json!(1)), ["step_complete c 1", "workflow_complete"]);
}

#[test]
fn a_false_condition_skips_the_step_and_all_that_depend_on_it_alone() {
    let mut stage = Stage::new(json!([
        http("a", &[]),
        http_with("b", &["a"], json!({ "when": "a.output > 1" })),
        http("c", &["b"]),
        http("d", &["c"]),
        http("e", &["a", "d"]),
    ]));
    stage.advance();
    assert_eq!(
        stage.complete("a", json!(1)),
        [
            "step_complete a 1",
            "step_skipped b condition",
            "step_skipped c dependencies",
            "step_skipped d dependencies",
            "step_start e 1",
        ]
    );
}

#[test]
fn a_step_with_one_skipped_dependency_runs_and_sees_null() {
    let mut stage = Stage::with(
        json!({
            "name": "w",
            "steps": [
                http("a", &[]),
                http_with("b", &[], json!({ "when": "false" })),
                http_with("c", &["a", "b"], json!({
                    "when": "b.output == null && b.status == 'skipped'",
                    "with": { "url": "http://h/", "json": ["{a.output}", "{b.output}"] },
                })),
            ],
            "output": { "a": "{a.output}", "b": "{b.output}", "s": "{b.status}" },
        }),
        json!({}),
    );
    stage.advance();
    assert_eq!(stage.complete("a", json!(1)), ["step_complete a 1", "step_start c 1"]);
    let with = stage.state.plan.steps[2].with.render(&stage.state, 1 << 20).unwrap();
    assert_eq!(with.as_str(), r#"{"url":"http://h/","json":[1,null]}"#);
    stage.complete("c", json!(2));
    assert_eq!(stage.output(), r#"{"a":1,"b":null,"s":"skipped"}"#);
}

#[test]
fn a_workflow_whose_steps_are_all_skipped_completes_at_once() {
    let mut stage =
        Stage::new(json!(
            [http_with("a", &[], json!({ "when": "input.run" })), http("b", &["a"]),]
        ));
    stage.state.input = super::theatre::json_of(&json!({ "run": false }));
    assert_eq!(
        stage.advance(),
        ["step_skipped a condition", "step_skipped b dependencies", "workflow_complete"]
    );
    assert_eq!(stage.output(), r#"{"b":null}"#);
}

#[test]
fn a_condition_without_an_answer_fails_the_step_before_any_attempt() {
    for condition in ["input.missing > 1", "input", "a.output.x == 1"] {
        let mut stage = Stage::new(json!([
            http("a", &[]),
            http_with("b", &["a"], json!({ "when": condition })),
        ]));
        stage.advance();
        assert_eq!(
            stage.complete("a", json!(null)),
            [
                "step_complete a 1",
                "step_failed b 0 condition_failed",
                "workflow_failed condition_failed"
            ],
            "{condition}"
        );
        assert_eq!(
            stage.resume(),
            [
                "workflow_resumed",
                "step_failed b 0 condition_failed",
                "workflow_failed condition_failed",
            ]
        );
    }
}

#[test]
fn a_failed_condition_that_may_be_ignored_is() {
    let mut stage = Stage::new(json!([
        http_with("a", &[], json!({ "when": "input.missing", "continueOnError": true })),
        http("b", &["a"]),
    ]));
    assert_eq!(stage.advance(), ["step_failed a 0 condition_failed", "step_start b 1"]);
    assert_eq!(stage.complete("b", json!(1)), ["step_complete b 1", "workflow_complete"]);
}

#[test]
fn a_condition_is_asked_once_whatever_is_done_again() {
    let steps = json!([http_with("a", &[], json!({ "when": "input.run" }))]);
    let stage = Stage::with(json!({ "name": "w", "steps": steps }), json!({ "run": true }));
    // The condition would have another answer now: it is not evaluated again for a step that was
    // started.
    let change = |stage: &mut Stage| {
        stage.advance();
        stage.state.input = super::theatre::json_of(&json!({ "run": false }));
    };
    let mut recovered = stage.clone();
    change(&mut recovered);
    assert_eq!(
        recovered.recover(RecoveryCause::Crashed),
        ["workflow_recovered crashed [a]", "step_start a 2"]
    );
    let mut retried = stage.clone();
    change(&mut retried);
    assert_eq!(retried.fail("a", broken()), ["step_retry a 1 in 1000"]);
    assert_eq!(retried.pass(1_000).advance(), ["step_start a 2"]);
    let mut resumed = stage;
    change(&mut resumed);
    resumed.fail("a", refused());
    assert_eq!(resumed.resume(), ["workflow_resumed", "step_start a 2"]);
}

#[test]
fn skipped_steps_stay_skipped_over_a_resume() {
    let mut stage =
        Stage::new(json!([http_with("a", &[], json!({ "when": "false" })), http("b", &[]),]));
    assert_eq!(stage.advance(), ["step_skipped a condition", "step_start b 1"]);
    stage.fail("b", refused());
    assert_eq!(stage.resume(), ["workflow_resumed", "step_start b 2"]);
    assert_eq!(stage.status("a"), StepStatus::Skipped);
    stage.complete("b", json!(1));
    assert_eq!(stage.state.status, ThreadStatus::Completed);
}
