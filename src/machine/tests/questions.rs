//! Questions to people: bound to their data, and escalated when nobody decides.

use serde_json::{Value, json};

use super::theatre::{DAWN, Stage, asked, broken, http, http_with, json_of};
use crate::machine::{Rejection, Request, Resume};
use crate::model::{EventBody, StepStatus, ThreadStatus, Timestamp, canonical_digest};

/// A step, and an approval of its output.
fn asking(more: Value) -> Stage {
    let mut with = json!({ "prompt": "{input.what}: {a.output}?" });
    for (key, value) in more.as_object().unwrap() {
        with[key] = value.clone();
    }
    let steps = json!([
        http("a", &[]),
        { "id": "w", "kind": "approval", "dependsOn": ["a"], "with": with },
    ]);
    let mut stage = Stage::with(json!({ "name": "w", "steps": steps }), json!({ "what": "x" }));
    stage.advance();
    let opened = stage.complete("a", json!(1));
    assert_eq!(
        opened[1..],
        ["step_start w 1", "step_waiting w 1", "intervention_opened approval [w]"]
    );
    stage
}

fn digest_of(with: Value) -> String {
    canonical_digest(&json_of(&with))
}

fn resolve(stage: &Stage, digest: Option<String>) -> crate::machine::Command {
    let id = stage.asked().opened.id.clone();
    asked(Request::Resolve { id, choice: "approve".to_owned(), digest })
}

#[test]
fn a_decision_holds_for_what_was_seen_alone() {
    let mut stage = asking(json!({ "timeout": "1h" }));
    let digest = Some(digest_of(json!({ "timeout": "1h", "prompt": "x: 1?" })));
    assert_eq!(stage.asked().opened.digest, digest);
    let other = resolve(&stage, Some("0".repeat(64)));
    assert_eq!(stage.decide(other), Err(Rejection::OtherDigest(digest.clone())));
    let loud = resolve(&stage, digest.as_deref().map(str::to_uppercase));
    assert_eq!(stage.decide(loud).unwrap()[0], "intervention_resolved approve");
    let EventBody::InterventionResolved(data) = &stage.journal[stage.journal.len() - 3].body else {
        panic!("{:#?}", stage.journal)
    };
    assert_eq!(data.digest, digest);
}

#[test]
fn what_has_no_digest_is_not_decided_by_one() {
    let step = http_with("a", &[], json!({ "retry": { "maxAttempts": 1 } }));
    let workflow = json!({ "name": "w", "onFailure": "pause", "steps": [step] });
    let mut stage = Stage::with(workflow, json!({}));
    stage.advance();
    stage.fail("a", broken());
    let id = stage.asked().opened.id.clone();
    let digest = Some("0".repeat(64));
    let refused = asked(Request::Resolve { id, choice: "retry".to_owned(), digest });
    assert_eq!(stage.decide(refused), Err(Rejection::OtherDigest(None)));
}

#[test]
fn an_edited_output_withdraws_the_question_about_it_and_a_resume_asks_anew() {
    let mut stage = asking(json!({ "timeout": "1m" }));
    stage.decide(asked(Request::Pause)).unwrap();
    let old = stage.asked().opened.clone();
    let edit =
        |output: i32| asked(Request::Edit { step: 0.into(), output: json_of(&json!(output)) });
    assert_eq!(
        stage.pass(10_000).decide(edit(2)).unwrap(),
        ["step_edited a", "intervention_resolved changed"]
    );
    let id = old.id.clone();
    let late = asked(Request::Resolve { id, choice: "approve".to_owned(), digest: None });
    assert!(matches!(stage.decide(late), Err(Rejection::Resolved { .. })));
    assert_eq!(stage.decide(edit(3)).unwrap(), ["step_edited a"]);
    assert_eq!(
        stage.resume(),
        ["workflow_resumed", "step_waiting w 1", "intervention_opened approval [w]"]
    );
    let new = stage.asked().opened.clone();
    assert_eq!(
        (new.prompt.as_str(), new.digest),
        ("x: 3?", Some(digest_of(json!({ "prompt": "x: 3?", "timeout": "1m" }))))
    );
    assert_ne!((&old.id, &old.digest), (&new.id, &stage.asked().opened.digest));
    // A question that is asked anew has its whole timeout again.
    assert_eq!(new.expires_at, Some(Timestamp::from_millis(DAWN + 70_000)));
    assert_eq!(stage.state.next_wake(), new.expires_at);
    stage.resolve("approve");
    assert_eq!(stage.state.status, ThreadStatus::Completed);
}

#[test]
fn another_input_asks_anew_and_the_same_one_does_not() {
    let mut stage = asking(json!({}));
    stage.decide(asked(Request::Pause)).unwrap();
    let with = |input: Value| {
        asked(Request::Resume(Resume { input: Some(json_of(&input)), ..Resume::default() }))
    };
    let mut same = stage.clone();
    let unseen = with(json!({ "what": "x", "more": 1 }));
    assert_eq!(same.decide(unseen).unwrap(), ["workflow_resumed"]);
    assert_eq!(
        stage.decide(with(json!({ "what": "y" }))).unwrap(),
        [
            "workflow_resumed",
            "intervention_resolved changed",
            "step_waiting w 1",
            "intervention_opened approval [w]"
        ]
    );
    assert_eq!(stage.asked().opened.prompt, "y: 1?");
}

#[test]
fn what_cannot_be_asked_any_more_fails_its_step() {
    let mut stage = asking(json!({}));
    stage.decide(asked(Request::Pause)).unwrap();
    let input = Some(json_of(&json!({})));
    let resume = asked(Request::Resume(Resume { input, ..Resume::default() }));
    assert_eq!(
        stage.decide(resume).unwrap(),
        [
            "workflow_resumed",
            "intervention_resolved changed",
            "step_failed w 1 template_unresolved",
            "workflow_failed template_unresolved"
        ]
    );
}

#[test]
fn a_fallback_that_asks_about_its_own_step_is_not_asked_anew_for_nothing() {
    let fallback = json!({ "kind": "approval", "with": { "prompt": "{a.status} {a.error.code}" } });
    let more = json!({ "retry": { "maxAttempts": 1 }, "fallback": fallback });
    let mut stage = Stage::new(json!([http_with("a", &[], more)]));
    stage.advance();
    stage.fail("a", broken());
    assert_eq!(stage.asked().opened.prompt, "running connection_failed");
    stage.decide(asked(Request::Pause)).unwrap();
    assert_eq!(stage.resume(), ["workflow_resumed"]);
}

#[test]
fn a_question_that_nobody_answers_is_escalated_once_and_expires_later() {
    let mut stage = asking(json!({ "escalateAfter": "10s", "timeout": "30s" }));
    assert_eq!(stage.state.next_wake(), Some(Timestamp::from_millis(DAWN + 10_000)));
    assert!(stage.pass(9_999).advance().is_empty());
    assert_eq!(stage.pass(1).advance(), ["intervention_escalated approval"]);
    let EventBody::InterventionEscalated(data) = stage.last() else { panic!() };
    assert_eq!((data.prompt.as_str(), data.steps.len()), ("x: 1?", 1));
    assert_eq!(data.opened_at, Timestamp::from_millis(DAWN));
    assert!(stage.advance().is_empty());
    assert_eq!(stage.state.next_wake(), Some(Timestamp::from_millis(DAWN + 30_000)));
    assert_eq!(
        stage.pass(20_000).advance(),
        [
            "intervention_resolved expired",
            "step_failed w 1 wait_timeout",
            "workflow_failed wait_timeout"
        ]
    );
}

#[test]
fn what_was_decided_in_time_is_not_escalated() {
    let mut stage = asking(json!({ "escalateAfter": "10s" }));
    stage.resolve("approve");
    assert!(stage.pass(60_000).advance().is_empty());
}

#[test]
fn a_patience_that_outlasts_the_timeout_fails_the_step() {
    let with = json!({ "prompt": "?", "escalateAfter": "{input.after}", "timeout": "5s" });
    let steps = json!([{ "id": "w", "kind": "approval", "with": with }]);
    let mut stage = Stage::with(json!({ "name": "w", "steps": steps }), json!({ "after": "5s" }));
    assert_eq!(
        stage.advance()[1..],
        ["step_failed w 1 invalid_configuration", "workflow_failed invalid_configuration"]
    );
}

#[test]
fn the_workflows_patience_holds_for_all_that_is_asked_and_in_a_pause_as_well() {
    let steps = json!([
        http_with("a", &[], json!({ "check": "'blocked'" })),
        { "id": "w", "kind": "approval", "with": { "prompt": "?", "timeout": "5s" } },
        { "id": "v", "kind": "approval", "with": { "prompt": "?", "escalateAfter": "20s" } },
        http_with("b", &[], json!({ "retry": { "maxAttempts": 1 } })),
    ]);
    let workflow =
        json!({ "name": "w", "steps": steps, "onFailure": "pause", "escalateAfter": "10s" });
    let mut stage = Stage::with(workflow, json!({}));
    stage.advance();
    stage.complete("a", json!(1));
    let at = |stage: &Stage| -> Vec<Option<i64>> {
        let all = stage.state.interventions.iter();
        all.map(|one| one.opened.escalates_at.map(|at| at.millis() - DAWN)).collect()
    };
    // An approval that expires before its escalation is not escalated.
    assert_eq!(at(&stage), [None, Some(20_000), Some(10_000)]);
    stage.pass(1_000).fail("b", broken());
    assert_eq!(stage.state.status, ThreadStatus::Paused);
    assert_eq!(stage.pass(9_000).advance(), ["intervention_escalated blocked"]);
    assert_eq!(stage.state.next_wake(), Some(Timestamp::from_millis(DAWN + 11_000)));
    assert_eq!(stage.pass(1_000).advance(), ["intervention_escalated failure"]);
    assert_eq!(stage.pass(9_000).advance(), ["intervention_escalated approval"]);
    assert_eq!(stage.state.next_wake(), None);
    assert_eq!(stage.status("b"), StepStatus::Failed);
}
