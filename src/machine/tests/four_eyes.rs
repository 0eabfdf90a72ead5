//! Four eyes: an actor who may not answer an approval has no way around it.

use serde_json::{Value, json};

use super::theatre::{Stage, broken, http, json_of};
use crate::definition::StepIx;
use crate::machine::snapshot::encode;
use crate::machine::{Ask, Command, Fork, ForkRejection, Rejection, Resume, Who, fork};
use crate::model::{Role, StepStatus, ThreadStatus};

/// An actor with a proven name.
fn who(by: &str, role: Role) -> Who {
    Who { by: by.to_owned(), role: Some(role), ..Who::default() }
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

fn answer(stage: &mut Stage, who: Who) -> Result<(), Rejection> {
    let id = stage.asked().opened.id.clone();
    let ask = Ask::Resolve { id, choice: "approve".to_owned(), digest: None };
    stage.decide(Command::Ask(ask, who)).map(|_| ())
}

#[track_caller]
fn is_refused<T: std::fmt::Debug>(answer: Result<T, Rejection>) {
    assert!(matches!(answer, Err(Rejection::NotAnApprover(_))), "{answer:?}");
}

#[test]
fn approvers_are_names_or_roles_and_nobody_else() {
    let table = [
        (json!({ "approvers": ["ann"] }), who("ann", Role::Operator), true),
        (json!({ "approvers": ["ann"] }), who("bob", Role::Admin), false),
        (json!({ "approvers": ["ann", "bob"] }), who("bob", Role::Admin), true),
        (json!({ "approvers": ["{input.boss}"] }), who("ann", Role::Operator), true),
        (json!({ "approvers": ["{input.boss}"] }), who("bob", Role::Operator), false),
        (json!({ "approvers": ["operator"] }), who("bob", Role::Admin), true),
        (json!({ "approvers": ["admin"] }), who("bob", Role::Operator), false),
        // An entry that is the name of a role means the role, even if an actor has that name.
        (json!({ "approvers": ["admin"] }), who("admin", Role::Operator), false),
        (json!({ "approvers": ["Ann"] }), who("ann", Role::Operator), false),
        (json!({ "notBy": "starter" }), who("tests", Role::Admin), false),
        (json!({ "notBy": "starter" }), who("ann", Role::Operator), true),
        (json!({ "approvers": ["tests"], "notBy": "starter" }), who("tests", Role::Admin), false),
        (json!({}), who("tests", Role::Operator), true),
        (json!({}), who("tests", Role::Invoker), false),
        // Where no name is proven, nobody is an approver.
        (json!({ "approvers": ["ann"] }), Who { by: "ann".to_owned(), ..Who::default() }, false),
        (json!({ "notBy": "starter" }), Who { by: "ann".to_owned(), ..Who::default() }, false),
        (json!({}), Who { by: "ann".to_owned(), ..Who::default() }, true),
    ];
    for (terms, who, allowed) in table {
        let mut stage = asked(terms.clone());
        let before = encode(&stage.state);
        let answered = answer(&mut stage, who.clone());
        if allowed {
            assert_eq!(answered, Ok(()), "{terms} {who:?}");
            assert_eq!(stage.status("ask"), StepStatus::Completed);
        } else {
            is_refused(answered);
            assert_eq!(encode(&stage.state), before, "{terms} {who:?}");
        }
    }
}

#[test]
fn a_question_is_skipped_by_whoever_may_answer_it_alone() {
    let starter = || who("tests", Role::Admin);
    for mut stage in [asked(json!({ "notBy": "starter" })), asking(json!({ "notBy": "starter" }))] {
        let step = stage.current("ask").step;
        let skip = || Ask::Skip { step, output: Some(json_of(&json!({ "choice": "approve" }))) };
        is_refused(stage.decide(Command::Ask(skip(), starter())));
        stage.decide(Command::Ask(Ask::Pause, starter())).unwrap();
        let resume = Ask::Resume(Resume { skip: vec![step], ..Resume::default() });
        is_refused(stage.decide(Command::Ask(resume.clone(), starter())));
        is_refused(stage.decide(Command::Ask(resume, who("ci", Role::Invoker))));
        stage.decide(Command::Ask(skip(), who("ann", Role::Operator))).unwrap();
    }
}

#[test]
fn what_cannot_be_known_yet_is_not_skipped() {
    let mut stage = asking(json!({ "approvers": ["{quote.output.boss}"] }));
    let step = stage.current("ask").step;
    let skip = Ask::Skip { step, output: None };
    is_refused(stage.decide(Command::Ask(skip, who("ann", Role::Admin))));
}

#[test]
fn an_invoker_gets_around_no_approval_of_its_thread() {
    let invoker = || who("tests", Role::Invoker);
    let mut stage = asked(json!({}));
    let step = stage.current("ask").step;
    is_refused(stage.decide(Command::Ask(Ask::Skip { step, output: None }, invoker())));
    answer(&mut stage, who("ann", Role::Operator)).unwrap();
    stage.decide(Command::Ask(Ask::Pause, invoker())).unwrap();
    let edit = |step| Ask::Edit { step, output: json_of(&json!(1_000_000)) };
    let quote = stage.current("quote").step;
    is_refused(stage.decide(Command::Ask(edit(quote), invoker())));
    is_refused(stage.decide(Command::Ask(edit(step), invoker())));
    let other = Ask::Resume(Resume {
        input: Some(json_of(&json!({ "boss": "ann", "amount": 2 }))),
        ..Resume::default()
    });
    is_refused(stage.decide(Command::Ask(other, invoker())));
    stage.decide(Command::Ask(Ask::Resume(Resume::default()), invoker())).unwrap();
}

#[test]
fn other_data_are_asked_about_again_and_not_by_whoever_gave_them() {
    let terms = || json!({ "notBy": "starter" });
    let mut stage = asked(terms());
    answer(&mut stage, who("ann", Role::Operator)).unwrap();
    stage.fail("pay", broken());
    stage.decide(Command::Ask(Ask::Pause, who("tests", Role::Admin))).unwrap();
    let input = || Some(json_of(&json!({ "boss": "ann", "amount": 2 })));
    let resume = |from_step| Ask::Resume(Resume { from_step, input: input(), ..Resume::default() });
    is_refused(stage.decide(Command::Ask(resume(None), who("tests", Role::Admin))));
    let from = Some(stage.current("ask").step);
    stage.decide(Command::Ask(resume(from), who("bob", Role::Admin))).unwrap();
    assert_eq!(
        (stage.state.status, stage.status("ask")),
        (ThreadStatus::Running, StepStatus::Waiting)
    );
    is_refused(answer(&mut stage, who("bob", Role::Admin)));
    is_refused(answer(&mut stage, who("tests", Role::Admin)));
    answer(&mut stage, who("ann", Role::Operator)).unwrap();
}

#[test]
fn a_fork_carries_no_approval_to_other_data() {
    let mut stage = asked(json!({ "approvers": ["ann"] }));
    answer(&mut stage, who("ann", Role::Operator)).unwrap();
    let how = |edits: Vec<(StepIx, Value)>, input: Option<Value>, by: &str| Fork {
        edits: edits.into_iter().map(|(at, output)| (at, json_of(&output))).collect(),
        input: input.map(|input| json_of(&input)),
        who: who(by, Role::Admin),
    };
    let ask = stage.current("ask").step;
    let forked = |how: Fork| {
        let mut made = stage.state.clone();
        fork(&mut made, how, stage.moment).map(|_| made)
    };
    let edited = forked(how(vec![(ask, json!({ "choice": "approve" }))], None, "bob"));
    assert!(matches!(edited, Err(ForkRejection::NotAnApprover(_))), "{edited:?}");
    let other = forked(how(vec![], Some(json!({ "boss": "bob" })), "bob"));
    assert!(matches!(other, Err(ForkRejection::NotAnApprover(_))), "{other:?}");
    assert!(forked(how(vec![], None, "bob")).is_ok());
    assert!(forked(how(vec![], Some(json!({ "boss": "bob" })), "ann")).is_ok());
    // Steps after an edited one run again, and ask again.
    let quote = |by| how(vec![(0.into(), json!(1_000_000))], None, by);
    let other = forked(quote("bob"));
    assert!(matches!(other, Err(ForkRejection::NotAnApprover(_))), "{other:?}");
    let again = forked(quote("ann")).unwrap();
    assert_ne!(again.steps[ask].status(), StepStatus::Completed);
}
