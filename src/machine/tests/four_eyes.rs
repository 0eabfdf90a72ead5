//! Four eyes: an actor who may not answer an approval has no way around it.

use serde_json::{Value, json};

use super::theatre::{Stage, broken, http, json_of, refused};
use crate::definition::StepIx;
use crate::machine::snapshot::encode;
use crate::machine::{Actor, Command, Fork, ForkRejection, Rejection, Request, Resume, fork};
use crate::model::{Role, StepStatus, ThreadStatus};

/// An actor with a proven name.
fn actor(by: &str, role: Role) -> Actor {
    Actor { by: by.to_owned(), role: Some(role), ..Actor::default() }
}

/// A thread started by "tests" that asks, by these terms, before it pays.
fn asking(terms: Value) -> Stage {
    let mut with = json!({ "prompt": "pay?" });
    for (key, value) in terms.as_object().unwrap() {
        with[key] = value.clone();
    }
    let steps = json!([
        http("quote", &[]),
        { "id": "ask", "kind": "approval", "dependsOn": ["quote"], "with": with },
        http("pay", &["ask"]),
    ]);
    let workflow = json!({ "name": "w", "steps": steps });
    let mut stage = Stage::with(workflow, json!({ "boss": "ann", "amount": 1 }));
    stage.advance();
    stage
}

fn asked(terms: Value) -> Stage {
    let mut stage = asking(terms);
    stage.complete("quote", json!(10));
    assert_eq!(stage.status("ask"), StepStatus::Waiting);
    stage
}

fn answer(stage: &mut Stage, actor: Actor) -> Result<(), Rejection> {
    let id = stage.asked().opened.id.clone();
    let ask = Request::Resolve { id, choice: "approve".to_owned(), digest: None };
    stage.decide(Command::Request(ask, actor)).map(|_| ())
}

#[track_caller]
fn is_refused<T: std::fmt::Debug>(answer: Result<T, Rejection>) {
    assert!(matches!(answer, Err(Rejection::NotAnApprover(_))), "{answer:?}");
}

#[test]
fn approvers_are_names_or_roles_and_nobody_else() {
    let table = [
        (json!({ "approvers": ["ann"] }), actor("ann", Role::Operator), true),
        (json!({ "approvers": ["ann"] }), actor("bob", Role::Admin), false),
        (json!({ "approvers": ["ann", "bob"] }), actor("bob", Role::Admin), true),
        (json!({ "approvers": ["{input.boss}"] }), actor("ann", Role::Operator), true),
        (json!({ "approvers": ["{input.boss}"] }), actor("bob", Role::Operator), false),
        (json!({ "approvers": ["operator"] }), actor("bob", Role::Admin), true),
        (json!({ "approvers": ["admin"] }), actor("bob", Role::Operator), false),
        // An entry that is the name of a role means the role, even if an actor has that name.
        (json!({ "approvers": ["admin"] }), actor("admin", Role::Operator), false),
        (json!({ "approvers": ["Ann"] }), actor("ann", Role::Operator), false),
        (json!({ "notBy": "starter" }), actor("tests", Role::Admin), false),
        (json!({ "notBy": "starter" }), actor("ann", Role::Operator), true),
        (json!({ "approvers": ["tests"], "notBy": "starter" }), actor("tests", Role::Admin), false),
        (json!({}), actor("tests", Role::Operator), true),
        (json!({}), actor("tests", Role::Invoker), false),
        // Where no name is proven, nobody is an approver.
        (
            json!({ "approvers": ["ann"] }),
            Actor { by: "ann".to_owned(), ..Actor::default() },
            false,
        ),
        (json!({ "notBy": "starter" }), Actor { by: "ann".to_owned(), ..Actor::default() }, false),
        (json!({}), Actor { by: "ann".to_owned(), ..Actor::default() }, true),
    ];
    for (terms, actor, allowed) in table {
        let mut stage = asked(terms.clone());
        let before = encode(&stage.state);
        let answered = answer(&mut stage, actor.clone());
        if allowed {
            assert_eq!(answered, Ok(()), "{terms} {actor:?}");
            assert_eq!(stage.status("ask"), StepStatus::Completed);
        } else {
            is_refused(answered);
            assert_eq!(encode(&stage.state), before, "{terms} {actor:?}");
        }
    }
}

#[test]
fn a_question_is_skipped_by_whoever_may_answer_it_alone() {
    let starter = || actor("tests", Role::Admin);
    for mut stage in [asked(json!({ "notBy": "starter" })), asking(json!({ "notBy": "starter" }))] {
        let step = stage.current("ask").step;
        let skip =
            || Request::Skip { step, output: Some(json_of(&json!({ "choice": "approve" }))) };
        is_refused(stage.decide(Command::Request(skip(), starter())));
        stage.decide(Command::Request(Request::Pause, starter())).unwrap();
        let resume = Request::Resume(Resume { skip: vec![step], ..Resume::default() });
        is_refused(stage.decide(Command::Request(resume.clone(), starter())));
        is_refused(stage.decide(Command::Request(resume, actor("ci", Role::Invoker))));
        stage.decide(Command::Request(skip(), actor("ann", Role::Operator))).unwrap();
    }
}

#[test]
fn what_cannot_be_known_yet_is_not_skipped() {
    let mut stage = asking(json!({ "approvers": ["{quote.output.boss}"] }));
    let step = stage.current("ask").step;
    let skip = Request::Skip { step, output: None };
    is_refused(stage.decide(Command::Request(skip, actor("ann", Role::Admin))));
}

#[test]
fn an_invoker_gets_around_no_approval_of_its_thread() {
    let invoker = || actor("tests", Role::Invoker);
    let mut stage = asked(json!({}));
    let step = stage.current("ask").step;
    is_refused(stage.decide(Command::Request(Request::Skip { step, output: None }, invoker())));
    answer(&mut stage, actor("ann", Role::Operator)).unwrap();
    stage.decide(Command::Request(Request::Pause, invoker())).unwrap();
    let edit = |step| Request::Edit { step, output: json_of(&json!(1_000_000)) };
    let quote = stage.current("quote").step;
    is_refused(stage.decide(Command::Request(edit(quote), invoker())));
    is_refused(stage.decide(Command::Request(edit(step), invoker())));
    let other = Request::Resume(Resume {
        input: Some(json_of(&json!({ "boss": "ann", "amount": 2 }))),
        ..Resume::default()
    });
    is_refused(stage.decide(Command::Request(other, invoker())));
    stage.decide(Command::Request(Request::Resume(Resume::default()), invoker())).unwrap();
}

#[test]
fn other_data_are_asked_about_again_and_not_by_whoever_gave_them() {
    let terms = || json!({ "notBy": "starter" });
    let mut stage = asked(terms());
    answer(&mut stage, actor("ann", Role::Operator)).unwrap();
    stage.fail("pay", broken());
    stage.decide(Command::Request(Request::Pause, actor("tests", Role::Admin))).unwrap();
    let input = || Some(json_of(&json!({ "boss": "ann", "amount": 2 })));
    let resume =
        |from_step| Request::Resume(Resume { from_step, input: input(), ..Resume::default() });
    is_refused(stage.decide(Command::Request(resume(None), actor("tests", Role::Admin))));
    let from = Some(stage.current("ask").step);
    stage.decide(Command::Request(resume(from), actor("bob", Role::Admin))).unwrap();
    assert_eq!(
        (stage.state.status, stage.status("ask")),
        (ThreadStatus::Running, StepStatus::Waiting)
    );
    is_refused(answer(&mut stage, actor("bob", Role::Admin)));
    is_refused(answer(&mut stage, actor("tests", Role::Admin)));
    answer(&mut stage, actor("ann", Role::Operator)).unwrap();
}

#[test]
fn a_fork_carries_no_approval_to_other_data() {
    let mut stage = asked(json!({ "approvers": ["ann"] }));
    answer(&mut stage, actor("ann", Role::Operator)).unwrap();
    let how = |edits: Vec<(StepIx, Value)>, input: Option<Value>, by: &str| Fork {
        edits: edits.into_iter().map(|(at, output)| (at, json_of(&output))).collect(),
        input: input.map(|input| json_of(&input)),
        actor: actor(by, Role::Admin),
    };
    let ask = stage.current("ask").step;
    let forked = |how: Fork| {
        let mut made = stage.state.clone();
        fork(&mut made, how, stage.context).map(|_| made)
    };
    let edited = forked(how(vec![(ask, json!({ "choice": "approve" }))], None, "bob"));
    assert!(matches!(edited, Err(ForkRejection::NotAnApprover(_))), "{edited:?}");
    let other = forked(how(vec![], Some(json!({ "boss": "bob" })), "bob"));
    assert!(matches!(other, Err(ForkRejection::NotAnApprover(_))), "{other:?}");
    let plain = forked(how(vec![], None, "bob"));
    assert!(matches!(plain, Err(ForkRejection::NotAnApprover(_))), "{plain:?}");
    assert!(forked(how(vec![], None, "ann")).is_ok());
    assert!(forked(how(vec![], Some(json!({ "boss": "bob" })), "ann")).is_ok());
    // Steps after an edited one run again, and ask again.
    let quote = |by| how(vec![(0.into(), json!(1_000_000))], None, by);
    let other = forked(quote("bob"));
    assert!(matches!(other, Err(ForkRejection::NotAnApprover(_))), "{other:?}");
    let again = forked(quote("ann")).unwrap();
    assert_ne!(again.steps[ask].status(), StepStatus::Completed);
}

#[test]
fn an_answer_holds_for_one_run_of_what_follows_it() {
    let mut stage = asked(json!({ "notBy": "starter" }));
    let ask = stage.current("ask").step;
    // Before the answer a fork asks for itself.
    let how = |by| Fork { edits: vec![], input: None, actor: actor(by, Role::Admin) };
    fork(&mut stage.state.clone(), how("tests"), stage.context).unwrap();
    answer(&mut stage, actor("ann", Role::Operator)).unwrap();
    let forked = |stage: &Stage, by| fork(&mut stage.state.clone(), how(by), stage.context);
    let repeated = forked(&stage, "tests");
    assert!(matches!(repeated, Err(ForkRejection::NotAnApprover(_))), "{repeated:?}");
    forked(&stage, "bob").unwrap();
    let pay = stage.current("pay").step;
    let resume = |from_step| Request::Resume(Resume { from_step, ..Resume::default() });
    // What has failed is tried again on the same answer; what was done is not done again on it.
    stage.fail("pay", refused());
    let failed = stage.state.clone();
    for from_step in [None, Some(pay), Some(ask)] {
        stage.state = failed.clone();
        stage.decide(Command::Request(resume(from_step), actor("tests", Role::Admin))).unwrap();
    }
}

#[test]
fn what_was_done_on_an_answer_is_done_again_by_whoever_may_give_it() {
    let steps = json!([
        { "id": "ask", "kind": "approval", "with": { "prompt": "pay?", "notBy": "starter" } },
        http("pay", &["ask"]),
        http("tell", &["pay"]),
    ]);
    let mut stage = Stage::with(json!({ "name": "w", "steps": steps }), json!({}));
    stage.advance();
    answer(&mut stage, actor("ann", Role::Operator)).unwrap();
    let [ask, pay] = ["ask", "pay"].map(|id| stage.current(id).step);
    stage.complete("pay", json!(1));
    stage.fail("tell", refused());
    assert_eq!(stage.state.status, ThreadStatus::Failed);
    let resume = |from_step| Request::Resume(Resume { from_step, ..Resume::default() });
    let failed = stage.state.clone();
    let starter = || actor("tests", Role::Admin);
    is_refused(stage.decide(Command::Request(resume(Some(pay)), starter())));
    for (from_step, by) in
        [(None, starter()), (Some(ask), starter()), (Some(pay), actor("bob", Role::Admin))]
    {
        stage.state = failed.clone();
        stage.decide(Command::Request(resume(from_step), by)).unwrap();
    }
}
