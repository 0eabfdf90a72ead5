//! Requests of people, as properties of the machine: any request at any moment, among completions,
//! failures, takeovers, quarantines, waits and a shutdown.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::json;

use super::journal;
use super::random::{Turn, input, turns, workflow};
use super::theatre::{Stage, asked, http, json_of, plan};
use crate::definition::StepIx;
use crate::machine::{Actor, Command, Rejection, Report, Request, Resume, ThreadState, decide};
use crate::model::{Event, EventBody, InterventionKind, Json, StepStatus, ThreadStatus};

/// The number of histories per run: some seconds in a debug build.
const CASES: u32 = 256;
/// The reason that the machine writes where a person skips a step and gives none.
const ASKED: &str = "asked";

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, ..ProptestConfig::default() })]

    #[test]
    fn whatever_people_do_at_whatever_moment_is_done_once_and_undoes_nothing(
        workflow in workflow(), input in input(), turns in busy_turns(),
    ) {
        let mut stage = Stage::of(plan(&workflow), &input);
        let mut mail = Mail::default();
        for (number, turn) in turns.iter().enumerate() {
            let Some(command) = turn.command(&mut stage) else { continue };
            watch(&mut stage, signed(command, number), &mut mail)?;
        }
        journal::check(&stage.state.plan, &stage.journal);
    }
}

/// Turns of which every second one is somebody's request.
fn busy_turns() -> impl Strategy<Value = Vec<Turn>> {
    let ask = prop_oneof![
        2 => Just(Turn::Pause),
        3 => Just(Turn::Resume),
        2 => (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..3))
            .prop_map(|(step, skip)| Turn::ResumeFrom(step, skip)),
        2 => (prop_oneof![Just(0), 1_u16..9_000], any::<bool>())
            .prop_map(|(grace, compensate)| Turn::Abort(grace, compensate)),
        2 => any::<u8>().prop_map(Turn::Retry),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(step, given)| Turn::Skip(step, given)),
        2 => any::<u8>().prop_map(Turn::Edit),
        3 => (any::<u8>(), any::<u8>()).prop_map(|(which, choice)| Turn::Resolve(which, choice)),
        4 => any::<bool>().prop_map(Turn::Signal),
    ];
    let other = turns().prop_map(|turns| turns[0].clone());
    proptest::collection::vec(prop_oneof![ask, other], 1..80)
}

/// Returns the same command, by an actor with a reason of its own. The payload of a signal differs
/// from all others.
fn signed(command: Command, number: usize) -> Command {
    let Command::Request(ask, _) = command else { return command };
    let by = if number.is_multiple_of(2) { "ann" } else { "bob" }.to_owned();
    let reason = (!number.is_multiple_of(3)).then(|| format!("why {number}"));
    let actor = Actor { by, reason, ..Actor::default() };
    let Request::Signal { name, .. } = ask else { return Command::Request(ask, actor) };
    let payload = json_of(&json!({ "n": 5, "number": number }));
    Command::Request(Request::Signal { name, payload }, actor)
}

/// The untaken signals, oldest first, by the events alone.
#[derive(Debug, Default)]
struct Mail(Vec<(String, Json)>);

impl Mail {
    /// Reads an event; `before` is the state before it.
    fn read(&mut self, before: &ThreadState, event: &Event) -> Result<(), TestCaseError> {
        if let EventBody::SignalReceived(data) = &event.body {
            self.0.push((data.name.clone(), data.payload.clone()));
        }
        let EventBody::StepComplete(fact) = &event.body else { return Ok(()) };
        let at = before.plan.find(fact.step.as_str()).unwrap();
        let Some(name) = before.steps[at].own.signal() else { return Ok(()) };
        let oldest = self.0.iter().position(|(sent, _)| sent == name);
        if fact.data.error.is_some() {
            prop_assert!(oldest.is_none(), "{name} was there, and not taken");
            return Ok(());
        }
        prop_assert!(oldest.is_some(), "{name} was taken, and is not there");
        let (_, payload) = self.0.remove(oldest.unwrap());
        prop_assert_eq!(&payload, &fact.data.output, "the oldest is taken first");
        Ok(())
    }

    /// Checks that untaken signals are kept, and that no step waits for one of them.
    fn is_kept(&self, state: &ThreadState) -> Result<(), TestCaseError> {
        let kept = state.signals.iter().map(|one| (one.name.clone(), one.payload.clone()));
        prop_assert_eq!(&kept.collect::<Vec<_>>(), &self.0);
        for step in &state.steps {
            let there = self.0.iter().any(|(name, _)| Some(name.as_str()) == step.own.signal());
            prop_assert!(!there, "{:?} is there and waited for", step.own.signal());
        }
        Ok(())
    }
}

/// Decides a command and checks every promise about the events that follow.
fn watch(stage: &mut Stage, command: Command, mail: &mut Mail) -> Result<(), TestCaseError> {
    let before = stage.state.clone();
    let events = match decide(&mut stage.state, command.clone(), stage.context) {
        Ok(decided) => decided.events,
        Err(rejection) => return refused(&before, &stage.state, (&command, &rejection)),
    };
    let by_hand = matches!(command, Command::Request(Request::Retry { .. }, _));
    let mut folded = before.clone();
    for event in &events {
        if let EventBody::StepStart(_) = event.body {
            let goes_on = matches!(folded.status, ThreadStatus::Queued | ThreadStatus::Running);
            prop_assert!(goes_on && folded.error.is_none(), "{event:?} while {:?}", folded.status);
            prop_assert!(stage.context.may_start || by_hand, "{event:?} in a shutdown");
        }
        if let EventBody::CompensationStart(_) = event.body {
            let asked = matches!(command, Command::Request(..));
            prop_assert!(stage.context.may_start || asked, "{event:?} in a shutdown");
        }
        mail.read(&folded, event)?;
        let earlier = folded.clone();
        folded.apply(event);
        outputs_stand(&earlier, event, &folded)?;
        let sound = folded.validate();
        prop_assert!(sound.is_ok(), "{sound:?} after {event:?}");
    }
    prop_assert_eq!(format!("{folded:?}"), format!("{:?}", stage.state), "a replay is the state");
    mail.is_kept(&folded)?;
    if let Command::Request(ask, actor) = &command {
        told_once(&before, (ask, actor), &events)?;
        came_true(&before, ask, &folded)?;
    }
    stage.journal.extend(events);
    Ok(())
}

/// Checks that a refusal changes nothing and gives the true reason, and that no result of a current
/// attempt is refused.
fn refused(
    before: &ThreadState,
    after: &ThreadState,
    (command, rejection): (&Command, &Rejection),
) -> Result<(), TestCaseError> {
    prop_assert_eq!(format!("{before:?}"), format!("{after:?}"));
    let ended = |report: &Report| !matches!(report, Report::Slow);
    if let Command::Attempt { attempt, report } = command
        && ended(report)
    {
        prop_assert!(
            !before.is_running(*attempt),
            "the result of a running attempt is thrown away"
        );
    }
    if let (Command::Request(Request::Resolve { id, .. }, _), Rejection::Resolved { choice, by }) =
        (command, rejection)
    {
        let one = before.interventions.iter().find(|one| one.opened.id == *id).unwrap();
        let (decided, _) = one.resolved.as_ref().unwrap();
        prop_assert_eq!((choice, by), (&decided.choice, &decided.by));
    }
    Ok(())
}

/// Checks that the output of a completed step changes by an edit alone, or is given up by a resume,
/// which returns the step that it begins with, each that was undone, and all after them to before
/// their first attempt.
fn outputs_stand(
    before: &ThreadState,
    event: &Event,
    after: &ThreadState,
) -> Result<(), TestCaseError> {
    let plan = &before.plan;
    let is_edit = matches!(event.body, EventBody::StepEdited(_));
    let edited = event.body.step().filter(|_| is_edit);
    let edited = edited.and_then(|id| plan.find(id.as_str()));
    let mut again = BTreeSet::new();
    if let EventBody::WorkflowResumed(data) = &event.body
        && before.compensation_reason.is_none()
    {
        let undone = |at: &StepIx| before.steps[*at].status() == StepStatus::Compensated;
        let from = data.from_step.as_ref().and_then(|id| plan.find(id.as_str()));
        let begun = from.into_iter().chain(before.steps.places().filter(undone));
        again = begun.flat_map(|step| plan.after(step)).collect();
    }
    for ((at, earlier), later) in before.steps.placed().zip(&after.steps) {
        if again.contains(&at) {
            let fresh = (later.status(), &later.output) == (StepStatus::Pending, &None);
            prop_assert!(fresh && later.own.attempts == earlier.own.attempts, "{later:?}");
        } else if earlier.status() == StepStatus::Completed {
            let stays = matches!(later.status(), StepStatus::Completed | StepStatus::Compensated);
            prop_assert!(stays, "{event:?} has undone {earlier:?}");
            let same = edited == Some(at) || earlier.output == later.output;
            prop_assert!(same, "{event:?} has changed {earlier:?}");
        }
    }
    Ok(())
}

/// Checks that the request is one event, with actor and reason.
fn told_once(
    before: &ThreadState,
    (ask, actor): (&Request, &Actor),
    events: &[Event],
) -> Result<(), TestCaseError> {
    let deeds = events.iter().filter_map(|event| deed(before, ask, &event.body));
    let deeds: Vec<(String, Option<String>)> = deeds.collect();
    let reason = match (ask, &actor.reason) {
        (Request::Skip { .. }, None) => Some(ASKED.to_owned()),
        (_, reason) => reason.clone(),
    };
    prop_assert_eq!(deeds, vec![(actor.by.clone(), reason)], "{:?} came to {:#?}", ask, events);
    Ok(())
}

/// Returns the actor and the reason, if this event is the one that was asked for.
fn deed(before: &ThreadState, ask: &Request, body: &EventBody) -> Option<(String, Option<String>)> {
    let id = |step: &StepIx| &before.plan.steps[*step].id;
    match (ask, body) {
        (Request::Pause, EventBody::WorkflowPaused(data)) => {
            Some((data.by.clone(), data.reason.clone()))
        }
        // A thread that was paused during its compensation goes on with that.
        (
            Request::Resume(_) | Request::Retry { .. } | Request::Abort(_),
            EventBody::WorkflowResumed(data),
        ) => Some((data.by.clone(), data.reason.clone())),
        // A thread that goes on being undone may end by that; the actor of the end is then the one
        // who aborted it first.
        (Request::Abort(how), EventBody::WorkflowAborted(data))
            if before.compensation_reason.is_none() || !how.compensate =>
        {
            Some((data.by.clone(), data.reason.clone()))
        }
        (Request::Abort(_), EventBody::WorkflowPaused(data)) => {
            data.aborts_at.map(|_| (data.by.clone(), data.reason.clone()))
        }
        (Request::Abort(_), EventBody::CompensationStart(fact)) => {
            Some((fact.data.by.clone()?, fact.data.reason.clone()))
        }
        // A retry answers the question about a blocked output.
        (Request::Retry { step }, EventBody::InterventionResolved(data)) => {
            let mut all = before.open_interventions();
            let about = all.find(|one| one.opened.id == data.id)?;
            let blocked = about.opened.kind == InterventionKind::Blocked;
            let meant = blocked && about.opened.steps.contains(id(step));
            meant.then(|| (data.by.clone(), data.comment.clone()))
        }
        (Request::Retry { step }, EventBody::CompensationStart(fact)) if fact.step == *id(step) => {
            Some((fact.data.by.clone()?, fact.data.reason.clone()))
        }
        (Request::Retry { step }, EventBody::StepStart(fact)) if fact.step == *id(step) => {
            Some((fact.data.by.clone()?, fact.data.reason.clone()))
        }
        (Request::Skip { step, .. }, EventBody::StepSkipped(fact)) if fact.step == *id(step) => {
            Some((fact.data.by.clone()?, Some(fact.data.reason.clone())))
        }
        (Request::Edit { .. }, EventBody::StepEdited(fact)) => {
            Some((fact.data.by.clone(), fact.data.reason.clone()))
        }
        (Request::Signal { .. }, EventBody::SignalReceived(data)) => {
            Some((data.by.clone(), data.reason.clone()))
        }
        (Request::Resolve { id, .. }, EventBody::InterventionResolved(data)) if data.id == *id => {
            Some((data.by.clone(), data.comment.clone()))
        }
        _ => None,
    }
}

/// Checks that the request has come about.
fn came_true(
    before: &ThreadState,
    ask: &Request,
    after: &ThreadState,
) -> Result<(), TestCaseError> {
    match ask {
        Request::Pause => {
            prop_assert_eq!(after.status, ThreadStatus::Paused);
            prop_assert_eq!(&before.steps, &after.steps, "what runs goes on");
        }
        Request::Abort(how) => match after.status {
            ThreadStatus::Aborted => prop_assert!(after.current_steps().is_empty()),
            ThreadStatus::Compensating => prop_assert!(how.compensate),
            // The thread was told to go on with its compensation, and is undone as far as it could
            // be.
            ThreadStatus::Failed => {
                prop_assert!(how.compensate && before.compensation_reason.is_some());
            }
            ThreadStatus::Paused
            | ThreadStatus::Queued
            | ThreadStatus::Running
            | ThreadStatus::Completed => {
                prop_assert!(
                    after.abort_deadline().is_some() && after.has_running() && !how.grace.is_zero()
                );
            }
        },
        Request::Resume(_) if before.compensation_reason.is_some() => {
            prop_assert_ne!(after.status, ThreadStatus::Paused, "it is undone");
        }
        Request::Resume(Resume { skip, input, .. }) => {
            let skipped =
                |at: &StepIx| after.steps[*at].is_bypassed() && after.steps[*at].output.is_none();
            prop_assert!(skip.iter().all(skipped), "{skip:?} are skipped");
            prop_assert_eq!(&after.input, input.as_ref().unwrap_or(&before.input));
        }
        Request::Skip { step, output } => {
            prop_assert!(after.steps[*step].is_bypassed(), "it is skipped");
            prop_assert_eq!(&after.steps[*step].output, output);
        }
        Request::Edit { step, output } => {
            prop_assert_eq!(after.steps[*step].output.as_ref(), Some(output));
        }
        Request::Retry { step } => {
            prop_assert_ne!(after.steps[*step].status(), StepStatus::Retrying);
        }
        Request::Resolve { id, choice, .. } => {
            let one = after.interventions.iter().find(|one| one.opened.id == *id).unwrap();
            prop_assert_eq!(&one.resolved.as_ref().unwrap().0.choice, choice);
        }
        Request::Signal { .. } => {}
    }
    Ok(())
}

/// Returns the `with` that step `b` would send now, by the live state and by the journal.
#[track_caller]
fn sends(stage: &Stage) -> String {
    let journal = &stage.journal;
    let (id, plan) = (stage.state.thread_id.clone(), Arc::clone(&stage.state.plan));
    let mut replayed = ThreadState::first(id, plan, &journal[0]).unwrap();
    for event in &journal[1..] {
        replayed.apply(event);
    }
    let with = |state: &ThreadState| state.plan.steps[1].with.render(state, 1 << 20).unwrap();
    assert_eq!(with(&stage.state), with(&replayed));
    with(&stage.state).as_str().to_owned()
}

#[test]
fn whoever_depends_on_a_step_sees_the_output_that_a_person_gave() {
    let mut b = http("b", &["a"]);
    b["with"] = json!({ "url": "http://h/", "json": "{a.output}" });
    let mut c = http("c", &["a"]);
    c["when"] = json!("a.output.n == 3");
    let stage = Stage::new(json!([http("a", &[]), b, c]));
    let given = json_of(&json!({ "n": 3 }));

    let mut skipped = stage.clone();
    skipped.advance();
    let skip = Request::Skip { step: 0.into(), output: Some(given.clone()) };
    let lines = skipped.decide(asked(skip)).unwrap();
    assert_eq!(lines, ["step_skipped a asked", "step_start b 1", "step_start c 1"]);
    assert_eq!(sends(&skipped), r#"{"url":"http://h/","json":{"n":3}}"#);

    let mut edited = stage;
    edited.advance();
    edited.decide(asked(Request::Pause)).unwrap();
    assert_eq!(edited.complete("a", json!({ "n": 1 })), ["step_complete a 1"]);
    edited.decide(asked(Request::Edit { step: 0.into(), output: given })).unwrap();
    assert_eq!(edited.resume(), ["workflow_resumed", "step_start b 1", "step_start c 1"]);
    assert_eq!(sends(&edited), r#"{"url":"http://h/","json":{"n":3}}"#);
}

#[test]
fn a_thread_full_of_signals_still_takes_the_one_that_a_step_waits_for() {
    let mut stage = Stage::new(json!([
        { "id": "w", "kind": "signal", "with": { "name": "go" } }
    ]));
    stage.advance();
    let signal =
        |name: &str| asked(Request::Signal { name: name.to_owned(), payload: json_of(&json!(1)) });
    let stray = signal("stray");
    let kept = (0..2_000).take_while(|_| stage.decide(stray.clone()).is_ok()).count();
    assert_eq!(kept, 1_000);
    assert_eq!(stage.decide(stray), Err(Rejection::TooManySignals));
    let lines = stage.decide(signal("go")).unwrap();
    assert_eq!(lines, ["signal_received go", "step_complete w 1", "workflow_complete"]);
    assert_eq!(stage.state.signals.len(), 1_000);
}
