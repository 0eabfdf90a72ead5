//! The `timeout` of a workflow, the grace of an abort, and bounds that a server multiplies.

use std::time::Duration;

use serde_json::json;

use super::theatre::{DAWN, Stage, asked, broken, done, http, http_with, refused};
use crate::machine::{Abort, AttemptId, Command, Report, Request};
use crate::model::{EventBody, RecoveryCause, StepStatus, ThreadStatus, TimeoutMultiplier};
use crate::model::{Json, Timestamp};

const NOTHING: [&str; 0] = [];

/// A thread whose workflow takes five seconds at the most.
fn bounded(more: serde_json::Value) -> Stage {
    let mut workflow = json!({
        "name": "w", "timeout": "5s",
        "steps": [http("a", &[]), http("b", &["a"])]
    });
    for (key, value) in more.as_object().unwrap() {
        workflow[key] = value.clone();
    }
    Stage::with(workflow, json!({}))
}

fn stop(stage: &mut Stage, grace: u64) -> Vec<String> {
    stage
        .decide(asked(Request::Abort(Abort {
            grace: Duration::from_secs(grace),
            ..Abort::default()
        })))
        .unwrap()
}

#[test]
fn a_thread_that_takes_too_long_fails_and_its_attempts_are_cancelled() {
    let mut stage = bounded(json!({}));
    stage.advance();
    let deadline = Timestamp::from_millis(DAWN + 5_000);
    assert_eq!(stage.state.next_wake(), Some(deadline));
    assert_eq!(stage.pass(4_999).advance(), NOTHING);
    assert_eq!(stage.pass(1).advance(), ["workflow_failed workflow_timeout"]);
    assert_eq!(stage.status("a"), StepStatus::Pending);
    assert_eq!(stage.state.next_wake(), None);
    let EventBody::WorkflowFailed(failed) = stage.last() else { panic!() };
    assert!(!failed.error.recoverable);
}

#[test]
fn a_deadline_ends_waits_and_retries_too() {
    for step in [
        json!({ "id": "a", "kind": "signal", "with": { "name": "go" } }),
        json!({ "id": "a", "kind": "sleep", "with": { "for": "1h" } }),
        http("a", &[]),
    ] {
        let is_call = step["kind"] == "http";
        let mut stage = bounded(json!({ "steps": [step] }));
        stage.advance();
        if is_call {
            stage.context.now = Timestamp::from_millis(DAWN + 4_500);
            stage.fail("a", broken());
        }
        stage.context.now = Timestamp::from_millis(DAWN + 5_000);
        assert_eq!(stage.advance(), ["workflow_failed workflow_timeout"]);
        assert_eq!(stage.state.status, ThreadStatus::Failed);
    }
}

#[test]
fn a_thread_that_fails_already_keeps_its_first_error_at_its_deadline() {
    let mut stage = bounded(json!({ "steps": [http("a", &[]), http("b", &[])] }));
    stage.advance();
    assert_eq!(stage.fail("a", refused()), ["step_failed a 1 http_status"]);
    assert_eq!(stage.pass(5_000).advance(), ["workflow_failed http_status"]);
}

#[test]
fn a_resume_gives_a_thread_its_whole_time_again_and_a_pause_takes_none_of_it() {
    let mut stage = bounded(json!({}));
    stage.advance();
    stage.pass(4_000).decide(asked(Request::Pause)).unwrap();
    assert_eq!(stage.state.next_wake(), None);
    assert_eq!(stage.pass(60_000).advance(), NOTHING);
    assert_eq!(stage.resume(), ["workflow_resumed"]);
    assert_eq!(stage.state.next_wake(), Some(Timestamp::from_millis(DAWN + 69_000)));
    assert_eq!(stage.pass(5_000).advance(), ["workflow_failed workflow_timeout"]);
    assert_eq!(stage.resume(), ["workflow_resumed", "step_start a 2"]);
    assert_eq!(stage.pass(4_999).complete("a", json!(1)), ["step_complete a 2", "step_start b 1"]);
}

#[test]
fn a_deadline_asks_a_person_where_the_workflow_says_so() {
    let mut stage = bounded(json!({ "onFailure": "pause" }));
    stage.advance();
    let asks = ["workflow_paused", "intervention_opened failure []"];
    assert_eq!(stage.pass(5_000).advance(), asks);
    let EventBody::InterventionOpened(opened) = stage.last() else { panic!() };
    assert_eq!(opened.choices, ["retry", "abort"], "there is no step to be skipped");
    // Running attempts may end; then somebody gives the thread more time.
    assert_eq!(stage.complete("a", json!(1)), ["step_complete a 1"]);
    let retry =
        Request::Resolve { id: opened_id(&stage), choice: "retry".to_owned(), digest: None };
    assert_eq!(
        stage.decide(asked(retry)).unwrap(),
        ["intervention_resolved retry", "workflow_resumed", "step_start b 1"]
    );
}

fn opened_id(stage: &Stage) -> String {
    stage.state.open_interventions().next().unwrap().opened.id.clone()
}

#[test]
fn a_server_may_multiply_the_bounds_of_work() {
    let step = http_with("a", &[], json!({ "timeout": "10s", "warnAfter": "4s" }));
    let workflow = json!({ "name": "w", "timeout": "20s", "steps": [step] });
    let mut stage = Stage::with(workflow, json!({}));
    stage.context.timeouts.multiplier = TimeoutMultiplier::new(1.5).unwrap();
    stage.advance();
    assert_eq!(
        stage
            .decide(Command::Attempt { attempt: AttemptId::own(0, 1), report: Report::Slow })
            .unwrap()
            .len(),
        1
    );
    let EventBody::StepTimeoutWarning(fact) = stage.last() else { panic!() };
    assert_eq!(fact.data.timeout_ms, Some(15_000));
    // The deadline was set when the thread began, and is not computed again.
    assert_eq!(stage.state.next_wake(), Some(Timestamp::from_millis(DAWN + 20_000)));
    stage.abort();
    stage.resume();
    assert_eq!(stage.state.next_wake(), Some(Timestamp::from_millis(DAWN + 30_000)));
}

#[test]
fn an_abort_with_a_grace_keeps_what_ends_in_time_and_starts_nothing() {
    let mut stage = Stage::new(json!([http("a", &[]), http("b", &[]), http("c", &["a"])]));
    stage.advance();
    assert_eq!(stop(&mut stage, 10), ["workflow_paused"]);
    assert_eq!(stage.complete("a", json!(1)), ["step_complete a 1"]);
    assert_eq!(stage.complete("b", json!(2)), ["step_complete b 1", "workflow_aborted"]);
    let EventBody::WorkflowAborted(aborted) = stage.last() else { panic!() };
    assert_eq!(aborted.by, "ann");
    assert_eq!(
        (stage.status("a"), stage.status("c")),
        (StepStatus::Completed, StepStatus::Pending)
    );
}

#[test]
fn an_abort_cancels_what_runs_when_its_grace_is_over() {
    let mut stage = Stage::new(json!([http("a", &[])]));
    stage.advance();
    stop(&mut stage, 10);
    assert_eq!(stage.state.next_wake(), Some(Timestamp::from_millis(DAWN + 10_000)));
    assert_eq!(stage.pass(9_999).advance(), NOTHING);
    assert_eq!(stage.pass(1).advance(), ["workflow_aborted"]);
    assert_eq!(stage.state.next_wake(), None);
}

#[test]
fn a_grace_with_nothing_under_way_is_none() {
    let mut stage = Stage::new(json!([http("a", &[])]));
    stage.advance();
    stage.fail("a", broken());
    assert_eq!(stop(&mut stage, 10), ["workflow_aborted"]);
}

#[test]
fn a_takeover_ends_the_grace_of_an_abort() {
    let mut stage = Stage::new(json!([http("a", &[])]));
    stage.advance();
    stop(&mut stage, 10);
    let followed = stage.recover(RecoveryCause::Crashed);
    assert_eq!(followed, ["workflow_recovered crashed [a]", "workflow_aborted"]);
}

#[test]
fn a_second_abort_does_not_wait_and_a_resume_takes_the_first_back() {
    let mut stage = Stage::new(json!([http("a", &[])]));
    stage.advance();
    stop(&mut stage, 10);
    let mut other = stage.clone();
    assert_eq!(other.abort(), ["workflow_aborted"]);
    assert_eq!(stage.resume(), ["workflow_resumed"]);
    assert_eq!(stage.pass(60_000).advance(), NOTHING);
    assert_eq!(stage.complete("a", json!(1)), ["step_complete a 1", "workflow_complete"]);
    assert_eq!(stage.state.output.as_ref().map(Json::as_str), Some(r#"{"a":1}"#));
}

/// A step with a compensation, and one after it.
fn undoable() -> Stage {
    let undo = json!({ "kind": "http", "with": { "url": "http://u/" } });
    let first = http_with("a", &[], json!({ "compensate": undo }));
    Stage::with(
        json!({ "name": "w", "timeout": "5s", "steps": [first, http("b", &["a"])] }),
        json!({}),
    )
}

#[test]
fn what_a_late_thread_has_done_is_undone() {
    let mut stage = undoable();
    stage.advance();
    stage.complete("a", json!(1));
    assert_eq!(stage.pass(5_000).advance(), ["compensation_start a 1"]);
    assert_eq!((stage.status("b"), stage.state.next_wake()), (StepStatus::Pending, None));
    let done = Command::Attempt { attempt: AttemptId::undo(0, 1), report: done() };
    assert_eq!(
        stage.pass(60_000).decide(done).unwrap(),
        ["compensation_complete a 1", "workflow_failed workflow_timeout"]
    );
}

#[test]
fn an_abort_may_have_a_grace_and_undo_what_was_done_by_its_end() {
    let mut stage = undoable();
    stage.advance();
    let how = Abort { grace: Duration::from_secs(10), compensate: true };
    assert_eq!(stage.decide(asked(Request::Abort(how))).unwrap(), ["workflow_paused"]);
    assert_eq!(stage.complete("a", json!(1)), ["step_complete a 1", "compensation_start a 1"]);
    let done = Command::Attempt { attempt: AttemptId::undo(0, 1), report: done() };
    assert_eq!(stage.decide(done).unwrap(), ["compensation_complete a 1", "workflow_aborted"]);
}
