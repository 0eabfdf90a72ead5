//! Explanations of a thread whose end is near or past: the steps that were undone, and the result
//! of another try.

use serde_json::json;

use super::{facts, only, operation, told};
use crate::contract::{CauseKind, Operation};
use crate::explain::KnownCircuit;
use crate::machine::tests::theatre::{Stage, asked, broken, done, http, http_with, json_of};
use crate::machine::{Abort, Report, Request};

#[test]
fn what_was_undone_is_told_before_it_is_done_again() {
    let undo = json!({ "kind": "http", "with": { "url": "http://u/" } });
    let mut stage =
        Stage::new(json!([http_with("a", &[], json!({ "compensate": undo })), http("b", &["a"]),]));
    stage.advance();
    stage.complete("a", json!(1));
    stage.decide(asked(Request::Abort(Abort { compensate: true, ..Abort::default() }))).unwrap();
    let what = Report::Failed { failure: broken(), retry_after: None };
    stage.undo("a", what);

    // Its next attempt would be refused, and so lost.
    let mut known = facts(&stage);
    let circuit = KnownCircuit {
        key: "u:80".to_owned(),
        state: Some("open"),
        failures: 5,
        opened_at: None,
        retry_at: None,
        cools_until: None,
    };
    known.circuits.insert(0.into(), circuit);
    let refused = only(&stage, &known, CauseKind::Compensating);
    assert!(refused.sentence.contains("The circuit of u:80 refuses attempts"), "{refused:#?}");
    assert_eq!(operation(refused), Operation::Abort { compensate: None });

    let mut paused = stage.clone();
    paused.decide(asked(Request::Pause)).unwrap();
    let half = only(&paused, &facts(&paused), CauseKind::Paused);
    assert!(half.sentence.contains("while its steps were being undone"), "{half:#?}");
    assert!(half.advice.unwrap().does.starts_with("goes on undoing"));

    stage.pass(60_000).advance();
    stage.undo("a", done());
    let aborted = only(&stage, &facts(&stage), CauseKind::Aborted);
    assert!(aborted.sentence.ends_with("Undone: a."), "{aborted:#?}");
    let advice = aborted.advice.unwrap();
    assert_eq!(advice.operation, Operation::Resume);
    assert!(advice.does.contains("what was undone"), "{advice:#?}");
}

#[test]
fn a_wait_that_is_over_is_worth_another_try() {
    let step = json!({ "id": "w", "kind": "signal", "with": { "name": "go", "timeout": "1s" } });
    let mut stage =
        Stage::with(json!({ "name": "w", "timeout": "1h", "steps": [step] }), json!({}));
    stage.advance();
    stage
        .decide(asked(Request::Signal { name: "og".to_owned(), payload: json_of(&json!(1)) }))
        .unwrap();
    let waits = told(&stage, &facts(&stage)).causes.remove(0);
    assert!(waits.sentence.ends_with("other names have come, and are kept: og."), "{waits:#?}");
    assert_eq!(waits.detail["kept"], json!(["og"]));
    stage.pass(1_000).advance();
    let failed = only(&stage, &facts(&stage), CauseKind::Failed);
    assert!(failed.sentence.ends_with("A resume waits anew, for all of its time."), "{failed:#?}");
}

#[test]
fn a_thread_that_ran_out_of_time_is_not_told_as_a_step_that_failed() {
    let step = json!({ "id": "w", "kind": "signal", "with": { "name": "go" } });
    let mut body = json!({ "name": "w", "timeout": "1s", "steps": [step] });
    let mut stage = Stage::with(body.clone(), json!({}));
    stage.advance();
    stage.pass(1_000).advance();
    let failed = only(&stage, &facts(&stage), CauseKind::Failed);
    assert!(failed.sentence.ends_with("A resume gives it all of that time again."), "{failed:#?}");
    body["onFailure"] = json!("pause");
    let mut stage = Stage::with(body, json!({}));
    stage.advance();
    stage.pass(1_000).advance();
    let asks = told(&stage, &facts(&stage));
    assert!(asks.sentence.starts_with("The thread would fail (workflow_timeout: "), "{asks:#?}");
}
