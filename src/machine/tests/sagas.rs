//! Compensation of a thread's completed steps, once it fails or is aborted.

use std::time::Duration;

use serde_json::{Value, json};

use super::journal;
use super::theatre::{Stage, asked, broken, done, http, http_with, refused};
use crate::definition::Work;
use crate::machine::{Abort, AttemptId, Command, Rejection, Report, Request, Resume};
use crate::model::{EventBody, Failure, RecoveryCause, StepStatus, ThreadStatus};

/// A request that aborts and compensates.
const UNDO: Request = Request::Abort(Abort { grace: Duration::ZERO, compensate: true });

/// A step with a compensation.
fn undoable(id: &str, depends_on: &[&str]) -> Value {
    let undo = json!({ "kind": "http", "with": { "url": format!("http://u/{{{id}.output}}") },
                       "retry": { "maxAttempts": 2, "jitter": false } });
    http_with(id, depends_on, json!({ "retry": { "maxAttempts": 1 }, "compensate": undo }))
}

/// A thread of `a` and `b` side by side, then `c`, then a step that cannot be undone.
fn branches() -> Stage {
    let mut stage = Stage::new(json!([
        undoable("a", &[]),
        undoable("b", &[]),
        undoable("c", &["a", "b"]),
        http("d", &["c"]),
    ]));
    stage.advance();
    stage
}

/// The same thread, where `b` completed before `a`, and all but `d` have completed.
fn three_done() -> Stage {
    let mut stage = branches();
    stage.complete("b", json!(2));
    stage.complete("a", json!(1));
    stage.complete("c", json!(3));
    stage
}

fn failure() -> Report {
    Report::Failed { failure: broken(), retry_after: None }
}

fn for_good() -> Report {
    Report::Failed { failure: refused(), retry_after: None }
}

/// Returns the steps that were undone and those that are left, by the status document.
fn told(stage: &Stage) -> (Vec<String>, Vec<String>) {
    let told = stage.state.document(None).compensation.unwrap();
    let left = told.left.iter().map(|one| one.step_id.to_string()).collect();
    (told.completed.iter().map(ToString::to_string).collect(), left)
}

#[test]
fn a_thread_that_fails_is_undone_in_the_reverse_order_of_completion() {
    let mut stage = three_done();
    assert_eq!(
        stage.fail("d", refused()),
        ["step_failed d 1 http_status", "compensation_start c 1"]
    );
    assert_eq!(stage.state.status, ThreadStatus::Compensating);
    let names = |stage: &Stage| -> Vec<String> {
        stage.state.current_steps().iter().map(ToString::to_string).collect()
    };
    assert_eq!(names(&stage), ["c"]);
    let undo = stage.state.plan.steps[2].work(Work::Compensation);
    assert_eq!(
        undo.with.render(&stage.state, 1 << 20).unwrap().as_str(),
        r#"{"url":"http://u/3"}"#
    );
    let lines = stage.undo("c", done());
    assert_eq!(lines, ["compensation_complete c 1", "compensation_start a 1"]);
    // All of them completed at the same time: the order of the journal counts.
    let lines = stage.undo("a", done());
    assert_eq!(lines, ["compensation_complete a 1", "compensation_start b 1"]);
    let lines = stage.undo("b", done());
    assert_eq!(lines, ["compensation_complete b 1", "workflow_failed http_status"]);
    assert_eq!(stage.status("a"), StepStatus::Compensated);
    assert_eq!(told(&stage), (["c", "a", "b"].map(str::to_owned).into(), Vec::new()));
    let EventBody::WorkflowFailed(end) = stage.last() else { panic!() };
    assert_eq!(end.compensation, stage.state.document(None).compensation);
    journal::check(&stage.state.plan, &stage.journal);
}

#[test]
fn running_attempts_are_waited_for_and_what_they_complete_is_undone_too() {
    let mut stage = branches();
    assert_eq!(stage.fail("a", refused()), ["step_failed a 1 http_status"]);
    assert_eq!(stage.complete("b", json!(1)), ["step_complete b 1", "compensation_start b 1"]);
    let lines = stage.undo("b", done());
    assert_eq!(lines, ["compensation_complete b 1", "workflow_failed http_status"]);
    journal::check(&stage.state.plan, &stage.journal);
}

#[test]
fn a_compensation_has_a_policy_of_its_own_and_what_cannot_be_undone_is_left() {
    let mut stage = three_done();
    stage.fail("d", refused());
    assert_eq!(stage.undo("c", failure()), ["compensation_failed c 1 in 1000"]);
    assert_eq!(
        stage.state.next_wake().map(|due| due.since(stage.context.now).as_millis()),
        Some(1_000)
    );
    // No other step is undone meanwhile, and the retry does not start before its time.
    assert!(stage.pass(999).advance().is_empty());
    assert_eq!(stage.pass(1).advance(), ["compensation_start c 2"]);
    assert_eq!(
        stage.undo("c", failure()),
        ["compensation_failed c 2 connection_failed", "compensation_start a 1"]
    );
    stage.undo("a", done());
    let lines = stage.undo("b", for_good());
    assert_eq!(lines, ["compensation_failed b 1 http_status", "workflow_failed http_status"]);
    assert_eq!(told(&stage), (vec!["a".to_owned()], vec!["c".to_owned(), "b".to_owned()]));
    let left = stage.state.compensation().unwrap().left;
    let codes: Vec<_> = left.iter().map(|one| one.error.as_ref().unwrap().code.as_str()).collect();
    assert_eq!(codes, ["connection_failed", "http_status"]);
    assert_eq!(stage.state.error.as_ref().unwrap().step_id.as_ref().unwrap().as_str(), "d");

    // Another try undoes only the steps that are left.
    assert_eq!(stage.decide(asked(UNDO)).unwrap(), ["compensation_start c 3"]);
    assert_eq!(stage.undo("c", failure()), ["compensation_failed c 3 in 1000"]);
    let retry = asked(Request::Retry { step: 2.into() });
    assert_eq!(stage.decide(retry).unwrap(), ["compensation_start c 4"]);
    let lines = stage.undo("c", done());
    assert_eq!(lines, ["compensation_complete c 4", "compensation_start b 2"]);
    let lines = stage.undo("b", done());
    assert_eq!(lines, ["compensation_complete b 2", "workflow_failed http_status"]);
    assert_eq!(stage.decide(asked(UNDO)), Err(Rejection::NothingToCompensate));
    journal::check(&stage.state.plan, &stage.journal);
}

#[test]
fn an_abort_that_compensates_ends_what_runs_first_and_ends_aborted() {
    let mut stage = branches();
    stage.complete("a", json!(1));
    assert_eq!(stage.decide(asked(UNDO)).unwrap(), ["compensation_start a 1"]);
    assert!(!stage.state.steps[1].is_running(), "its attempt is cancelled");
    let attempt = stage.current("b");
    let late = Command::Attempt {
        attempt,
        report: Report::Failed { failure: broken(), retry_after: None },
    };
    assert_eq!(stage.decide(late), Err(Rejection::NotCurrent));
    let lines = stage.undo("a", done());
    assert_eq!(lines, ["compensation_complete a 1", "workflow_aborted"]);
    let EventBody::WorkflowAborted(end) = stage.last() else { panic!() };
    assert_eq!((end.by.as_str(), end.compensation.as_ref().unwrap().left.len()), ("ann", 0));
    journal::check(&stage.state.plan, &stage.journal);
}

#[test]
fn an_abort_that_cannot_undo_all_fails_and_is_aborted_once_it_could() {
    let mut stage = branches();
    stage.complete("a", json!(1));
    stage.decide(asked(UNDO)).unwrap();
    let lines = stage.undo("a", for_good());
    let end = "workflow_failed compensation_failed";
    assert_eq!(lines, ["compensation_failed a 1 http_status", end]);
    assert_eq!(stage.state.status, ThreadStatus::Failed);
    stage.decide(asked(UNDO)).unwrap();
    let lines = stage.undo("a", done());
    assert_eq!(lines, ["compensation_complete a 2", "workflow_aborted"]);
    assert_eq!(stage.state.error, None);
    journal::check(&stage.state.plan, &stage.journal);
}

#[test]
fn with_nothing_to_undo_an_abort_is_an_abort() {
    let mut stage = branches();
    assert_eq!(stage.decide(asked(UNDO)).unwrap(), ["workflow_aborted"]);
    assert_eq!(stage.state.document(None).compensation, None);
    assert_eq!(stage.decide(asked(UNDO)), Err(Rejection::NothingToCompensate));
}

#[test]
fn what_was_aborted_as_it_is_can_still_be_undone_and_what_has_completed_cannot() {
    let mut stage = three_done();
    stage.abort();
    assert_eq!(stage.state.document(None).compensation, None);
    assert_eq!(stage.decide(asked(UNDO)).unwrap(), ["compensation_start c 1"]);
    let mut stage = three_done();
    stage.complete("d", json!(4));
    let completed = Rejection::WrongState(ThreadStatus::Completed);
    assert_eq!(stage.decide(asked(UNDO)), Err(completed));
}

#[test]
fn what_did_not_complete_is_not_undone_but_a_fallback_that_did_is() {
    let by_step = json!({ "kind": "http", "with": { "url": "http://f/" } });
    let mut steps =
        ["skipped", "failed", "stood_in", "by_fallback", "last"].map(|id| undoable(id, &[]));
    steps[0]["when"] = json!("false");
    steps[1]["continueOnError"] = json!(true);
    steps[2]["fallback"] = json!({ "output": 1 });
    steps[3]["fallback"] = by_step;
    let mut stage = Stage::new(json!(steps));
    stage.advance();
    stage.fail("failed", refused());
    stage.fail("stood_in", refused());
    stage.fail("by_fallback", refused());
    stage.complete("by_fallback", json!(5));
    let lines = stage.fail("last", refused());
    assert_eq!(lines, ["step_failed last 1 http_status", "compensation_start by_fallback 1"]);
    let lines = stage.undo("by_fallback", done());
    assert_eq!(lines, ["compensation_complete by_fallback 1", "workflow_failed http_status"]);
    journal::check(&stage.state.plan, &stage.journal);
}

#[test]
fn a_thread_that_fails_by_its_output_is_undone_and_says_why() {
    let workflow =
        json!({ "name": "w", "steps": [undoable("a", &[])], "output": "{a.output.nosuch}" });
    let mut stage = Stage::with(workflow, json!({}));
    stage.advance();
    let lines = stage.complete("a", json!({}));
    assert_eq!(lines, ["step_complete a 1", "compensation_start a 1"]);
    assert_eq!(stage.state.error.as_ref().unwrap().code, "template_unresolved");
    let lines = stage.undo("a", done());
    assert_eq!(lines, ["compensation_complete a 1", "workflow_failed template_unresolved"]);
    journal::check(&stage.state.plan, &stage.journal);
}

#[test]
fn where_a_person_is_asked_first_nothing_is_undone_until_they_say_so() {
    let workflow = json!({ "name": "w", "onFailure": "pause",
                           "steps": [undoable("a", &[]), http("b", &["a"])] });
    let mut stage = Stage::with(workflow, json!({}));
    stage.advance();
    stage.complete("a", json!(1));
    let lines = stage.fail("b", refused());
    assert_eq!(lines[1..], ["workflow_paused", "intervention_opened failure [b]"]);
    let open = stage.state.interventions[0].opened.clone();
    assert_eq!(open.choices, ["retry", "skip", "abort", "compensate"]);
    let resolve =
        asked(Request::Resolve { id: open.id, choice: "compensate".to_owned(), digest: None });
    let lines = stage.decide(resolve).unwrap();
    assert_eq!(lines, ["intervention_resolved compensate", "compensation_start a 1"]);
    let lines = stage.undo("a", done());
    assert_eq!(lines, ["compensation_complete a 1", "workflow_aborted"]);
    journal::check(&stage.state.plan, &stage.journal);
}

#[test]
fn a_pause_lets_the_attempt_end_and_a_resume_goes_on_undoing() {
    let mut stage = three_done();
    stage.fail("d", refused());
    assert_eq!(stage.decide(asked(Request::Pause)).unwrap(), ["workflow_paused"]);
    assert_eq!(stage.undo("c", done()), ["compensation_complete c 1"]);
    assert!(stage.advance().is_empty() && stage.state.next_wake().is_none());
    for ask in [
        Request::Resume(Resume { from_step: Some(0.into()), ..Resume::default() }),
        Request::Resume(Resume { skip: vec![3.into()], ..Resume::default() }),
        Request::Skip { step: 3.into(), output: None },
        Request::Retry { step: 3.into() },
    ] {
        assert_eq!(stage.decide(asked(ask)), Err(Rejection::Compensating));
    }
    let mut other = stage.clone();
    assert_eq!(stage.resume(), ["workflow_resumed", "compensation_start a 1"]);
    assert_eq!(other.decide(asked(UNDO)).unwrap(), ["workflow_resumed", "compensation_start a 1"]);
    let wrong = Rejection::WrongState(ThreadStatus::Compensating);
    for ask in
        [UNDO, Request::Resume(Resume::default()), Request::Skip { step: 3.into(), output: None }]
    {
        assert_eq!(stage.decide(asked(ask)), Err(wrong.clone()));
    }
    // An abort leaves the remaining steps as they are.
    assert_eq!(stage.abort(), ["workflow_aborted"]);
    assert_eq!(told(&stage), (vec!["c".to_owned()], vec!["a".to_owned(), "b".to_owned()]));
    journal::check(&stage.state.plan, &stage.journal);
}

#[test]
fn a_resume_does_again_what_was_undone_and_all_after_it_as_another_effect() {
    let mut stage = three_done();
    stage.fail("d", refused());
    stage.undo("c", done());
    stage.undo("a", done());
    stage.undo("b", for_good());
    assert_eq!(stage.resume(), ["workflow_resumed", "step_start a 2"]);
    assert_eq!(
        ["a", "b", "c", "d"].map(|id| stage.status(id)),
        [StepStatus::Running, StepStatus::Completed, StepStatus::Pending, StepStatus::Pending]
    );
    let compensation_epoch: Vec<u32> =
        stage.state.steps.iter().map(|step| step.compensation_epoch).collect();
    assert_eq!(compensation_epoch, [1, 0, 1, 0]);
    stage.complete("a", json!(1));
    stage.complete("c", json!(1));
    stage.complete("d", json!(1));
    assert_eq!(stage.state.status, ThreadStatus::Completed);
    journal::check(&stage.state.plan, &stage.journal);
}

#[test]
fn results_of_the_step_and_of_its_compensation_are_told_apart() {
    let mut stage = three_done();
    stage.fail("d", refused());
    let own = Command::Attempt {
        attempt: AttemptId::own(2, 1),
        report: Report::Done { output: super::theatre::json_of(&json!(9)), session_id: None },
    };
    assert_eq!(stage.decide(own), Err(Rejection::NotCurrent));
    stage.undo("c", done());
    for (step, attempt) in [(2, 1), (0, 2), (0, 0), (1, 1)] {
        let late = Command::Attempt { attempt: AttemptId::undo(step, attempt), report: done() };
        assert_eq!(stage.decide(late), Err(Rejection::NotCurrent), "{step} {attempt}");
    }
    let slow = Command::Attempt { attempt: AttemptId::undo(0, 1), report: Report::Slow };
    assert_eq!(stage.decide(slow.clone()).unwrap(), ["step_timeout_warning a 1"]);
    assert_eq!(stage.decide(slow), Err(Rejection::NotCurrent));
    journal::check(&stage.state.plan, &stage.journal);
}

#[test]
fn while_nothing_may_start_nothing_is_undone_and_nothing_ends() {
    let mut stage = three_done();
    stage.context.may_start = false;
    assert_eq!(stage.fail("d", refused()), ["step_failed d 1 http_status"]);
    assert_eq!(stage.state.status, ThreadStatus::Running);
    stage.context.may_start = true;
    assert_eq!(stage.advance(), ["compensation_start c 1"]);
    stage.context.may_start = false;
    assert_eq!(stage.undo("c", done()), ["compensation_complete c 1"]);
    assert!(stage.advance().is_empty());
    stage.context.may_start = true;
    assert_eq!(stage.advance(), ["compensation_start a 1"]);
}

#[test]
fn a_thread_that_kills_while_it_is_undone_is_set_aside_and_goes_on_undoing() {
    let mut stage = three_done();
    stage.fail("d", refused());
    let takeover = super::theatre::takeover(RecoveryCause::Frozen, 9);
    let lines = stage.decide(Command::Quarantine { takeover, losses: 6 }).unwrap();
    assert_eq!(lines[1..], ["workflow_paused", "intervention_opened poison [c]"]);
    let id = stage.state.interventions[0].opened.id.clone();
    let lines = stage
        .decide(asked(Request::Resolve { id, choice: "resume".to_owned(), digest: None }))
        .unwrap();
    assert_eq!(lines[1..], ["workflow_resumed", "compensation_start c 2"]);
    journal::check(&stage.state.plan, &stage.journal);
}

/// The disturbances of a saga.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    /// The node that fails forwards: the last one, where it is `None`.
    fails: usize,
    /// The node whose compensation fails, and whether for good.
    stays: Option<(usize, bool)>,
    /// The node at whose attempt, forwards and backwards, the replica is lost.
    lost: Option<usize>,
}

const NODES: [&str; 5] = ["a", "b", "c", "d", "e"];

fn takeover_at(stage: &mut Stage, at: Option<usize>, id: &str) {
    if at.is_some_and(|at| NODES[at] == id) {
        let cause = RecoveryCause::Crashed;
        let lines = stage.recover(cause);
        assert_eq!(lines[0], format!("workflow_recovered crashed [{id}]"));
        assert_eq!(lines.len(), 2, "its attempt is made again, and no other: {lines:?}");
    }
}

/// Undoes the thread to its end; returns the steps in the order in which they were undone.
fn undo_all(stage: &mut Stage, trouble: Trouble, mut stubborn: bool) -> Vec<String> {
    let mut undone = Vec::new();
    let mut slipped = false;
    while stage.state.status == ThreadStatus::Compensating {
        let Some(id) = stage.state.current_steps().first().map(ToString::to_string) else {
            panic!("nothing is under way");
        };
        takeover_at(stage, trouble.lost, &id);
        match trouble.stays {
            Some((at, true)) if NODES[at] == id && stubborn => {
                stage.undo(&id, for_good());
                stubborn = false;
            }
            Some((at, false)) if NODES[at] == id && !slipped => {
                slipped = true;
                stage.undo(&id, failure());
                stage.pass(1_000).advance();
            }
            _ => {
                stage.undo(&id, done());
                undone.push(id);
            }
        }
    }
    undone
}

fn play(trouble: Trouble) -> Stage {
    let mut stage = Stage::new(json!([
        undoable("a", &[]),
        undoable("b", &["a"]),
        undoable("c", &["b"]),
        undoable("d", &["c"]),
        undoable("e", &["d"]),
    ]));
    stage.advance();
    for id in &NODES[..trouble.fails] {
        takeover_at(&mut stage, trouble.lost, id);
        stage.complete(id, json!(1));
    }
    let failing = NODES[trouble.fails];
    takeover_at(&mut stage, trouble.lost, failing);
    stage.fail(failing, refused());
    let mut wanted: Vec<String> =
        NODES[..trouble.fails].iter().rev().map(ToString::to_string).collect();
    let left = match trouble.stays {
        Some((at, true)) if at < trouble.fails => Some(NODES[at].to_owned()),
        _ => None,
    };
    wanted.retain(|id| Some(id) != left.as_ref());
    assert_eq!(undo_all(&mut stage, trouble, true), wanted, "{trouble:?}");
    assert_eq!(stage.state.status, ThreadStatus::Failed);
    assert_eq!(stage.state.error.as_ref().unwrap().code, "http_status");
    if let Some(left) = left {
        assert_eq!(told(&stage).1, std::slice::from_ref(&left));
        stage.decide(asked(UNDO)).unwrap();
        assert_eq!(undo_all(&mut stage, trouble, false), [left]);
    }
    if trouble.fails > 0 {
        assert!(told(&stage).1.is_empty());
    }
    assert_eq!(stage.decide(asked(UNDO)), Err(Rejection::NothingToCompensate));
    for step in stage.state.steps.iter().take(trouble.fails) {
        assert_eq!(step.status(), StepStatus::Compensated);
    }
    journal::check(&stage.state.plan, &stage.journal);
    stage
}

#[test]
fn a_saga_is_undone_whichever_node_fails_forwards_or_backwards_and_comes_to_the_same_twice() {
    let nodes = 0..NODES.len();
    for fails in nodes.clone() {
        let stays = nodes.clone().flat_map(|at| [Some((at, false)), Some((at, true))]);
        for stays in stays.chain([None]) {
            for lost in nodes.clone().map(Some).chain([None]) {
                let trouble = Trouble { fails, stays, lost };
                let (first, second) = (play(trouble), play(trouble));
                assert_eq!(first.journal, second.journal, "{trouble:?}");
            }
        }
    }
}

#[test]
fn what_the_other_side_asks_to_wait_is_waited_for_backwards_too() {
    let mut stage = three_done();
    stage.fail("d", refused());
    let failure = Failure::recoverable("circuit_open", crate::model::Category::External, "open");
    let retry_after = Some(Duration::from_mins(1));
    let lines = stage.undo("c", Report::Failed { failure, retry_after });
    assert_eq!(lines, ["compensation_failed c 1 in 60000"]);
}
