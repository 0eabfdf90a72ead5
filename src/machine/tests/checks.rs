//! Outputs that a check decides about before they complete their steps.

use serde_json::{Value, json};

use super::theatre::{Stage, asked, http, http_with};
use crate::machine::{Command, Rejection, Report, Request, Resume};
use crate::model::{EventBody, InterventionKind, RecoveryCause, StepStatus, ThreadStatus};

/// A check by the score: fine, to be looked at, not good enough.
const CHECK: &str = "output.score > 8 ? 'success' : output.score > 4 ? 'blocked' : 'failed'";

/// A checked step with two attempts, and one that depends on it.
fn checked(more: Value) -> Stage {
    let mut step = http_with(
        "a",
        &[],
        json!({ "check": CHECK, "retry": { "maxAttempts": 2, "jitter": false } }),
    );
    for (key, value) in more.as_object().unwrap() {
        step[key] = value.clone();
    }
    let mut stage = Stage::new(json!([step, http("b", &["a"])]));
    stage.advance();
    stage
}

fn score(score: u32) -> Value {
    json!({ "score": score })
}

const BLOCKED: [&str; 2] = ["step_waiting a 1", "intervention_opened blocked [a]"];

fn blocked() -> Stage {
    let mut stage = checked(json!({}));
    assert_eq!(stage.pass(40).complete("a", score(6)), BLOCKED);
    stage
}

#[test]
fn a_success_completes_the_step() {
    let mut stage = checked(json!({}));
    assert_eq!(stage.complete("a", score(9)), ["step_complete a 1", "step_start b 1"]);
}

#[test]
fn a_failure_is_one_of_the_attempt_and_the_policy_applies() {
    let mut stage = checked(json!({}));
    assert_eq!(stage.complete("a", score(1)), ["step_retry a 1 in 1000"]);
    let error = stage.state.steps[0].own.error.clone().unwrap();
    assert_eq!((error.code.as_str(), error.recoverable), ("check_failed", true));
    stage.pass(1_000).advance();
    assert_eq!(
        stage.complete("a", score(2)),
        ["step_failed a 2 check_failed", "workflow_failed check_failed"]
    );
}

#[test]
fn a_failure_may_be_excluded_from_retries_continued_or_stood_in_for() {
    let retry = json!({ "retry": { "retryOn": ["timeout"] } });
    assert_eq!(
        checked(retry).complete("a", score(1)),
        ["step_failed a 1 check_failed", "workflow_failed check_failed"]
    );
    let goes_on = json!({ "continueOnError": true, "retry": { "maxAttempts": 1 } });
    assert_eq!(
        checked(goes_on).complete("a", score(1)),
        ["step_failed a 1 check_failed", "step_start b 1"]
    );
    let fallback =
        json!({ "fallback": { "output": "{a.error.code}" }, "retry": { "maxAttempts": 1 } });
    let mut stage = checked(fallback);
    // An output that the author wrote is not checked.
    assert_eq!(stage.complete("a", score(1)), ["step_complete a 1", "step_start b 1"]);
    assert_eq!(stage.state.steps[0].output.as_ref().unwrap().as_str(), "\"check_failed\"");
}

#[test]
fn a_failure_pauses_a_thread_whose_workflow_says_so() {
    let step = http_with("a", &[], json!({ "check": "false", "retry": { "maxAttempts": 1 } }));
    let workflow = json!({ "name": "w", "onFailure": "pause", "steps": [step] });
    let mut stage = Stage::with(workflow, json!({}));
    stage.advance();
    assert_eq!(
        stage.complete("a", json!(1)),
        ["step_failed a 1 check_failed", "workflow_paused", "intervention_opened failure [a]"]
    );
}

#[test]
fn a_check_without_an_answer_fails_the_attempt_for_good() {
    for output in [json!({}), json!({ "score": "high" }), json!(null)] {
        assert_eq!(
            checked(json!({})).complete("a", output),
            ["step_failed a 1 check_error", "workflow_failed check_error"]
        );
    }
}

#[test]
fn a_fallback_has_a_check_of_its_own_and_not_that_of_the_step() {
    let fallback = json!({ "kind": "http", "with": { "url": "http://f/" }, "check": "output > 1",
        "retry": { "maxAttempts": 1 } });
    let mut stage = checked(json!({ "retry": { "maxAttempts": 1 }, "fallback": fallback }));
    assert_eq!(stage.complete("a", score(1)), ["step_retry a 1 in 0", "step_start a 2"]);
    let mut other = stage.clone();
    assert_eq!(stage.complete("a", json!(2)), ["step_complete a 2", "step_start b 1"]);
    assert_eq!(
        other.complete("a", json!(1)),
        ["step_failed a 2 check_failed", "workflow_failed check_failed"]
    );
}

#[test]
fn a_blocked_output_is_kept_and_completes_the_step_once_it_is_accepted() {
    let mut stage = blocked();
    let EventBody::StepWaiting(fact) = &stage.journal[2].body else { panic!() };
    assert_eq!(fact.data.reason, "blocked");
    assert_eq!(fact.data.output.as_ref().unwrap().as_str(), r#"{"score":6}"#);
    assert_eq!(stage.asked().opened.kind, InterventionKind::Blocked);
    assert_eq!(stage.asked().opened.choices, ["accept", "retry", "skip", "abort"]);
    assert_eq!(stage.status("a"), StepStatus::Waiting);
    assert_eq!(stage.state.next_wake(), None);
    // The replica that takes the thread over finds the question as it is.
    assert_eq!(stage.recover(RecoveryCause::Crashed), ["workflow_recovered crashed []"]);
    assert_eq!(
        stage.pass(5_000).resolve("accept"),
        ["intervention_resolved accept", "step_complete a 1", "step_start b 1"]
    );
    let digest = stage.asked().opened.digest.clone();
    assert!(digest.is_some());
    assert_eq!(stage.asked().resolved.as_ref().unwrap().0.digest, digest);
    let found = stage.journal.iter().find_map(|event| {
        let EventBody::StepComplete(fact) = &event.body else { return None };
        Some(fact.data.clone())
    });
    let completed = found.unwrap();
    assert_eq!(completed.output.as_str(), r#"{"score":6}"#);
    assert_eq!(completed.duration_ms, 40, "of the attempt, not of the wait");
}

#[test]
fn null_is_an_output_like_any_other() {
    let mut stage = Stage::new(json!([http_with("a", &[], json!({ "check": "'blocked'" }))]));
    stage.advance();
    stage.complete("a", json!(null));
    assert_eq!(stage.state.steps[0].own.blocked().unwrap().output.as_str(), "null");
    assert_eq!(
        stage.resolve("accept"),
        ["intervention_resolved accept", "step_complete a 1", "workflow_complete"]
    );
}

#[test]
fn a_blocked_step_is_attempted_again_skipped_or_its_thread_aborted() {
    let stage = blocked();
    let mut again = stage.clone();
    assert_eq!(again.resolve("retry"), ["intervention_resolved retry", "step_start a 2"]);
    // The retry has all attempts of its policy again.
    assert_eq!(again.complete("a", score(1)), ["step_retry a 2 in 1000"]);
    let mut skipped = stage.clone();
    assert_eq!(
        skipped.resolve("skip"),
        ["intervention_resolved skip", "step_skipped a asked", "step_start b 1"]
    );
    let mut aborted = stage.clone();
    assert_eq!(aborted.resolve("abort"), ["intervention_resolved abort", "workflow_aborted"]);
    assert_eq!(aborted.state.steps[0].own.blocked(), None);
    let mut by_step = stage;
    assert_eq!(
        by_step.decide(asked(Request::Retry { step: 0.into() })).unwrap(),
        ["intervention_resolved retry", "step_start a 2"]
    );
}

#[test]
fn a_person_may_retry_more_often_than_the_policy() {
    let mut stage = blocked();
    for attempt in 2..6 {
        stage.resolve("retry");
        assert_eq!(stage.current("a").number, attempt);
        stage.complete("a", score(6));
    }
    assert_eq!(stage.status("a"), StepStatus::Waiting);
}

#[test]
fn a_pause_leaves_the_question_open_and_what_is_decided_in_it_waits_for_its_end() {
    let mut stage = blocked();
    stage.decide(asked(Request::Pause)).unwrap();
    let mut later = stage.clone();
    assert_eq!(later.resume(), ["workflow_resumed"]);
    assert_eq!(later.state.open_interventions().count(), 1);
    assert_eq!(stage.resolve("retry"), ["intervention_resolved retry"]);
    assert_eq!(stage.status("a"), StepStatus::Pending);
    assert_eq!(stage.resume(), ["workflow_resumed", "step_start a 2"]);
}

#[test]
fn an_output_that_arrives_in_a_pause_is_checked_as_well() {
    let mut stage = checked(json!({}));
    stage.decide(asked(Request::Pause)).unwrap();
    assert_eq!(stage.complete("a", score(6)), BLOCKED);
    assert_eq!(stage.state.status, ThreadStatus::Paused);
    assert_eq!(stage.resolve("accept"), ["intervention_resolved accept", "step_complete a 1"]);
    assert_eq!(stage.resume(), ["workflow_resumed", "step_start b 1"]);
}

#[test]
fn a_resume_from_the_step_or_without_it_answers_the_question() {
    for how in [
        Resume { from_step: Some(0.into()), ..Resume::default() },
        Resume { skip: vec![0.into()], ..Resume::default() },
    ] {
        let mut stage = blocked();
        stage.decide(asked(Request::Pause)).unwrap();
        stage.decide(asked(Request::Resume(how))).unwrap();
        assert_eq!(stage.state.open_interventions().count(), 0);
        assert_eq!(stage.state.steps[0].own.blocked(), None);
    }
}

#[test]
fn a_thread_that_fails_asks_nobody_and_attempts_the_step_again_when_it_is_resumed() {
    let mut stage = Stage::new(json!([
        http_with("a", &[], json!({ "check": "'blocked'" })),
        http_with("b", &[], json!({ "retry": { "maxAttempts": 1 } })),
    ]));
    stage.advance();
    stage.complete("a", json!(1));
    assert_eq!(
        stage.fail("b", super::theatre::broken()),
        [
            "step_failed b 1 connection_failed",
            "intervention_resolved withdrawn",
            "workflow_failed connection_failed"
        ]
    );
    assert_eq!(stage.resume(), ["workflow_resumed", "step_start a 2", "step_start b 2"]);
}

#[test]
fn what_was_decided_is_not_decided_again() {
    let mut stage = blocked();
    stage.resolve("accept");
    let id = stage.asked().opened.id.clone();
    let again = asked(Request::Resolve { id, choice: "retry".to_owned(), digest: None });
    let refused = Rejection::Resolved { choice: "accept".to_owned(), by: "ann".to_owned() };
    assert_eq!(stage.decide(again), Err(refused));
    // A late result of the attempt is refused.
    let attempt = stage.current("a");
    let output = super::theatre::json_of(&score(9));
    let late = Command::Attempt { attempt, report: Report::Done { output, session_id: None } };
    assert_eq!(stage.decide(late), Err(Rejection::NotCurrent));
}
