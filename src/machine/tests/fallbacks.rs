//! Fallbacks, which take over from a step that has used its attempts.

use serde_json::json;

use super::theatre::{Stage, broken, http, http_with, refused};
use crate::definition::Work;
use crate::machine::{AttemptId, Command, Report};
use crate::model::{Category, EventBody, Failure, RecoveryCause, StepStatus, ThreadStatus};

/// A step with a fallback that is a step, and one that depends on it.
fn with_step() -> Stage {
    Stage::new(json!([
        http_with(
            "a",
            &[],
            json!({
                "retry": { "maxAttempts": 1 },
                "fallback": { "kind": "http", "with": { "url": "http://f/{a.error.code}" },
                              "retry": { "maxAttempts": 2, "jitter": false } },
            })
        ),
        http("b", &["a"]),
    ]))
}

#[test]
fn an_output_completes_the_step_and_says_what_it_stands_in_for() {
    let output = json!({ "old": true, "why": "{a.error.message}", "was": "{a.status}" });
    let mut stage = Stage::new(json!([
        http_with("a", &[], json!({ "fallback": { "output": output } })),
        http("b", &["a"]),
    ]));
    stage.advance();
    // A failure that is never tried again is replaced as well.
    assert_eq!(stage.fail("a", refused()), ["step_complete a 1", "step_start b 1"]);
    let EventBody::StepComplete(fact) = &stage.journal[2].body else { panic!() };
    assert_eq!(fact.data.output.as_str(), r#"{"old":true,"why":"404","was":"failed"}"#);
    assert!(fact.data.fallback);
    assert_eq!(fact.data.error.as_ref().unwrap().code, "http_status");
    let step = &stage.state.steps[0];
    assert!(step.fallback && step.own.error.is_none());
    assert_eq!(stage.complete("b", json!(1)), ["step_complete b 1", "workflow_complete"]);
}

#[test]
fn an_output_is_used_only_when_the_attempts_are() {
    let more = json!({ "retry": { "maxAttempts": 2 }, "fallback": { "output": 7 } });
    let mut stage = Stage::new(json!([http_with("a", &[], more)]));
    stage.advance();
    assert_eq!(stage.fail("a", broken()), ["step_retry a 1 in 1000"]);
    stage.pass(1_000).advance();
    assert_eq!(stage.fail("a", broken()), ["step_complete a 2", "workflow_complete"]);
    assert_eq!(stage.output(), r#"{"a":7}"#);
}

#[test]
fn an_output_that_cannot_be_made_fails_the_step_and_tells_both_reasons() {
    let more = json!({ "fallback": { "output": "{a.error.nosuch}" } });
    let mut stage = Stage::new(json!([http_with("a", &[], more)]));
    stage.advance();
    assert_eq!(
        stage.fail("a", refused()),
        ["step_failed a 1 template_unresolved", "workflow_failed template_unresolved"]
    );
    let message = &stage.state.error.as_ref().unwrap().message;
    assert_eq!(message, "the fallback's output: {a.error.nosuch} is not there, after: 404");
}

#[test]
fn a_step_takes_over_under_its_own_policy_and_its_attempts_count_on() {
    let mut stage = with_step();
    stage.advance();
    assert_eq!(stage.fail("a", broken()), ["step_retry a 1 in 0", "step_start a 2"]);
    let EventBody::StepStart(fact) = stage.last() else { panic!() };
    assert!(fact.data.fallback);
    // The `with` of the fallback may name the error of the step.
    let fallback = stage.state.plan.steps[0].work(Work::Fallback);
    let with = fallback.with.render(&stage.state, 1 << 20).unwrap();
    assert_eq!(with.as_str(), r#"{"url":"http://f/connection_failed"}"#);
    assert_eq!(stage.fail("a", broken()), ["step_retry a 2 in 1000"]);
    assert_eq!(stage.pass(1_000).advance(), ["step_start a 3"]);
    assert_eq!(stage.complete("a", json!(1)), ["step_complete a 3", "step_start b 1"]);
    assert!(stage.state.steps[0].fallback);
}

#[test]
fn a_fallback_that_fails_too_fails_the_step_and_a_resume_begins_with_the_step_itself() {
    let mut stage = with_step();
    stage.advance();
    stage.fail("a", refused());
    assert_eq!(
        stage.fail("a", refused()),
        ["step_failed a 2 http_status", "workflow_failed http_status"]
    );
    assert_eq!(stage.resume(), ["workflow_resumed", "step_start a 3"]);
    let EventBody::StepStart(fact) = stage.last() else { panic!() };
    assert!(!fact.data.fallback && !stage.state.steps[0].fallback);
}

#[test]
fn a_lost_attempt_of_a_fallback_is_made_again_by_the_fallback() {
    let mut stage = with_step();
    stage.advance();
    stage.fail("a", broken());
    assert_eq!(
        stage.recover(RecoveryCause::Crashed),
        ["workflow_recovered crashed [a]", "step_start a 3"]
    );
    let EventBody::StepStart(fact) = stage.last() else { panic!() };
    assert!(fact.data.fallback);
}

#[test]
fn a_fallback_waits_while_nothing_may_start() {
    let mut stage = with_step();
    stage.advance();
    stage.context.may_start = false;
    assert_eq!(stage.fail("a", broken()), ["step_retry a 1 in 0"]);
    assert_eq!(stage.status("a"), StepStatus::Retrying);
    stage.context.may_start = true;
    assert_eq!(stage.advance(), ["step_start a 2"]);
}

#[test]
fn a_step_that_was_never_attempted_has_no_use_for_its_fallback() {
    let more = json!({ "when": "input.missing == 1", "fallback": { "output": 1 } });
    let mut stage = Stage::new(json!([http_with("a", &[], more)]));
    assert_eq!(
        stage.advance(),
        ["step_failed a 0 condition_failed", "workflow_failed condition_failed"]
    );
}

#[test]
fn a_sleep_may_be_a_fallback_or_have_one() {
    let sleep = json!({ "kind": "sleep", "with": { "for": 50 } });
    let mut stage = Stage::new(json!([
        { "id": "a", "kind": "sleep", "with": { "for": "{input.nosuch}" }, "fallback": sleep },
    ]));
    assert_eq!(
        stage.advance(),
        ["step_start a 1", "step_retry a 1 in 0", "step_start a 2", "step_waiting a 2"]
    );
    assert_eq!(stage.pass(50).advance(), ["step_complete a 2", "workflow_complete"]);
    assert_eq!(stage.state.status, ThreadStatus::Completed);
}

#[test]
fn a_refusal_by_an_open_circuit_is_waited_out_however_long_the_policy_waits() {
    let more = json!({ "retry": { "maxAttempts": 2, "maxInterval": "1s" } });
    let mut stage = Stage::new(json!([http_with("a", &[], more)]));
    stage.advance();
    let failure = Failure::recoverable("circuit_open", Category::External, "open");
    let retry_after = Some(std::time::Duration::from_mins(1));
    let refused = Command::Attempt {
        attempt: AttemptId::own(0, 1),
        report: Report::Failed { failure: failure.clone(), retry_after },
    };
    assert_eq!(stage.decide(refused).unwrap(), ["step_retry a 1 in 60000"]);
    stage.pass(60_000).advance();
    // The refusal is a failed attempt all the same.
    let refused = Command::Attempt {
        attempt: AttemptId::own(0, 2),
        report: Report::Failed { failure, retry_after },
    };
    assert_eq!(
        stage.decide(refused).unwrap(),
        ["step_failed a 2 circuit_open", "workflow_failed circuit_open"]
    );
}
