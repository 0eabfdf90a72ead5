//! States that no history leads to are rejected; states that one leads to pass (see `properties`).

use serde_json::json;

use super::theatre::{Stage, broken, http, http_with};
use crate::machine::{BlockedOutput, Holder, Phase, ThreadState, Track, Wants};
use crate::model::{Json, ThreadStatus, Timestamp};

/// `a` has completed, `b` retries, `c` waits for both.
fn running() -> ThreadState {
    let mut stage = Stage::new(json!([
        http("a", &[]),
        http_with("b", &[], json!({ "retry": { "maxAttempts": 3 } })),
        http("c", &["a", "b"]),
    ]));
    stage.advance();
    stage.complete("a", json!(1));
    stage.fail("b", broken());
    stage.state
}

fn completed() -> ThreadState {
    let mut stage = Stage::new(json!([http("a", &[])]));
    stage.advance();
    stage.complete("a", json!(1));
    stage.state
}

#[track_caller]
fn refused(state: fn() -> ThreadState, because: &str, spoil: fn(&mut ThreadState)) {
    let mut state = state();
    assert_eq!(state.validate(), Ok(()));
    spoil(&mut state);
    let found = state.validate().expect_err(because).to_string();
    assert!(found.contains(because), "{found}, not {because}");
}

#[test]
fn contradictions_within_a_step_are_told() {
    refused(running, "step b: a retry follows a failed attempt", |state| {
        state.steps[1].own.error = None;
    });
    refused(running, "step b: it fails no more often than its policy has", |state| {
        (state.steps[1].own.attempts, state.steps[1].own.failures, state.last_seq) = (9, 4, 99);
    });
    refused(running, "step b: it fails no more often than it is tried", |state| {
        state.steps[1].own.failures = 2;
    });
    refused(running, "step a: a completed step has an output", |state| {
        state.steps[0].output = None;
    });
    refused(running, "step a: it has a time of its end", |state| {
        state.steps[0].completed_at = None;
    });
    refused(running, "step a: what runs has an attempt", |state| {
        let phase = Phase::Running { holder: Holder::Replica, warned: false, stale: false };
        state.steps[0].own = Track { phase, ..Track::default() };
        (state.steps[0].completed_at, state.steps[0].admitted) = (None, false);
    });
    refused(running, "step b: an output is blocked by a check", |state| {
        let output = BlockedOutput { output: Json::null(), duration_ms: 0, session_id: None };
        state.steps[1].own.phase = Phase::Blocked(output);
    });
    refused(running, "step b: an attempt that somebody works at has a holder", |state| {
        let holder = Holder::Nobody { until: None, wants: Wants::Time };
        state.steps[1].own.phase = Phase::Running { holder, warned: false, stale: false };
    });
    refused(running, "step b: only what has completed is undone", |state| {
        state.steps[1].compensation = state.steps[0].own.clone();
    });
    refused(running, "step a: only a planned compensation undoes it", |state| {
        state.steps[0].compensation = state.steps[0].own.clone();
    });
    refused(running, "step b: an attempt has a time", |state| state.steps[1].started_at = None);
}

#[test]
fn contradictions_between_steps_and_the_thread_are_told() {
    refused(running, "step c: a step begins once all it depends on has ended", |state| {
        state.steps[2] = state.steps[0].clone();
    });
    refused(running, "step b: no step is under way in an ended thread", |state| {
        state.status = ThreadStatus::Aborted;
        state.completed_at = Some(state.updated_at);
    });
    refused(running, "step a: no step of a queued thread has begun", |state| {
        state.status = ThreadStatus::Queued;
    });
    refused(running, "step b: a thread says why its step has failed", |state| {
        state.steps[1].own.phase = Phase::Failed { continued: false };
        state.steps[1].completed_at = Some(state.updated_at);
    });
    refused(completed, "step a: each step of a completed thread has ended", |state| {
        state.steps[0].own.phase = Phase::Idle;
        state.steps[0].completed_at = None;
    });
}

#[test]
fn contradictions_of_the_whole_are_told() {
    refused(running, "its plan is that of its workflow", |state| {
        state.workflow.hash = "other".to_owned();
    });
    refused(running, "no more attempts and recoveries than events", |state| state.recoveries = 9);
    refused(running, "it was made before it was changed", |state| {
        state.updated_at = Timestamp::from_millis(0);
    });
    refused(running, "it has a time of its end if it has ended", |state| {
        state.completed_at = Some(state.updated_at);
    });
    refused(running, "it has an output if it has completed", |state| {
        state.output = Some(Json::null());
    });
    refused(completed, "it has an output if it has completed", |state| state.output = None);
    refused(completed, "what has failed says why", |state| {
        state.status = ThreadStatus::Failed;
        state.output = None;
    });
}
