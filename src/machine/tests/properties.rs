//! Invariants over random plans and random histories.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::journal;
use super::random::{Turn, aimed_at, completed, input, turns, workflow};
use super::theatre::{Stage, asked, json_of, plan, thread};
use crate::machine::{
    AttemptId, Command, Decided, Effect, EncodedSnapshot, Report, Request, Resume, ThreadState,
    decide, snapshot,
};
use crate::model::{Event, InterventionKind, ThreadStatus, Timestamp, canonical_digest};

/// The number of histories per run: a few seconds in a debug build.
const CASES: u32 = 512;
/// The number of histories with a snapshot at every turn, whose checksums are slow in a debug
/// build.
const SNAPSHOT_CASES: u32 = 96;

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_journal_keeps_the_rules_and_tells_the_whole_state(
        workflow in workflow(), input in input(), turns in turns(),
    ) {
        let mut stage = Stage::of(plan(&workflow), &input);
        // Whether every decision so far could start steps; else the next advance starts them.
        let mut settled = false;
        for turn in &turns {
            act(&mut stage, turn, &mut settled)?;
        }
        stage.context.may_start = true;
        drive_to_the_end(&mut stage)?;
        journal::check(&stage.state.plan, &stage.journal);
        encoded_events_read_the_same(&stage.journal)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: SNAPSHOT_CASES, ..ProptestConfig::default() })]

    #[test]
    fn a_snapshot_of_any_turn_is_the_state_and_goes_on_as_it_does(
        workflow in workflow(), input in input(), turns in turns(),
    ) {
        let mut stage = Stage::of(plan(&workflow), &input);
        for turn in &turns {
            let restored = through_a_snapshot(&stage.state)?;
            let Some(command) = turn.command(&mut stage) else { continue };
            let Ok(decided) = decide(&mut stage.state, command, stage.context) else { continue };
            goes_on_from_a_snapshot(restored, &decided.events, &stage.state)?;
        }
        through_a_snapshot(&stage.state)?;
    }
}

pub(super) fn act(stage: &mut Stage, turn: &Turn, settled: &mut bool) -> Result<(), TestCaseError> {
    let Some(command) = turn.command(stage) else { return Ok(()) };
    let ended = stage.state.status.is_terminal();
    let asks = matches!(command, Command::Request(..));
    let settles = matches!(
        command,
        Command::Advance | Command::Recover(_) | Command::Request(Request::Resume(_), _)
    );
    let accepted = decide_twice(stage, command)?;
    if let Some(events) = accepted {
        prop_assert!(!ended || asks || events == 0, "an ended thread has told something");
        if settles || !stage.context.may_start {
            *settled = stage.context.may_start;
        }
        if *settled {
            not_stuck(&stage.state)?;
        }
        asked_about_what_is(&stage.state)?;
    }
    replay_is_the_state(stage)
}

/// Decides on two copies, and checks that both come to the same and that a refused command changes
/// neither. Returns the number of events if it was accepted.
fn decide_twice(stage: &mut Stage, command: Command) -> Result<Option<usize>, TestCaseError> {
    let old = stage.state.clone();
    let before = format!("{old:?}");
    let mut other = stage.state.clone();
    let first = decide(&mut stage.state, command.clone(), stage.context);
    let second = decide(&mut other, command.clone(), stage.context);
    prop_assert_eq!(&first, &second);
    prop_assert_eq!(format!("{:?}", stage.state), format!("{other:?}"));
    let Ok(Decided { events, effects, unfinished }) = first else {
        prop_assert_eq!(format!("{:?}", stage.state), before);
        return Ok(None);
    };
    prop_assert!(!unfinished, "so little is decided at once");
    effects_run_what_is_running(&old, (&command, &effects), &stage.state)?;
    let count = events.len();
    if count == 0 {
        prop_assert_eq!(format!("{:?}", stage.state), before);
    }
    stage.journal.extend(events);
    Ok(Some(count))
}

/// Carries the effects of a decision out, and checks that exactly those attempts run afterwards
/// that the state says are running.
fn effects_run_what_is_running(
    before: &ThreadState,
    (command, effects): (&Command, &[Effect]),
    after: &ThreadState,
) -> Result<(), TestCaseError> {
    let mut runs = running(before);
    match command {
        Command::Recover(_)
        | Command::Quarantine { .. }
        | Command::Condemn { takeover: Some(_), .. } => runs.clear(),
        Command::Attempt { attempt, report: Report::Done { .. } | Report::Failed { .. } } => {
            prop_assert!(runs.remove(attempt));
        }
        Command::Attempt { .. }
        | Command::Condemn { takeover: None, .. }
        | Command::Advance
        | Command::Request(..) => {}
    }
    for effect in effects {
        match effect {
            Effect::Run(attempt) => prop_assert!(runs.insert(*attempt), "{attempt:?} runs twice"),
            Effect::Cancel(attempt) => prop_assert!(runs.remove(attempt), "{attempt:?} runs not"),
            Effect::CancelAll => runs.clear(),
        }
    }
    prop_assert_eq!(runs, running(after), "after {:?}", command);
    Ok(())
}

/// Returns the attempts that are under way.
fn running(state: &ThreadState) -> BTreeSet<AttemptId> {
    let all = state.steps.placed().flat_map(|(step, state)| {
        let works = state.running();
        works.map(move |work| AttemptId { step, work, number: state.track(work).attempts })
    });
    all.collect()
}

/// Encodes and restores a state, and checks that it is the same and of the same text.
fn through_a_snapshot(state: &ThreadState) -> Result<ThreadState, TestCaseError> {
    let (text, sha256) = snapshot::encode(state);
    let encoded = EncodedSnapshot::open(&text, &sha256);
    let restored = encoded.and_then(|found| found.restore(&thread(), Arc::clone(&state.plan)));
    let restored = restored.map_err(|fault| TestCaseError::fail(fault.to_string()))?;
    prop_assert_eq!(format!("{restored:?}"), format!("{state:?}"));
    Ok(restored)
}

/// Checks that later events change a restored state as they changed the live one, and that each
/// leaves a valid state.
fn goes_on_from_a_snapshot(
    mut restored: ThreadState,
    events: &[Event],
    live: &ThreadState,
) -> Result<(), TestCaseError> {
    for event in events {
        restored.apply(event);
        let sound = restored.validate();
        prop_assert!(sound.is_ok(), "{sound:?} after {event:?} in {restored:#?}");
    }
    prop_assert_eq!(format!("{restored:?}"), format!("{live:?}"));
    Ok(())
}

/// Checks that questions are about the present data: no decision is about earlier ones.
fn asked_about_what_is(state: &ThreadState) -> Result<(), TestCaseError> {
    for one in state.open_interventions() {
        let Some(step) = one.opened.steps.first() else { continue };
        let at = state.plan.find(step.as_str()).unwrap();
        let (planned, step) = (&state.plan.steps[at], &state.steps[at]);
        let about = match one.opened.kind {
            InterventionKind::Approval => {
                let with = planned.work(step.work()).with.render(state, 1 << 20);
                with.map_err(|unresolved| TestCaseError::fail(unresolved.to_string()))?
            }
            InterventionKind::Blocked => step.own.blocked().unwrap().output.clone(),
            InterventionKind::Failure | InterventionKind::Poison => continue,
        };
        prop_assert_eq!(one.opened.digest.clone(), Some(canonical_digest(&about)));
    }
    Ok(())
}

fn replay_is_the_state(stage: &Stage) -> Result<(), TestCaseError> {
    let plan = Arc::clone(&stage.state.plan);
    let mut replayed = ThreadState::first(thread(), plan, &stage.journal[0]).unwrap();
    for event in &stage.journal[1..] {
        replayed.apply(event);
    }
    prop_assert_eq!(format!("{replayed:?}"), format!("{:?}", stage.state));
    Ok(())
}

fn not_stuck(state: &ThreadState) -> Result<(), TestCaseError> {
    if state.status.is_terminal() {
        prop_assert!(!state.has_running() && state.next_wake().is_none());
        prop_assert!(state.current_steps().is_empty() && state.completed_at.is_some());
        return Ok(());
    }
    prop_assert!(state.completed_at.is_none());
    if state.status == ThreadStatus::Paused {
        let (wake, stops) = (
            state.next_wake(),
            state.abort_deadline().map(|(_, abort_deadline)| abort_deadline.at),
        );
        let escalates = state.open_interventions().any(|one| one.opened.escalates_at == wake);
        prop_assert!(wake.is_none() || escalates || stops == wake, "a pause ends for nobody else");
        let waits = stops.is_none() || state.has_running();
        prop_assert!(waits, "about to be aborted, and waits for nothing");
        return Ok(());
    }
    let moves = state.has_running() || state.next_wake().is_some() || state.waits_for_somebody();
    prop_assert!(moves, "nothing will ever move {state:#?}");
    prop_assert!(!state.is_failing() || state.has_running(), "failing, and waits for nothing");
    Ok(())
}

/// Lets every timer fire and every attempt complete. Checks that the thread ends in as many turns
/// as its steps can take at the most, and that no completed step runs again.
pub(super) fn drive_to_the_end(stage: &mut Stage) -> Result<(), TestCaseError> {
    let paused = stage.state.status == ThreadStatus::Paused;
    let ended = stage.state.status.is_terminal();
    if paused || (ended && stage.state.status != ThreadStatus::Completed) {
        decide_twice(stage, asked(Request::Resume(Resume::default())))?;
    }
    let most = 16 * stage.state.steps.len() + 16;
    for _ in 0..most {
        decide_twice(stage, Command::Advance)?;
        not_stuck(&stage.state)?;
        if stage.state.status.is_terminal() {
            return Ok(());
        }
        if stage.state.status == ThreadStatus::Paused {
            go_on_whatever_failed(stage)?;
            continue;
        }
        if let Some(ask) = answer(&stage.state) {
            prop_assert!(decide_twice(stage, asked(ask))?.is_some());
            continue;
        }
        let running = |step: &usize| stage.state.steps[*step].is_running();
        if let Some(step) = (0..stage.state.steps.len()).find(running) {
            let ended = completed(aimed_at(&stage.state.steps[step], step.into()), 2);
            decide_twice(stage, ended)?;
        } else if let Some(due) = stage.state.next_wake() {
            stage.context.now = due.max(stage.context.now);
        }
    }
    prop_assert!(stage.state.status.is_terminal(), "not ended after {most} turns: {stage:#?}");
    Ok(())
}

/// Returns the request that ends a step's wait for a person or a client, if there is such a wait.
fn answer(state: &ThreadState) -> Option<Request> {
    let signal = state.steps.iter().find_map(|step| step.own.signal().map(str::to_owned));
    if let Some(name) = signal {
        return Some(Request::Signal { name, payload: json_of(&serde_json::json!({ "n": 2 })) });
    }
    let open = state.open_interventions().next()?;
    let choice = match open.opened.kind {
        InterventionKind::Blocked => "accept",
        InterventionKind::Approval | InterventionKind::Failure | InterventionKind::Poison => {
            "approve"
        }
    };
    let digest = open.opened.digest.clone();
    Some(Request::Resolve { id: open.opened.id.clone(), choice: choice.to_owned(), digest })
}

/// Goes on without the failed steps, where a person is asked.
fn go_on_whatever_failed(stage: &mut Stage) -> Result<(), TestCaseError> {
    let mut open = stage.state.open_interventions();
    let asked_for = open.find(|one| one.opened.kind == InterventionKind::Failure);
    let asked_for = asked_for.map(|one| one.opened.clone());
    drop(open);
    let ask = match asked_for {
        Some(asked_for) => {
            // A thread without a failed step offers nothing to skip.
            let choice = asked_for.choices.iter().find(|choice| *choice == "skip");
            let choice = choice.map_or("retry", String::as_str).to_owned();
            Request::Resolve { id: asked_for.id, choice, digest: None }
        }
        None => Request::Resume(Resume::default()),
    };
    let accepted = decide_twice(stage, asked(ask))?;
    prop_assert!(accepted.is_some());
    Ok(())
}

fn encoded_events_read_the_same(journal: &[Event]) -> Result<(), TestCaseError> {
    for event in journal {
        let text = event.encode(&thread());
        prop_assert!(!text.contains('\n'));
        prop_assert_eq!(Event::kind_of(&text), event.body.kind());
        let read = Event::decode(&text);
        prop_assert_eq!(read.as_ref(), Ok(event));
        prop_assert_eq!(read.map(|event| event.encode(&thread())), Ok(text));
    }
    Ok(())
}

#[test]
fn a_start_alone_is_a_queued_thread() {
    let stage = Stage::new(serde_json::json!([super::theatre::http("a", &[])]));
    assert_eq!(stage.state.status, ThreadStatus::Queued);
    assert_eq!(stage.state.last_seq, 1);
    assert_eq!(stage.state.created_at, Timestamp::from_millis(super::theatre::DAWN));
}
