//! Failures, retries and what they do to the thread.

use std::time::Duration;

use serde_json::json;

use super::theatre::{DAWN, Stage, broken, http, http_with, refused};
use crate::machine::{AttemptId, Command, Rejection, Report};
use crate::model::{Category, EventBody, Failure, StepStatus, ThreadStatus, Timestamp};

#[test]
fn a_recoverable_failure_is_retried_at_the_recorded_instant() {
    let mut stage = Stage::new(json!([http("a", &[])]));
    stage.context.unit = 0.25;
    stage.advance();
    assert_eq!(stage.fail("a", broken()), ["step_retry a 1 in 750"]);
    let EventBody::StepRetry(fact) = stage.last() else { panic!("{:?}", stage.last()) };
    assert_eq!(fact.data.retry_at, Timestamp::from_millis(DAWN + 750));
    assert_eq!(fact.data.error.attempt, Some(1));
    assert_eq!(stage.state.next_wake(), Some(Timestamp::from_millis(DAWN + 750)));
    // Another draw would give another instant: the recorded one counts.
    stage.context.unit = 0.9;
    assert_eq!(stage.pass(749).advance(), Vec::<String>::new());
    assert_eq!(stage.pass(1).advance(), ["step_start a 2"]);
}

#[test]
fn attempts_are_bounded_and_delays_grow() {
    let retry = json!({ "retry": { "maxAttempts": 3, "jitter": false } });
    let mut stage = Stage::new(json!([http_with("a", &[], retry)]));
    stage.advance();
    assert_eq!(stage.fail("a", broken()), ["step_retry a 1 in 1000"]);
    stage.pass(1_000).advance();
    assert_eq!(stage.fail("a", broken()), ["step_retry a 2 in 2000"]);
    stage.pass(2_000).advance();
    assert_eq!(
        stage.fail("a", broken()),
        ["step_failed a 3 connection_failed", "workflow_failed connection_failed"]
    );
    // A resume grants the attempts anew; their numbers go on.
    assert_eq!(stage.resume(), ["workflow_resumed", "step_start a 4"]);
    assert_eq!(stage.fail("a", broken()), ["step_retry a 4 in 1000"]);
}

#[test]
fn what_the_other_side_asks_to_wait_is_waited_up_to_the_longest_interval() {
    for (asked, waited) in [(0, 0), (7, 7_000), (600, 30_000)] {
        let mut stage = Stage::new(json!([http("a", &[])]));
        stage.advance();
        let asked = Some(Duration::from_secs(asked));
        assert_eq!(
            stage.fail_asking("a", broken(), asked),
            [format!("step_retry a 1 in {waited}")]
        );
    }
}

#[test]
fn failures_that_the_policy_does_not_cover_end_the_step_at_once() {
    let only_timeouts = json!({ "retry": { "retryOn": ["timeout"] } });
    let slow = Failure::recoverable("step_timeout", Category::Timeout, "slow");
    let named = Failure::recoverable("connection_failed", Category::External, "Unauthorized");
    for (policy, failure, retried) in [
        (json!({}), broken(), true),
        (json!({}), refused(), false),
        (json!({}), named, false),
        (only_timeouts.clone(), slow, true),
        (only_timeouts, broken(), false),
        (json!({ "retry": { "maxAttempts": 1 } }), broken(), false),
    ] {
        let mut stage = Stage::new(json!([http_with("a", &[], policy)]));
        stage.advance();
        stage.fail("a", failure);
        assert_eq!(stage.status("a") == StepStatus::Retrying, retried);
    }
}

#[test]
fn a_failing_thread_starts_nothing_and_waits_for_what_is_under_way() {
    let mut stage = Stage::new(json!([
        http("a", &[]),
        http("b", &[]),
        http("c", &["b"]),
        { "id": "s", "kind": "sleep", "with": { "for": 10 } },
    ]));
    stage.advance();
    assert_eq!(stage.fail("a", refused()), ["step_failed a 1 http_status"]);
    assert!(stage.state.is_failing());
    assert_eq!(stage.state.next_wake(), None);
    assert_eq!(stage.pass(100).advance(), Vec::<String>::new());
    assert_eq!(stage.complete("b", json!(1)), ["step_complete b 1", "workflow_failed http_status"]);
    assert_eq!(stage.state.completed_at, Some(stage.context.now));
    // Completed steps stay completed; steps that waited or had not begun start.
    assert_eq!(
        stage.resume(),
        [
            "workflow_resumed",
            "step_start a 2",
            "step_start c 1",
            "step_start s 2",
            "step_waiting s 2"
        ]
    );
}

#[test]
fn the_first_failure_of_several_is_the_threads() {
    let mut stage = Stage::new(json!([http("a", &[]), http("b", &[])]));
    stage.advance();
    stage.fail("b", refused());
    let other = Failure::permanent("exit_nonzero", Category::Step, "1");
    assert_eq!(
        stage.fail("a", other),
        ["step_failed a 1 exit_nonzero", "workflow_failed http_status"]
    );
    assert_eq!(stage.state.error.as_ref().unwrap().step_id.as_ref().unwrap().as_str(), "b");
}

#[test]
fn an_ignored_failure_reads_as_null_and_the_thread_goes_on() {
    let mut stage = Stage::with(
        json!({
            "name": "w",
            "steps": [
                http_with("a", &[], json!({ "continueOnError": true, "retry": { "maxAttempts": 2 } })),
                http_with("b", &["a"], json!({ "when": "a.status == 'failed' && a.output == null" })),
            ],
            "output": ["{a.output}", "{a.error.code}", "{b.output}"],
        }),
        json!({}),
    );
    stage.advance();
    stage.fail("a", broken());
    stage.pass(5_000).advance();
    assert_eq!(stage.fail("a", broken()), ["step_failed a 2 connection_failed", "step_start b 1"]);
    assert_eq!(stage.complete("b", json!(2)), ["step_complete b 1", "workflow_complete"]);
    assert_eq!(stage.output(), r#"[null,"connection_failed",2]"#);
    assert_eq!(stage.state.error, None);
}

#[test]
fn an_ignored_failure_is_not_tried_again_by_a_resume() {
    let mut stage = Stage::new(json!([
        http_with("a", &[], json!({ "continueOnError": true })),
        http("b", &["a"]),
    ]));
    stage.advance();
    stage.fail("a", refused());
    stage.fail("b", refused());
    assert_eq!(stage.resume(), ["workflow_resumed", "step_start b 2"]);
}

#[test]
fn a_sleep_whose_time_cannot_be_read_fails_without_a_retry() {
    for (with, code) in [
        (json!({ "for": "{input.missing}" }), "template_unresolved"),
        (json!({ "for": "{input.words}" }), "invalid_configuration"),
        (json!({ "until": "{input.words}" }), "invalid_configuration"),
    ] {
        let steps = json!([{ "id": "s", "kind": "sleep", "with": with }]);
        let workflow = json!({ "name": "w", "steps": steps });
        let mut stage = Stage::with(workflow, json!({ "words": "soon" }));
        assert_eq!(
            stage.advance(),
            [
                "step_start s 1".to_owned(),
                format!("step_failed s 1 {code}"),
                format!("workflow_failed {code}"),
            ]
        );
    }
}

#[test]
fn results_of_attempts_that_are_not_current_are_refused_and_change_nothing() {
    let mut stage = Stage::new(json!([http("a", &[]), http("b", &["a"])]));
    stage.advance();
    stage.fail("a", broken());
    stage.pass(5_000).advance();
    let before = format!("{:?}", stage.state);
    let output = super::theatre::json_of(&json!(1));
    for (step, attempt) in [(0, 1), (0, 3), (0, 0), (1, 0), (1, 1)] {
        let output = output.clone();
        let complete = Command::Attempt {
            attempt: AttemptId::own(step, attempt),
            report: Report::Done { output, session_id: None },
        };
        let fail = Command::Attempt {
            attempt: AttemptId::own(step, attempt),
            report: Report::Failed { failure: broken(), retry_after: None },
        };
        for command in [
            complete,
            fail,
            Command::Attempt { attempt: AttemptId::own(step, attempt), report: Report::Slow },
        ] {
            assert_eq!(stage.decide(command), Err(Rejection::NotCurrent), "{step} {attempt}");
        }
    }
    assert_eq!(format!("{:?}", stage.state), before);
    stage.complete("a", json!(1));
    let again = Command::Attempt {
        attempt: AttemptId::own(0, 2),
        report: Report::Done { output, session_id: None },
    };
    assert_eq!(stage.decide(again), Err(Rejection::NotCurrent));
}

#[test]
fn an_attempt_is_warned_about_once() {
    let bounds = json!({ "timeout": "10s", "warnAfter": "1s" });
    let mut stage = Stage::new(json!([http_with("a", &[], bounds)]));
    stage.advance();
    stage.pass(1_500);
    let warn =
        |attempt| Command::Attempt { attempt: AttemptId::own(0, attempt), report: Report::Slow };
    assert_eq!(stage.decide(warn(1)).unwrap(), ["step_timeout_warning a 1"]);
    let EventBody::StepTimeoutWarning(fact) = stage.last() else { panic!("{:?}", stage.last()) };
    assert_eq!((fact.data.elapsed_ms, fact.data.timeout_ms), (1_500, Some(10_000)));
    assert_eq!(stage.decide(warn(1)), Err(Rejection::NotCurrent));
    stage.fail("a", broken());
    stage.pass(5_000).advance();
    assert_eq!(stage.decide(warn(2)).unwrap(), ["step_timeout_warning a 2"]);
}

#[test]
fn an_attempt_is_found_silent_once_and_the_next_one_anew() {
    let mut stage = Stage::new(json!([http("a", &[])]));
    stage.advance();
    let silent = |attempt| Command::Attempt {
        attempt: AttemptId::own(0, attempt),
        report: Report::Stale { silent: Duration::from_mins(2) },
    };
    assert_eq!(stage.decide(silent(1)).unwrap(), ["step_stale a 1"]);
    let EventBody::StepStale(fact) = stage.last() else { panic!("{:?}", stage.last()) };
    assert_eq!(fact.data.silent_ms, 120_000);
    assert_eq!(stage.state.stale_steps().len(), 1);
    assert_eq!(stage.decide(silent(1)), Err(Rejection::NotCurrent));
    stage.fail("a", broken());
    assert!(stage.state.stale_steps().is_empty());
    stage.pass(5_000).advance();
    assert!(stage.state.stale_steps().is_empty());
    assert_eq!(stage.decide(silent(2)).unwrap(), ["step_stale a 2"]);
}

#[test]
fn the_times_of_a_journal_never_step_back() {
    let mut stage = Stage::new(json!([http("a", &[])]));
    stage.pass(500).advance();
    stage.pass(-10_000);
    stage.complete("a", json!(1));
    assert!(stage.journal.is_sorted_by_key(|event| event.at));
    assert_eq!(stage.state.status, ThreadStatus::Completed);
}
