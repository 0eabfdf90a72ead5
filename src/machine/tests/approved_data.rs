//! Four eyes on data: nobody who could not answer an approval can change the data that decide
//! whether it is asked, what it is about, or what goes on because of it.

use serde_json::{Value, json};

use super::theatre::{Stage, http, http_with, json_of, refused};
use crate::definition::StepIx;
use crate::machine::snapshot::encode;
use crate::machine::{
    Actor, Command, Fork, ForkRejection, Rejection, Request, Resume, ThreadState, fork,
};
use crate::model::{Role, StepStatus, ThreadStatus};

fn actor(by: &str, role: Role) -> Actor {
    Actor { by: by.to_owned(), role: Some(role), ..Actor::default() }
}

/// The starter of the thread, somebody else, and the one who may answer.
fn people() -> [(Actor, bool); 3] {
    [
        (actor("tests", Role::Invoker), false),
        (actor("carol", Role::Admin), false),
        (actor("bob", Role::Operator), true),
    ]
}

/// A release: `approve` asks where the scan found a risk, `build` stands beside it, `gate` says
/// after it whether to go on, and nothing depends on the output of `note`.
fn release() -> Stage {
    let approve = json!({
        "id": "approve", "kind": "approval", "dependsOn": ["scan"], "when": "scan.output.risk > 3",
        "with": {
            "prompt": "risk {scan.output.risk}?", "approvers": ["bob"], "notBy": "starter"
        },
    });
    let steps = json!([
        http("scan", &[]),
        approve,
        http("build", &[]),
        http("gate", &["approve"]),
        http("deploy", &["build", "gate"]),
        http("note", &["approve"]),
        http("aside", &[]),
    ]);
    let mut stage = Stage::with(json!({ "name": "w", "steps": steps }), json!({ "to": "prod" }));
    stage.advance();
    stage
}

/// A release that asks.
fn asking() -> Stage {
    let mut stage = release();
    stage.complete("scan", json!({ "risk": 9 }));
    assert_eq!(stage.status("approve"), StepStatus::Waiting);
    stage
}

/// A release that was answered with a no.
fn answered() -> Stage {
    let mut stage = asking();
    let id = stage.asked().opened.id.clone();
    let ask = Request::Resolve { id, choice: "reject".to_owned(), digest: None };
    stage.decide(Command::Request(ask, actor("bob", Role::Operator))).unwrap();
    stage
}

fn paused(mut stage: Stage) -> Stage {
    stage.decide(Command::Request(Request::Pause, actor("tests", Role::Invoker))).unwrap();
    stage
}

fn at(stage: &Stage, id: &str) -> StepIx {
    stage.current(id).step
}

fn skip(stage: &Stage, id: &str, output: Option<Value>) -> Request {
    Request::Skip { step: at(stage, id), output: output.map(|output| json_of(&output)) }
}

fn edit(stage: &Stage, id: &str, output: Value) -> Request {
    Request::Edit { step: at(stage, id), output: json_of(&output) }
}

fn forked(
    stage: &Stage,
    edits: &[(&str, Value)],
    actor: Actor,
) -> Result<ThreadState, ForkRejection> {
    let edits = edits.iter().map(|(id, output)| (at(stage, id), json_of(output))).collect();
    let mut made = stage.state.clone();
    fork(&mut made, Fork { edits, input: None, actor }, stage.context).map(|_| made)
}

/// Asserts that a request is refused, without a change, to all but those who may answer.
#[track_caller]
fn wants_an_approver(stage: &Stage, ask: &Request) {
    for (actor, may) in people() {
        let mut stage = stage.clone();
        let before = encode(&stage.state);
        let answer = stage.decide(Command::Request(ask.clone(), actor.clone()));
        if may {
            assert!(answer.is_ok(), "{ask:?} {actor:?}: {answer:?}");
        } else {
            assert!(
                matches!(answer, Err(Rejection::NotAnApprover(_))),
                "{ask:?} {actor:?}: {answer:?}"
            );
            assert_eq!(encode(&stage.state), before);
        }
    }
}

#[track_caller]
fn is_free(stage: &Stage, ask: &Request) {
    for (actor, _) in people() {
        let answer = stage.clone().decide(Command::Request(ask.clone(), actor.clone()));
        assert!(answer.is_ok(), "{ask:?} {actor:?}: {answer:?}");
    }
}

#[test]
fn a_condition_is_decided_by_nobody_who_could_not_answer() {
    let low = || json!({ "risk": 0 });
    let asked = paused(asking());
    wants_an_approver(&asked, &edit(&asked, "scan", low()));
    let before = release();
    wants_an_approver(&before, &skip(&before, "scan", Some(low())));
    wants_an_approver(&before, &skip(&before, "scan", None));
    let without = |stage: &Stage| {
        Request::Resume(Resume { skip: vec![at(stage, "scan")], ..Resume::default() })
    };
    let before = paused(before);
    wants_an_approver(&before, &without(&before));
    for stage in [asking(), asked, answered()] {
        for (actor, may) in people() {
            let made = forked(&stage, &[("scan", low())], actor.clone());
            assert_eq!(made.is_ok(), may, "{actor:?}: {made:?}");
        }
    }
}

#[test]
fn who_may_answer_may_decide_that_nothing_is_asked() {
    let mut stage = paused(asking());
    let bob = || actor("bob", Role::Operator);
    let low = edit(&stage, "scan", json!({ "risk": 0 }));
    stage.decide(Command::Request(low, bob())).unwrap();
    let from_step = Some(at(&stage, "approve"));
    let resume = Request::Resume(Resume { from_step, ..Resume::default() });
    stage.decide(Command::Request(resume, actor("tests", Role::Invoker))).unwrap();
    assert_eq!(stage.status("approve"), StepStatus::Skipped);
}

#[test]
fn what_was_passed_by_for_other_data_is_no_licence() {
    let mut stage = release();
    stage.complete("scan", json!({ "risk": 1 }));
    assert_eq!(stage.status("approve"), StepStatus::Skipped);
    let stage = paused(stage);
    wants_an_approver(&stage, &edit(&stage, "scan", json!({ "risk": 9 })));
}

#[test]
fn what_follows_an_approval_is_not_let_go_on_without_it() {
    let yes = || json!({ "ok": true });
    for stage in [asking(), answered()] {
        wants_an_approver(&stage, &skip(&stage, "gate", Some(yes())));
        wants_an_approver(&stage, &skip(&stage, "gate", None));
    }
    let mut stage = answered();
    stage.complete("gate", json!({ "ok": false }));
    let stage = paused(stage);
    wants_an_approver(&stage, &edit(&stage, "gate", yes()));
    assert!(forked(&stage, &[("gate", yes())], actor("tests", Role::Invoker)).is_err());
}

#[test]
fn what_is_used_beside_an_approval_is_not_put_in_place_after_it() {
    let mut stage = answered();
    stage.complete("build", json!("image:1"));
    let stage = paused(stage);
    wants_an_approver(&stage, &edit(&stage, "build", json!("image:2")));
}

#[test]
fn what_nothing_goes_by_is_free() {
    let mut stage = answered();
    stage.complete("gate", json!({ "ok": true }));
    for step in ["note", "deploy", "aside"] {
        is_free(&stage, &skip(&stage, step, None));
    }
    stage.complete("aside", json!(1));
    stage.complete("note", json!("done"));
    let stage = paused(stage);
    is_free(&stage, &edit(&stage, "aside", json!(2)));
    is_free(&stage, &Request::Resume(Resume { from_step: Some(0.into()), ..Resume::default() }));
}

#[test]
fn a_filter_that_reads_the_whole_scope_goes_by_every_step() {
    let steps = json!([
        http("far", &[]),
        { "id": "sum", "kind": "transform", "with": { "jq": ".steps.far.output" } },
        { "id": "ask", "kind": "approval", "dependsOn": ["sum"],
          "with": { "prompt": "p", "approvers": ["bob"] } },
    ]);
    let mut stage = Stage::new(steps);
    stage.advance();
    wants_an_approver(&stage, &skip(&stage, "far", Some(json!(1))));
}

#[test]
fn another_input_is_given_by_nobody_who_could_not_answer_where_anything_stands() {
    let other = |from_step| {
        let input = Some(json_of(&json!({ "to": "test" })));
        Request::Resume(Resume { from_step, input, ..Resume::default() })
    };
    let mut stage = asking();
    stage.complete("build", json!(1));
    let stage = paused(stage);
    wants_an_approver(&stage, &other(None));
    wants_an_approver(&stage, &other(Some(at(&stage, "approve"))));
    wants_an_approver(&stage, &other(Some(at(&stage, "scan"))));
    // The whole thread begins again: it is as good as a new thread, which asks as well.
    let steps = json!([
        http("scan", &[]),
        { "id": "ask", "kind": "approval", "dependsOn": ["scan"],
          "with": { "prompt": "p", "notBy": "starter" } },
    ]);
    let mut stage = Stage::new(steps);
    stage.advance();
    stage.complete("scan", json!(1));
    is_free(&paused(stage), &other(Some(0.into())));
}

#[test]
fn who_may_answer_is_known_before_what_is_asked() {
    let steps = json!([
        http("scan", &[]),
        { "id": "ask", "kind": "approval", "dependsOn": ["scan"],
          "with": { "prompt": "{scan.output.risk}", "approvers": ["bob"], "notBy": "starter" } },
    ]);
    let mut stage = Stage::new(steps);
    stage.advance();
    stage.fail("scan", refused());
    assert_eq!(stage.state.status, ThreadStatus::Failed);
    wants_an_approver(&stage, &skip(&stage, "scan", Some(json!({ "risk": 9 }))));
}

#[test]
fn a_fallback_that_asks_is_not_avoided_either() {
    let asks = json!({ "fallback": {
        "kind": "approval", "with": { "prompt": "p", "approvers": ["bob"] }
    } });
    let mut stage = Stage::new(json!([http_with("pay", &[], asks), http("ship", &["pay"])]));
    stage.advance();
    wants_an_approver(&stage, &skip(&stage, "pay", Some(json!("paid"))));
}

#[test]
fn an_invoker_changes_no_data_of_a_plain_question() {
    let steps = json!([
        http("scan", &[]),
        { "id": "ask", "kind": "approval", "dependsOn": ["scan"], "when": "scan.output > 3",
          "with": { "prompt": "p" } },
    ]);
    let mut stage = Stage::new(steps);
    stage.advance();
    let low = skip(&stage, "scan", Some(json!(0)));
    let refused =
        stage.clone().decide(Command::Request(low.clone(), actor("tests", Role::Invoker)));
    assert!(matches!(refused, Err(Rejection::NotAnApprover(_))), "{refused:?}");
    stage.decide(Command::Request(low, actor("tests", Role::Operator))).unwrap();
}
