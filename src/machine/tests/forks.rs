//! Forks: at every event of random journals, and the decisions of single ones.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::{Value, json};

use super::journal;
use super::properties::{act, drive_to_the_end};
use super::random::{input, turns, workflow};
use super::theatre::{Stage, asked, broken, http, json_of, line, plan};
use crate::definition::StepIx;
use crate::machine::{Actor, Fork, ForkRejection, Request, ThreadState, fork};
use crate::model::{
    Event, EventBody, ForkedFrom, RecoveryCause, Seq, StepId, StepStatus, ThreadId, ThreadStatus,
};

/// The number of histories per run: each is forked at every event, and each fork driven to its end.
const CASES: u32 = 64;

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, ..ProptestConfig::default() })]

    #[test]
    fn a_fork_at_any_event_finishes_and_runs_nothing_twice(
        workflow in workflow(), input in input(), turns in turns(), edited in any::<bool>(),
    ) {
        let mut stage = Stage::of(plan(&workflow), &input);
        let mut settled = false;
        for turn in &turns {
            act(&mut stage, turn, &mut settled)?;
        }
        stage.context.may_start = true;
        drive_to_the_end(&mut stage)?;
        let before = stage.journal.clone();
        for seq in 1..=stage.state.last_seq {
            forked_at(&stage, seq, edited)?;
        }
        prop_assert_eq!(stage.journal, before);
    }
}

/// Forks the thread on the stage, perhaps with an edit, and drives the fork to its end.
fn forked_at(stage: &Stage, seq: Seq, edited: bool) -> Result<(), TestCaseError> {
    let mut fork = copy(stage, seq);
    let completed: Vec<StepIx> = with_status(&fork.state, StepStatus::Completed);
    // Steps that were undone in the other thread run again here, with all steps after them.
    let undone = with_status(&fork.state, StepStatus::Compensated).into_iter();
    let redone: BTreeSet<StepIx> = undone.flat_map(|at| fork.state.plan.after(at)).collect();
    let first = completed.iter().filter(|at| edited && !redone.contains(at)).take(1);
    let edits: Vec<_> = first.map(|&at| (at, json_of(&json!("edited")))).collect();
    let mut behind = edits.first().map(|(at, _)| fork.state.plan.after(*at)).unwrap_or_default();
    behind.extend(redone);
    let compensation_reason = fork.state.compensation_reason.is_some();
    let ended = fork.state.status == ThreadStatus::Completed;
    let made = decide(&mut fork, &edits);
    if ended && edits.is_empty() {
        prop_assert_eq!(made, Err(ForkRejection::WrongState(ThreadStatus::Completed)));
        return Ok(());
    }
    if compensation_reason {
        prop_assert_eq!(made, Err(ForkRejection::WrongState(ThreadStatus::Compensating)));
        return Ok(());
    }
    prop_assert!(made.is_ok(), "{made:?}");
    prop_assert_eq!(fork.state.recoveries, 0);
    let begun = fork.journal.len();
    let sound = fork.state.validate();
    prop_assert!(sound.is_ok(), "{sound:?} at {seq} in {fork:#?}");
    drive_to_the_end(&mut fork)?;
    prop_assert!(fork.state.status.is_terminal());
    journal::check(&fork.state.plan, &fork.journal);
    for at in completed {
        let id = &fork.state.plan.steps[at].id;
        let again = fork.journal[begun..]
            .iter()
            .any(|event| matches!(&event.body, EventBody::StepStart(fact) if fact.step == *id));
        let asked_for = behind.contains(&at) && edits.iter().all(|(edit, _)| *edit != at);
        prop_assert!(!again || asked_for, "{id} ran twice, forked at {seq}: {fork:#?}");
    }
    for (at, output) in edits {
        prop_assert_eq!(fork.state.steps[at].output.as_ref(), Some(&output));
    }
    Ok(())
}

fn with_status(state: &ThreadState, status: StepStatus) -> Vec<StepIx> {
    state.steps.places().filter(|&at| state.steps[at].status() == status).collect()
}

/// A thread `u` with the history of the one on the stage.
pub(super) fn copy(stage: &Stage, seq: Seq) -> Stage {
    let (from, to) = (stage.state.thread_id.clone(), ThreadId::parse("u").unwrap());
    let shared = stage.journal.iter().take_while(|event| event.seq <= seq).cloned();
    let mut journal: Vec<Event> =
        shared.map(|event| Event { body: event.body.moved(&from, to.as_str()), ..event }).collect();
    if let EventBody::WorkflowStart(start) = &mut journal[0].body {
        let at = stage.context.now.max(stage.state.updated_at);
        start.forked_from =
            Some(ForkedFrom { thread_id: from, seq, at, by: "ann".to_owned(), reason: None });
    }
    let mut folded = ThreadState::first(to, Arc::clone(&stage.state.plan), &journal[0]).unwrap();
    for event in &journal[1..] {
        folded.apply(event);
    }
    Stage { state: folded, journal, context: stage.context }
}

fn decide(
    stage: &mut Stage,
    edits: &[(StepIx, crate::model::Json)],
) -> Result<Vec<String>, ForkRejection> {
    decide_with(stage, edits, None)
}

pub(super) fn decide_with(
    stage: &mut Stage,
    edits: &[(StepIx, crate::model::Json)],
    input: Option<Value>,
) -> Result<Vec<String>, ForkRejection> {
    let how = Fork {
        edits: edits.to_vec(),
        input: input.map(|input| json_of(&input)),
        actor: Actor { by: "ann".to_owned(), ..Actor::default() },
    };
    let events = fork(&mut stage.state, how, stage.context)?;
    let lines = events.iter().map(line).collect();
    stage.journal.extend(events);
    Ok(lines)
}

pub(super) fn edit(stage: &Stage, id: &str, output: Value) -> (StepIx, crate::model::Json) {
    (stage.state.plan.find(id).unwrap(), json_of(&output))
}

/// Three steps in a row, of which the first has completed and the second runs.
fn in_the_middle() -> Stage {
    let mut stage = Stage::new(json!([http("a", &[]), http("b", &["a"]), http("c", &["b"])]));
    stage.advance();
    stage.complete("a", json!(1));
    stage
}

#[test]
fn a_lost_attempt_is_made_again_and_counts_for_nothing() {
    let mut stage = in_the_middle();
    stage.fail("b", broken());
    stage.pass(60_000).advance();
    let mut fork = copy(&stage, stage.state.last_seq);
    assert_eq!(decide(&mut fork, &[]).unwrap(), ["workflow_forked"]);
    assert_eq!(fork.state.steps[1].own.failures, 1);
    assert_eq!(fork.advance(), ["step_start b 3"]);
    assert_eq!((fork.state.recoveries, fork.state.interrupted), (0, 0));
}

#[test]
fn a_retry_is_due_when_it_was() {
    let mut stage = in_the_middle();
    stage.fail("b", broken());
    let due = stage.state.next_wake();
    let mut fork = copy(&stage, stage.state.last_seq);
    decide(&mut fork, &[]).unwrap();
    assert!(fork.advance().is_empty());
    assert_eq!((fork.state.next_wake(), fork.status("b")), (due, StepStatus::Retrying));
}

#[test]
fn an_edit_replaces_an_output_and_runs_what_depends_on_it_again() {
    let mut stage = in_the_middle();
    stage.complete("b", json!(2));
    stage.complete("c", json!(3));
    assert_eq!(stage.state.status, ThreadStatus::Completed);
    let mut fork = copy(&stage, stage.state.last_seq);
    let edits = [edit(&fork, "a", json!(7))];
    assert_eq!(decide(&mut fork, &edits).unwrap(), ["workflow_forked", "step_edited a"]);
    let EventBody::WorkflowForked(said) = &fork.journal[fork.journal.len() - 2].body else {
        panic!("{:?}", fork.journal);
    };
    let again: Vec<_> = said.again.iter().map(StepId::as_str).collect();
    assert_eq!((again, said.steps.len()), (vec!["b", "c"], 0));
    assert_eq!(fork.advance(), ["step_start b 2"]);
    fork.complete("b", json!(8));
    assert_eq!(fork.complete("c", json!(9)), ["step_complete c 2", "workflow_complete"]);
    assert_eq!(fork.state.steps[0].output, Some(json_of(&json!(7))));
}

#[test]
fn an_edit_of_a_step_that_has_no_output_is_refused_and_changes_nothing() {
    let stage = in_the_middle();
    let mut fork = copy(&stage, stage.state.last_seq);
    let before = format!("{:?}", fork.state);
    let edits = [edit(&fork, "b", json!(7))];
    let refused = decide(&mut fork, &edits).unwrap_err();
    let b = StepId::parse("b").unwrap();
    assert_eq!(refused, ForkRejection::NotCompleted(b, StepStatus::Running));
    assert_eq!(format!("{:?}", fork.state), before);
}

#[test]
fn an_edit_cannot_stand_on_a_step_that_runs_again() {
    let mut stage = in_the_middle();
    stage.complete("b", json!(2));
    stage.complete("c", json!(3));
    let mut fork = copy(&stage, stage.state.last_seq);
    let edits = [edit(&fork, "a", json!(7)), edit(&fork, "c", json!(8))];
    let (b, c) = (StepId::parse("b").unwrap(), StepId::parse("c").unwrap());
    assert_eq!(decide(&mut fork, &edits), Err(ForkRejection::Undone(b, c)));
    let edits = [edit(&fork, "a", json!(7)), edit(&fork, "b", json!(8))];
    decide(&mut fork, &edits).unwrap();
    assert_eq!(fork.advance(), ["step_start c 2"]);
}

#[test]
fn what_had_failed_or_was_aborted_goes_on_as_after_a_resume() {
    let mut stage = in_the_middle();
    let failed = stage.clone().fail("b", super::theatre::refused());
    assert_eq!(failed, ["step_failed b 1 http_status", "workflow_failed http_status"]);
    stage.fail("b", super::theatre::refused());
    for seq in [stage.state.last_seq - 1, stage.state.last_seq] {
        let mut fork = copy(&stage, seq);
        decide(&mut fork, &[]).unwrap();
        assert_eq!(fork.state.status, ThreadStatus::Running);
        assert_eq!(fork.advance(), ["step_start b 2"]);
    }
    let mut stage = in_the_middle();
    stage.abort();
    let mut fork = copy(&stage, stage.state.last_seq);
    decide(&mut fork, &[]).unwrap();
    assert_eq!(fork.advance(), ["step_start b 2"]);
}

#[test]
fn what_had_completed_is_forked_for_another_input_alone() {
    let workflow = json!({
        "name": "w", "steps": [http("a", &[])], "output": "{input.n}"
    });
    let mut stage = Stage::with(workflow, json!({ "n": 1 }));
    stage.advance();
    stage.complete("a", json!(1));
    let mut fork = copy(&stage, stage.state.last_seq);
    let refused = decide(&mut fork, &[]);
    assert_eq!(refused, Err(ForkRejection::WrongState(ThreadStatus::Completed)));
    decide_with(&mut fork, &[], Some(json!({ "n": 2 }))).unwrap();
    assert_eq!(fork.advance(), ["workflow_complete"]);
    assert_eq!(fork.output(), "2");
}

#[test]
fn what_was_paused_is_paused() {
    let mut stage = in_the_middle();
    stage.decide(asked(Request::Pause)).unwrap();
    let mut fork = copy(&stage, stage.state.last_seq);
    decide(&mut fork, &[]).unwrap();
    assert!(fork.advance().is_empty());
    assert_eq!(fork.state.status, ThreadStatus::Paused);
    assert_eq!(fork.resume(), ["workflow_resumed", "step_start b 2"]);
}

#[test]
fn a_question_is_open_in_the_fork_under_its_own_id_wherever_it_was_forked() {
    let approval = json!([{ "id": "ok", "kind": "approval", "with": { "prompt": "sure?" } }]);
    let mut stage = Stage::new(approval);
    assert_eq!(stage.advance().len(), 3, "start, wait, question");
    for seq in 2..=4 {
        let mut fork = copy(&stage, seq);
        decide(&mut fork, &[]).unwrap();
        fork.advance();
        let open: Vec<_> =
            fork.state.open_interventions().map(|one| one.opened.id.clone()).collect();
        assert_eq!(open.len(), 1, "forked at {seq}");
        assert!(open[0].starts_with("u~"), "{open:?}");
        let ask =
            Request::Resolve { id: open[0].clone(), choice: "approve".to_owned(), digest: None };
        fork.decide(asked(ask)).unwrap();
        assert_eq!(fork.state.status, ThreadStatus::Completed);
    }
    // The question is asked again if the fork begins between the answer and the events that follow
    // from it.
    let id = stage.state.open_interventions().next().unwrap().opened.id.clone();
    stage
        .decide(asked(Request::Resolve { id, choice: "approve".to_owned(), digest: None }))
        .unwrap();
    let mut fork = copy(&stage, 5);
    assert!(matches!(fork.last(), EventBody::InterventionResolved(_)));
    decide(&mut fork, &[]).unwrap();
    fork.advance();
    assert_eq!(fork.state.open_interventions().count(), 1);
}

#[test]
fn a_signal_that_was_sent_is_taken_in_the_fork() {
    let mut stage = Stage::new(json!([{ "id": "s", "kind": "signal", "with": { "name": "go" } }]));
    stage.advance();
    stage
        .decide(asked(Request::Signal { name: "go".to_owned(), payload: json_of(&json!(1)) }))
        .unwrap();
    let mut fork = copy(&stage, 4);
    assert!(matches!(fork.last(), EventBody::SignalReceived(_)));
    assert_eq!(decide(&mut fork, &[]).unwrap(), ["workflow_forked", "step_complete s 1"]);
    assert_eq!(fork.advance(), ["workflow_complete"]);
}

#[test]
fn what_replicas_were_lost_over_there_is_not_counted_here() {
    let mut stage = in_the_middle();
    stage.recover(RecoveryCause::Crashed);
    assert_eq!(stage.state.recoveries, 1);
    let mut fork = copy(&stage, stage.state.last_seq);
    decide(&mut fork, &[]).unwrap();
    assert_eq!((fork.state.recoveries, fork.state.interrupted), (0, 0));
}
