//! Crossings of features: requests of people together with bounds, takeovers, checks, forks and
//! shutdowns of the same thread.

use std::time::Duration;

use serde_json::{Value, json};

use super::forks::{copy, decide_with, edit};
use super::journal;
use super::theatre::{Stage, asked, broken, done, http, http_with, refused, takeover};
use crate::machine::{Abort, Command, Request, Resume};
use crate::model::{EventBody, RecoveryCause, StepStatus, ThreadStatus};

const NOTHING: [&str; 0] = [];

/// A step with a compensation.
fn undoable(id: &str, depends_on: &[&str]) -> Value {
    let undo = json!({ "kind": "http", "with": { "url": "http://u/" } });
    http_with(id, depends_on, json!({ "compensate": undo }))
}

/// `a`, which can be undone, has completed, and `b` runs.
fn half_done(more: Value) -> Stage {
    let mut workflow =
        json!({ "name": "w", "steps": [undoable("a", &[]), http("b", &["a"]), http("c", &["b"])] });
    for (key, value) in more.as_object().unwrap() {
        workflow[key] = value.clone();
    }
    let mut stage = Stage::with(workflow, json!({}));
    stage.advance();
    stage.complete("a", json!(1));
    stage
}

fn aborted(stage: &mut Stage, grace: u64, compensate: bool) -> Vec<String> {
    let how = Abort { grace: Duration::from_secs(grace), compensate };
    stage.decide(asked(Request::Abort(how))).unwrap()
}

fn quarantined(stage: &mut Stage) -> Vec<String> {
    let takeover = takeover(RecoveryCause::Crashed, 7);
    stage.decide(Command::Quarantine { takeover, losses: 6 }).unwrap()
}

#[track_caller]
fn sound(stage: &Stage) {
    stage.state.validate().unwrap();
    journal::check(&stage.state.plan, &stage.journal);
}

#[test]
fn a_paused_thread_that_kills_loses_its_attempts_and_stays_paused() {
    let mut stage = half_done(json!({}));
    stage.decide(asked(Request::Pause)).unwrap();
    assert_eq!(quarantined(&mut stage), ["workflow_recovered crashed [b]"]);
    assert_eq!(stage.state.status, ThreadStatus::Paused);
    assert!(!stage.state.has_running(), "nobody would ever tell how its attempt ended");
    assert_eq!(stage.resume(), ["workflow_resumed", "step_start b 2"]);
    sound(&stage);
}

#[test]
fn a_thread_that_is_being_aborted_and_kills_is_aborted() {
    let mut stage = half_done(json!({}));
    aborted(&mut stage, 10, false);
    let lines = quarantined(&mut stage);
    assert_eq!(lines, ["workflow_recovered crashed [b]", "workflow_aborted"]);
    sound(&stage);
}

#[test]
fn a_grace_that_ends_in_a_shutdown_is_followed_by_the_undoing_elsewhere_and_at_once() {
    let mut stage = half_done(json!({}));
    aborted(&mut stage, 10, true);
    stage.context.may_start = false;
    assert_eq!(stage.complete("b", json!(2)), ["step_complete b 1"]);
    assert_eq!(stage.advance(), NOTHING);
    assert_eq!(stage.state.status, ThreadStatus::Paused);
    let due = stage.state.next_wake().unwrap();
    assert!(due <= stage.context.now, "nobody waits for the end of the grace");
    // A resume still takes it back.
    let mut back = stage.clone();
    back.context.may_start = true;
    assert_eq!(back.resume(), ["workflow_resumed", "step_start c 1"]);
    stage.context.may_start = true;
    assert_eq!(stage.advance(), ["compensation_start a 1"]);
    assert_eq!(stage.state.paused_by, None);
    let lines = stage.undo("a", done());
    assert_eq!(lines, ["compensation_complete a 1", "workflow_aborted"]);
    sound(&stage);
}

#[test]
fn a_grace_that_ends_in_a_shutdown_with_nothing_to_start_ends_the_thread() {
    let mut stage = half_done(json!({}));
    aborted(&mut stage, 10, false);
    stage.context.may_start = false;
    assert_eq!(stage.complete("b", json!(2)), ["step_complete b 1", "workflow_aborted"]);
    sound(&stage);
}

#[test]
fn a_fork_of_a_thread_that_is_being_aborted_goes_on() {
    let mut stage = half_done(json!({}));
    aborted(&mut stage, 10, true);
    let mut fork = copy(&stage, stage.state.last_seq);
    assert_eq!(decide_with(&mut fork, &[], None).unwrap(), ["workflow_forked"]);
    assert_eq!((fork.state.status, &fork.state.paused_by), (ThreadStatus::Running, &None));
    assert_eq!(fork.advance(), ["step_start b 2"]);
    sound(&fork);
}

#[test]
fn a_fork_of_a_thread_that_was_paused_by_a_failure_and_then_aborted_asks_nobody() {
    let steps =
        json!([http_with("a", &[], json!({ "retry": { "maxAttempts": 1 } })), http("b", &[])]);
    let workflow = json!({ "name": "w", "onFailure": "pause", "timeout": "5s", "steps": steps });
    let mut stage = Stage::with(workflow, json!({}));
    stage.advance();
    stage.fail("a", broken());
    // Time is up while `b` runs on.
    let lines = stage.pass(5_000).advance();
    assert_eq!(lines, ["workflow_paused", "intervention_opened failure [a]"]);
    assert_eq!(aborted(&mut stage, 10, false), ["workflow_paused"]);
    let mut fork = copy(&stage, stage.state.last_seq);
    let lines = decide_with(&mut fork, &[], None).unwrap();
    assert_eq!(lines, ["intervention_resolved fork", "workflow_forked"]);
    assert_eq!(fork.advance(), ["step_start a 2", "step_start b 2"]);
    sound(&fork);
}

#[test]
fn a_fork_undoes_what_it_has_done_and_leaves_what_the_other_thread_did() {
    let steps = json!([undoable("a", &[]), undoable("b", &["a"]), http("c", &["b"])]);
    let mut stage = Stage::new(steps);
    stage.advance();
    stage.complete("a", json!(1));
    let mut fork = copy(&stage, stage.state.last_seq);
    decide_with(&mut fork, &[], None).unwrap();
    assert_eq!(fork.advance(), ["step_start b 2"]);
    fork.complete("b", json!(2));
    let lines = fork.fail("c", refused());
    assert_eq!(lines, ["step_failed c 1 http_status", "compensation_start b 1"]);
    let lines = fork.undo("b", done());
    assert_eq!(lines, ["compensation_complete b 1", "workflow_failed http_status"]);
    let EventBody::WorkflowFailed(end) = fork.last() else { panic!() };
    assert_eq!(end.compensation.as_ref().unwrap().left, []);
    sound(&fork);
    // The other thread undoes its own steps.
    stage.fail("b", refused());
    assert_eq!(stage.state.steps[0].undo_status(), Some(StepStatus::Running));

    // An edit replaces an output, and has no effect that could be undone.
    let mut stage = half_done(json!({}));
    stage.complete("b", json!(2));
    let mut fork = copy(&stage, stage.state.last_seq);
    let edits = [edit(&fork, "a", json!(7))];
    decide_with(&mut fork, &edits, None).unwrap();
    fork.advance();
    let lines = fork.fail("b", refused());
    assert_eq!(lines, ["step_failed b 2 http_status", "workflow_failed http_status"]);
    sound(&fork);
}

/// `a` has completed, the output of `b` is blocked.
fn blocked(more: Value) -> Stage {
    let checked = http_with("b", &["a"], json!({ "check": "'blocked'" }));
    let mut workflow = json!({ "name": "w", "steps": [undoable("a", &[]), checked] });
    for (key, value) in more.as_object().unwrap() {
        workflow[key] = value.clone();
    }
    let mut stage = Stage::with(workflow, json!({}));
    stage.advance();
    stage.complete("a", json!(1));
    assert_eq!(
        stage.complete("b", json!(2)),
        ["step_waiting b 1", "intervention_opened blocked [b]"]
    );
    stage
}

#[test]
fn a_deadline_withdraws_what_is_asked_about_an_output_and_undoes_the_rest() {
    let mut stage = blocked(json!({ "timeout": "5s", "escalateAfter": "1h" }));
    let lines = stage.pass(5_000).advance();
    assert_eq!(lines, ["intervention_resolved withdrawn", "compensation_start a 1"]);
    assert_eq!(
        (stage.status("b"), &stage.state.steps[1].own.blocked()),
        (StepStatus::Pending, &None)
    );
    assert_eq!(stage.state.next_wake(), None, "nobody is asked any more");
    sound(&stage);
}

#[test]
fn an_output_that_is_accepted_after_the_deadline_asked_a_person_is_kept() {
    let mut stage = blocked(json!({ "timeout": "5s", "onFailure": "pause" }));
    let lines = stage.pass(5_000).advance();
    assert_eq!(lines, ["workflow_paused", "intervention_opened failure []"]);
    let id = stage.state.interventions[0].opened.id.clone();
    let accept = Request::Resolve { id, choice: "accept".to_owned(), digest: None };
    let lines = stage.decide(asked(accept)).unwrap();
    assert_eq!(lines, ["intervention_resolved accept", "step_complete b 1"]);
    let lines = stage.resolve("retry");
    assert_eq!(lines, ["intervention_resolved retry", "workflow_resumed", "workflow_complete"]);
    sound(&stage);
}

#[test]
fn a_step_whose_output_is_blocked_runs_again_where_a_resume_begins_with_it() {
    let mut stage = blocked(json!({}));
    stage.decide(asked(Request::Pause)).unwrap();
    let how = Resume { from_step: Some(1.into()), ..Resume::default() };
    let lines = stage.decide(asked(Request::Resume(how))).unwrap();
    assert_eq!(lines, ["intervention_resolved resume", "workflow_resumed", "step_start b 2"]);
    assert_eq!(stage.state.steps[1].own.blocked(), None);
    sound(&stage);
}

#[test]
fn a_blocked_output_is_asked_about_in_a_fork_and_a_fork_in_between_attempts_it_again() {
    let stage = blocked(json!({}));
    let last = stage.state.last_seq;
    let mut fork = copy(&stage, last);
    decide_with(&mut fork, &[], None).unwrap();
    assert_eq!(fork.advance(), NOTHING);
    let lines = fork.resolve("accept");
    assert_eq!(lines, ["intervention_resolved accept", "step_complete b 1", "workflow_complete"]);
    let mut fork = copy(&stage, last - 1);
    decide_with(&mut fork, &[], None).unwrap();
    assert_eq!(fork.advance(), ["step_start b 2"]);
    // The data it came from have changed: nobody is asked about the old output.
    let mut fork = copy(&stage, last);
    let edits = [edit(&fork, "a", json!(7))];
    let lines = decide_with(&mut fork, &edits, None).unwrap();
    assert_eq!(lines, ["intervention_resolved fork", "workflow_forked", "step_edited a"]);
    assert_eq!(fork.advance(), ["step_start b 2"]);
    sound(&fork);
}

#[test]
fn a_takeover_while_paused_in_the_undoing_loses_the_attempt_and_a_resume_makes_it_again() {
    let mut stage = half_done(json!({}));
    stage.fail("b", refused());
    stage.decide(asked(Request::Pause)).unwrap();
    let lines = stage.recover(RecoveryCause::Frozen);
    assert_eq!(lines, ["workflow_recovered frozen [a]"]);
    assert_eq!((stage.state.next_wake(), stage.state.has_running()), (None, false));
    assert_eq!(stage.resume(), ["workflow_resumed", "compensation_start a 2"]);
    sound(&stage);
}

#[test]
fn nothing_is_escalated_of_a_thread_that_is_undone() {
    let approval = json!({ "id": "q", "kind": "approval", "with": { "prompt": "sure?" } });
    let steps = json!([undoable("a", &[]), http("b", &["a"]), approval]);
    let workflow = json!({ "name": "w", "escalateAfter": "3s", "steps": steps });
    let mut stage = Stage::with(workflow, json!({}));
    stage.advance();
    stage.complete("a", json!(1));
    let lines = stage.fail("b", refused());
    assert_eq!(lines[1..], ["intervention_resolved withdrawn", "compensation_start a 1"]);
    assert_eq!(stage.pass(3_000).advance(), NOTHING);
    // A thread that is set aside during its compensation asks somebody else in time.
    quarantined(&mut stage);
    assert_eq!(stage.pass(3_000).advance(), ["intervention_escalated poison"]);
    assert_eq!(stage.state.next_wake(), None);
    sound(&stage);
}
