//! Takeovers, resumes, aborts and shutdowns.

use serde_json::json;

use super::theatre::{Stage, asked, broken, http, http_with, refused, takeover};
use crate::machine::{Abort, AttemptId, Command, Rejection, Report, Request, Resume};
use crate::model::{RecoveryCause, StepStatus, ThreadStatus};

const NOTHING: [&str; 0] = [];

#[test]
fn a_takeover_makes_lost_attempts_again_without_counting_them() {
    let policy = json!({ "retry": { "maxAttempts": 2 } });
    let mut stage = Stage::new(json!([http_with("a", &[], policy), http("b", &[])]));
    stage.advance();
    stage.complete("b", json!(1));
    for attempt in 2..6 {
        assert_eq!(
            stage.recover(RecoveryCause::Crashed),
            ["workflow_recovered crashed [a]".to_owned(), format!("step_start a {attempt}")]
        );
    }
    assert_eq!(stage.state.recoveries, 4);
    assert_eq!(stage.fail("a", broken()), ["step_retry a 5 in 1000"]);
    stage.pass(1_000).advance();
    assert_eq!(
        stage.fail("a", broken()),
        ["step_failed a 6 connection_failed", "workflow_failed connection_failed"]
    );
}

#[test]
fn a_takeover_leaves_waits_and_retries_as_they_were_recorded() {
    let mut stage = Stage::new(json!([
        http("a", &[]),
        { "id": "s", "kind": "sleep", "with": { "for": 2_000 } },
    ]));
    stage.advance();
    stage.fail("a", broken());
    assert_eq!(stage.recover(RecoveryCause::Crashed), ["workflow_recovered crashed []"]);
    assert_eq!(stage.status("a"), StepStatus::Retrying);
    assert_eq!(stage.status("s"), StepStatus::Waiting);
    // Timers that became due meanwhile fire in the same append.
    stage.pass(2_000);
    assert_eq!(
        stage.recover(RecoveryCause::Crashed),
        ["workflow_recovered crashed []", "step_start a 2", "step_complete s 1"]
    );
}

#[test]
fn a_handover_is_told_only_if_it_cost_an_attempt() {
    let mut stage = Stage::new(json!([http("a", &[])]));
    assert_eq!(stage.recover(RecoveryCause::Handover), ["step_start a 1"]);
    assert_eq!(
        stage.recover(RecoveryCause::Handover),
        ["workflow_recovered handover [a]", "step_start a 2"]
    );
    assert_eq!(stage.state.recoveries, 0);
}

#[test]
fn a_takeover_of_a_failing_thread_ends_it() {
    let mut stage = Stage::new(json!([http("a", &[]), http("b", &[])]));
    stage.advance();
    stage.fail("a", refused());
    assert_eq!(
        stage.recover(RecoveryCause::Crashed),
        ["workflow_recovered crashed [b]", "workflow_failed http_status"]
    );
    assert_eq!(stage.resume(), ["workflow_resumed", "step_start a 2", "step_start b 2"]);
}

#[test]
fn an_ended_thread_tells_nothing_until_it_is_resumed() {
    for status in [ThreadStatus::Aborted, ThreadStatus::Failed, ThreadStatus::Completed] {
        let mut stage = Stage::new(json!([http("a", &[])]));
        stage.advance();
        let ended = if status == ThreadStatus::Aborted {
            stage.abort()
        } else if status == ThreadStatus::Failed {
            stage.fail("a", refused())
        } else {
            stage.complete("a", json!(1))
        };
        assert!(!ended.is_empty());
        assert_eq!(stage.state.status, status);
        assert_eq!(stage.pass(60_000).advance(), NOTHING);
        assert_eq!(stage.recover(RecoveryCause::Crashed), NOTHING);
        assert_eq!(stage.recover(RecoveryCause::Handover), NOTHING);
        let late = super::theatre::json_of(&json!(2));
        let late = Command::Attempt {
            attempt: AttemptId::own(0, 1),
            report: Report::Done { output: late, session_id: None },
        };
        assert_eq!(stage.decide(late), Err(Rejection::NotCurrent));
        let abort = asked(Request::Abort(Abort::default()));
        assert_eq!(stage.decide(abort), Err(Rejection::WrongState(status)));
    }
}

#[test]
fn only_what_has_ended_without_completing_can_be_resumed() {
    let resume = || asked(Request::Resume(Resume::default()));
    let mut stage = Stage::new(json!([http("a", &[])]));
    assert_eq!(stage.decide(resume()), Err(Rejection::WrongState(ThreadStatus::Queued)));
    stage.advance();
    assert_eq!(stage.decide(resume()), Err(Rejection::WrongState(ThreadStatus::Running)));
    stage.complete("a", json!(1));
    assert_eq!(stage.decide(resume()), Err(Rejection::WrongState(ThreadStatus::Completed)));
}

#[test]
fn an_abort_ends_every_wait_and_a_resume_goes_on_behind_what_is_done() {
    let mut stage = Stage::new(json!([
        http("a", &[]),
        http("b", &["a"]),
        http("c", &[]),
        { "id": "s", "kind": "sleep", "with": { "for": "1h" } },
    ]));
    stage.advance();
    stage.complete("a", json!(1));
    stage.fail("c", broken());
    assert_eq!(stage.abort(), ["workflow_aborted"]);
    assert_eq!(stage.state.next_wake(), None);
    assert!(stage.state.current_steps().is_empty());
    assert_eq!(
        stage.resume(),
        [
            "workflow_resumed",
            "step_start b 2",
            "step_start c 2",
            "step_start s 2",
            "step_waiting s 2",
        ]
    );
    assert_eq!(stage.state.completed_at, None);
}

#[test]
fn a_queued_thread_can_be_aborted_before_it_began() {
    let mut stage = Stage::new(json!([http("a", &[])]));
    assert_eq!(stage.abort(), ["workflow_aborted"]);
    assert_eq!(stage.resume(), ["workflow_resumed", "step_start a 1"]);
}

#[test]
fn nothing_starts_while_the_server_shuts_down() {
    let mut stage = Stage::new(json!([
        http("a", &[]),
        http("b", &["a"]),
        http("c", &[]),
        { "id": "s", "kind": "sleep", "with": { "for": 1_000 } },
    ]));
    stage.context.may_start = false;
    assert_eq!(stage.advance(), NOTHING);
    assert_eq!(stage.state.status, ThreadStatus::Queued);
    stage.context.may_start = true;
    stage.advance();
    stage.fail("c", broken());
    stage.context.may_start = false;
    stage.pass(2_000);
    assert_eq!(stage.complete("a", json!(1)), ["step_complete a 1"]);
    assert_eq!(stage.advance(), NOTHING);
    stage.context.may_start = true;
    assert_eq!(stage.advance(), ["step_start c 2", "step_complete s 1", "step_start b 1"]);
}

#[test]
fn a_thread_whose_last_step_ends_during_a_shutdown_ends() {
    let mut stage = Stage::new(json!([http("a", &[])]));
    stage.advance();
    stage.context.may_start = false;
    assert_eq!(stage.complete("a", json!(1)), ["step_complete a 1", "workflow_complete"]);
}

#[test]
fn a_quarantined_thread_starts_nothing_and_names_the_steps_that_were_under_way() {
    let mut stage = Stage::new(json!([http("a", &[]), http("b", &[]), http("c", &["a"])]));
    stage.advance();
    stage.complete("a", json!(1));
    let quarantine =
        Command::Quarantine { takeover: takeover(RecoveryCause::Crashed, 7), losses: 6 };
    assert_eq!(
        stage.decide(quarantine.clone()).unwrap(),
        ["workflow_recovered crashed [b c]", "workflow_paused", "intervention_opened poison [b c]"]
    );
    assert_eq!(stage.state.status, ThreadStatus::Paused);
    assert_eq!(stage.pass(3_600_000).advance(), NOTHING);
    assert_eq!(stage.state.next_wake(), None);
    assert_eq!(stage.decide(quarantine).unwrap(), ["workflow_recovered crashed []"], "it is");
    assert_eq!(
        stage.resume(),
        ["intervention_resolved resume", "workflow_resumed", "step_start b 2", "step_start c 2"]
    );
    assert_eq!(stage.state.open_interventions().count(), 0);
}

/// Returns the command that takes over and pauses a thread that kept a worker from going on.
fn condemned() -> Command {
    let takeover = Some(takeover(RecoveryCause::Frozen, 7));
    Command::Condemn { takeover, stood: std::time::Duration::from_secs(12) }
}

#[test]
fn a_condemned_thread_is_paused_without_a_look_at_what_it_would_do_next() {
    let mut stage = Stage::new(json!([http("a", &[]), http("b", &["a"]), http("c", &["b"])]));
    stage.advance();
    assert_eq!(
        stage.decide(condemned()).unwrap(),
        ["workflow_recovered frozen [a]", "workflow_paused", "intervention_opened poison [a]"]
    );
    let prompt = &stage.state.interventions[0].opened.prompt;
    assert!(prompt.contains("for 12 s") && prompt.ends_with("under way or next: a"), "{prompt}");
    assert_eq!(stage.pass(3_600_000).advance(), NOTHING);
    assert_eq!(stage.decide(condemned()).unwrap(), ["workflow_recovered frozen []"], "it is");
    assert_eq!(
        stage.resume(),
        ["intervention_resolved resume", "workflow_resumed", "step_start a 2"]
    );
}

#[test]
fn a_thread_that_stood_in_a_condition_names_the_steps_that_would_be_next() {
    let when = json!({ "when": "input == 1" });
    let mut stage = Stage::new(json!([http("a", &[]), http_with("b", &["a"], when)]));
    stage.advance();
    stage.context.may_start = false;
    stage.complete("a", json!(1));
    stage.context.may_start = true;
    let opened = "intervention_opened poison [b]";
    assert_eq!(
        stage.decide(condemned()).unwrap(),
        ["workflow_recovered frozen []", "workflow_paused", opened]
    );
    let driven = Command::Condemn { takeover: None, stood: std::time::Duration::ZERO };
    assert_eq!(stage.decide(driven).unwrap(), NOTHING, "it is paused");
}

#[test]
fn a_failing_thread_that_stood_is_paused_too_and_goes_on_failing_when_a_person_says_so() {
    let mut stage = Stage::new(json!([http("a", &[]), http("b", &[])]));
    stage.advance();
    stage.fail("a", refused());
    assert_eq!(
        stage.decide(condemned()).unwrap(),
        ["workflow_recovered frozen [b]", "workflow_paused", "intervention_opened poison [b]"]
    );
    stage.state.validate().unwrap();
    let resumed = stage.resume();
    assert_eq!(resumed[..2], ["intervention_resolved resume", "workflow_resumed"]);
    assert_eq!(stage.abort(), ["workflow_aborted"]);
    assert_eq!(stage.decide(condemned()), Err(Rejection::WrongState(ThreadStatus::Aborted)));
}

#[test]
fn only_takeovers_at_which_something_ran_count_and_only_until_the_thread_gets_on() {
    let policy = json!({ "retry": { "maxAttempts": 2 } });
    let mut stage = Stage::new(json!([http_with("a", &[], policy), http("b", &["a"])]));
    stage.advance();
    stage.recover(RecoveryCause::Crashed);
    stage.recover(RecoveryCause::Frozen);
    assert_eq!(stage.state.interrupted, 2);
    stage.recover(RecoveryCause::Handover);
    assert_eq!(stage.state.interrupted, 2, "nobody was lost");
    stage.fail("a", broken());
    assert_eq!(stage.state.interrupted, 2, "it has not got on");
    stage.recover(RecoveryCause::Crashed);
    assert_eq!(stage.state.interrupted, 2, "nothing of it ran");
    stage.pass(1_000).advance();
    stage.recover(RecoveryCause::Crashed);
    assert_eq!(stage.state.interrupted, 3);
    stage.complete("a", json!(1));
    assert_eq!(stage.state.interrupted, 0, "it got on");
    stage.recover(RecoveryCause::Crashed);
    let takeover = takeover(RecoveryCause::Crashed, 7);
    stage.decide(Command::Quarantine { takeover, losses: 6 }).unwrap();
    assert_eq!(stage.state.interrupted, 0, "a person decides");
}

#[test]
fn an_abort_answers_what_a_quarantined_thread_waits_for() {
    let mut stage = Stage::new(json!([http("a", &[])]));
    stage.advance();
    let takeover = takeover(RecoveryCause::Crashed, 7);
    stage.decide(Command::Quarantine { takeover, losses: 6 }).unwrap();
    let id = stage.state.interventions[0].opened.id.clone();
    assert!(id.starts_with(stage.state.thread_id.as_str()));
    assert_eq!(stage.abort(), ["intervention_resolved abort", "workflow_aborted"]);
}

#[test]
fn a_quarantine_of_a_failing_thread_ends_it() {
    let mut stage = Stage::new(json!([http("a", &[]), http("b", &[])]));
    stage.advance();
    stage.fail("a", refused());
    let takeover = takeover(RecoveryCause::Crashed, 7);
    assert_eq!(
        stage.decide(Command::Quarantine { takeover, losses: 6 }).unwrap(),
        ["workflow_recovered crashed [b]", "workflow_failed http_status"]
    );
}
