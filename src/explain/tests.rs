//! Explanations of why a thread does not move: a table of ways to stand still, and properties of
//! all of them.

mod ends;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::{Value, json};

use super::{Answering, Facts, Hands, KnownCircuit, PendingMessage, explain};
use crate::contract::{Cause, CauseKind, Explanation, Operation};
use crate::machine::tests::random::{input, turns, workflow};
use crate::machine::tests::theatre::{
    Stage, asked, broken, http, http_with, json_of, plan, refused, takeover,
};
use crate::machine::{Abort, Command, Report, Request, Resume, ThreadState, decide};
use crate::model::{Category, Failure, RecoveryCause, StepId, ThreadStatus, Timeouts, Timestamp};

/// The number of histories per run: every state of each is explained under several facts.
const CASES: u32 = 192;

/// A thread that the answering replica drives.
pub(super) fn facts(stage: &Stage) -> Facts {
    Facts {
        thread_id: stage.state.thread_id.clone(),
        status: stage.state.status,
        last_seq: stage.state.last_seq,
        updated_at: stage.state.updated_at,
        now: stage.context.now,
        replica: Answering {
            name: "here".to_owned(),
            holds: true,
            draining: false,
            driving: 1,
            max_running: 1,
            full: true,
            timeouts: Timeouts::AS_WRITTEN,
        },
        hands: Hands::Here,
        wake_at: None,
        claims: 0,
        waits: None,
        replicas: 1,
        ahead: 0,
        mail: Vec::new(),
        unreadable: None,
        failed_recovery: None,
        circuits: BTreeMap::new(),
        silences: BTreeMap::new(),
    }
}

pub(super) fn told(stage: &Stage, facts: &Facts) -> Explanation {
    explain(Some(&stage.state), facts)
}

#[track_caller]
pub(super) fn only(stage: &Stage, facts: &Facts, kind: CauseKind) -> Cause {
    let told = told(stage, facts);
    let kinds: Vec<CauseKind> = told.causes.iter().map(|cause| cause.kind).collect();
    assert_eq!(kinds, [kind], "{told:#?}");
    assert_eq!(told.sentence, told.causes[0].sentence);
    told.causes.into_iter().next().unwrap()
}

/// Returns the request that an operation makes of the machine.
fn asks(operation: &Operation, state: &ThreadState) -> Request {
    let place = |step: &StepId| state.plan.find(step.as_str()).unwrap();
    match operation.clone() {
        Operation::Resume => Request::Resume(Resume::default()),
        Operation::Abort { compensate } => {
            let compensate = compensate.unwrap_or_default();
            Request::Abort(Abort { compensate, ..Abort::default() })
        }
        Operation::Retry { step } => Request::Retry { step: place(&step) },
        Operation::Skip { step, output } => {
            Request::Skip { step: place(&step), output: output.as_ref().map(json_of) }
        }
        Operation::Signal { name } => Request::Signal { name, payload: json_of(&json!({})) },
        Operation::Resolve { id, choice, digest } => Request::Resolve { id, choice, digest },
    }
}

/// Returns the operation that would end a cause.
#[track_caller]
pub(super) fn operation(cause: Cause) -> Operation {
    cause.advice.unwrap_or_else(|| panic!("{}", cause.sentence)).operation
}

fn id(step: &str) -> StepId {
    StepId::parse(step).unwrap()
}

fn decided_for(choice: &str, cause: Cause) -> bool {
    matches!(operation(cause), Operation::Resolve { choice: told, digest: None, .. } if told == choice)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_there_is_a_cause_and_its_advice_works(
        workflow in workflow(), input in input(), turns in turns(),
    ) {
        let mut stage = Stage::of(plan(&workflow), &input);
        explained(&stage)?;
        for turn in &turns {
            let Some(command) = turn.command(&mut stage) else { continue };
            if decide(&mut stage.state, command, stage.context).is_ok() {
                explained(&stage)?;
            }
        }
    }
}

/// Checks the explanations of a state, under each kind of ownership.
fn explained(stage: &Stage) -> Result<(), TestCaseError> {
    let here = facts(stage);
    let free = Facts { hands: Hands::Nobody, wake_at: stage.state.next_wake(), ..here.clone() };
    let due = Facts { wake_at: Some(stage.context.now), ..free.clone() };
    let lost = Facts { hands: Hands::Lost { replica: None, since: None }, ..here.clone() };
    for facts in [here, free, due, lost] {
        let told = told(stage, &facts);
        prop_assert!(!told.causes.is_empty(), "{:#?}", stage.state);
        for cause in &told.causes {
            sound(stage, cause)?;
        }
        let mut open = told.causes.iter();
        let held = !open.any(|cause| cause.by_itself || cause.advice.is_some());
        prop_assert!(!held || stage.state.status.is_terminal(), "for ever: {told:#?}");
        let idle = !stage.state.has_running() && stage.state.next_wake().is_none();
        if idle && facts.hands == Hands::Here && !stage.state.status.is_terminal() {
            let ready = told.causes.iter().any(|cause| cause.kind == CauseKind::Ready);
            let ended = told.causes.iter().any(|cause| cause.advice.is_some());
            prop_assert!(ready || ended, "nobody can end it: {told:#?}");
        }
        prop_assert!(told.causes.is_sorted_by_key(|cause| cause.kind));
        prop_assert_eq!(told.moving, facts.hands == Hands::Here && stage.state.has_running());
    }
    Ok(())
}

fn sound(on: &Stage, cause: &Cause) -> Result<(), TestCaseError> {
    let state = &on.state;
    prop_assert!(cause.sentence.ends_with('.') && !cause.sentence.contains("  "), "{cause:#?}");
    prop_assert!(!cause.ends_with.is_empty() && cause.detail.is_object(), "{cause:#?}");
    prop_assert!(cause.until.is_none() || cause.by_itself, "{cause:#?}");
    let known = |id: &StepId| state.plan.find(id.as_str()).is_some();
    prop_assert!(cause.step_id.as_ref().is_none_or(known));
    if let Some(advice) = &cause.advice {
        let mut after = state.clone();
        let done = decide(&mut after, asked(asks(&advice.operation, state)), on.context);
        prop_assert!(done.is_ok_and(|decided| !decided.events.is_empty()), "{cause:#?}");
    }
    Ok(())
}

#[test]
fn what_a_step_waits_for_is_told_with_the_advice_that_ends_it() {
    let mut stage = Stage::new(json!([
        { "id": "nap", "kind": "sleep", "with": { "for": "90s" } },
        { "id": "sign", "kind": "signal", "with": { "name": "go", "timeout": "5m" } },
        { "id": "ask", "kind": "approval",
          "with": { "prompt": "Ship it?", "choices": ["yes", "no"], "timeout": "1h", "onTimeout": "no" } },
        http_with("call", &[], json!({ "timeout": "30s" })),
    ]));
    stage.advance();
    stage.pass(10_000);
    let silences = BTreeMap::from([(3.into(), Duration::from_secs(3))]);
    let told = told(&stage, &Facts { silences, ..facts(&stage) });
    assert!(told.moving);
    let summary: Vec<_> = told
        .causes
        .iter()
        .map(|cause| {
            let operation = operation(cause.clone());
            (cause.kind, cause.step_id.as_ref().unwrap().as_str(), operation)
        })
        .collect();
    let opened = &stage.state.interventions[0].opened;
    let (asks, digest) = (opened.id.clone(), opened.digest.clone());
    assert!(digest.is_some());
    assert_eq!(
        summary,
        [
            (
                CauseKind::Approval,
                "ask",
                Operation::Resolve { id: asks, choice: "yes".to_owned(), digest }
            ),
            (CauseKind::Signal, "sign", Operation::Signal { name: "go".to_owned() }),
            (
                CauseKind::Timer,
                "nap",
                Operation::Skip { step: id("nap"), output: Some(json!({ "sleptMs": 10_000 })) }
            ),
            (CauseKind::Attempt, "call", Operation::Skip { step: id("call"), output: None }),
        ]
    );
    let [ask, sign, nap, call] = told.causes.as_slice() else { panic!("{told:#?}") };
    assert!(ask.sentence.contains("Ship it?") && ask.sentence.contains("\"no\" is chosen"));
    assert!(sign.sentence.contains("the signal go since") && sign.sentence.contains("in 4 m 50 s"));
    assert!(nap.sentence.contains("in 1 m 20 s"), "{}", nap.sentence);
    assert!(call.sentence.contains("(10 s), with its last sign of life 3 s ago; its timeout ends"));
    assert!(call.by_itself && call.detail["silentMs"] == 3_000);
    assert_eq!(call.until, Some(stage.state.created_at.plus(Duration::from_secs(30))));
}

#[test]
fn a_retry_is_told_apart_from_an_open_circuit_and_a_cool_down() {
    let mut stage =
        Stage::new(json!([http_with("a", &[], json!({ "retry": { "maxAttempts": 4 } }))]));
    stage.advance();
    stage.pass(500);
    stage.fail("a", broken());
    stage.pass(100);
    let here = facts(&stage);
    let retry = only(&stage, &here, CauseKind::Retry);
    assert!(retry.sentence.contains("has failed 1 of 4 times (connection_failed: refused)"));
    assert_eq!(retry.since, Some(Timestamp::from_millis(stage.context.now.millis() - 100)));
    assert_eq!(retry.until, stage.state.next_wake());
    assert_eq!(operation(retry), Operation::Retry { step: id("a") });
    let mut known = KnownCircuit {
        key: "h:80".to_owned(),
        state: Some("open"),
        failures: 5,
        opened_at: Some(stage.context.now),
        retry_at: Some(stage.context.now.plus(Duration::from_mins(1))),
        cools_until: None,
    };
    let with = |known: &KnownCircuit| Facts {
        circuits: BTreeMap::from([(0.into(), known.clone())]),
        ..here.clone()
    };
    let open = only(&stage, &with(&known), CauseKind::Circuit);
    assert!(open.sentence.contains("the circuit of h:80 is open"), "{}", open.sentence);
    assert!(open.sentence.contains("in 1 m"), "{}", open.sentence);
    assert_eq!(open.detail["circuit"]["seenBy"], "here");
    assert_eq!(operation(open), Operation::Skip { step: id("a"), output: None });
    known.state = Some("closed");
    only(&stage, &with(&known), CauseKind::Retry);
    known.cools_until = Some(stage.context.now);
    only(&stage, &with(&known), CauseKind::CoolDown);

    // On another replica, the journal has to be enough.
    for (code, category, kind) in [
        ("circuit_open", Category::External, CauseKind::Circuit),
        ("http_status", Category::RateLimit, CauseKind::CoolDown),
    ] {
        let mut stage = Stage::new(json!([http("a", &[])]));
        stage.advance();
        stage.fail("a", Failure::recoverable(code, category, "no"));
        let cause = only(&stage, &facts(&stage), kind);
        assert_eq!(cause.detail["circuit"], Value::Null);
        assert!(!cause.sentence.contains("is open"), "{}", cause.sentence);
    }
}

#[test]
fn a_paused_thread_tells_who_did_it_and_why() {
    let mut stage = Stage::new(json!([http("a", &[])]));
    let actor = crate::machine::Actor {
        by: "ann".to_owned(),
        reason: Some("lunch".to_owned()),
        ..Default::default()
    };
    stage.advance();
    stage.decide(Command::Request(Request::Pause, actor)).unwrap();
    let told = told(&stage, &facts(&stage));
    assert!(told.sentence.starts_with("ann has paused it since"), "{}", told.sentence);
    assert!(told.sentence.contains(": lunch."), "{}", told.sentence);
    assert_eq!(operation(told.causes[0].clone()), Operation::Resume);
    assert_eq!(told.causes[1].kind, CauseKind::Attempt);
    stage.resume();
    assert_eq!(stage.state.paused_by, None);
    only(&stage, &facts(&stage), CauseKind::Attempt);
}

#[test]
fn what_waits_for_a_persons_decision_offers_the_first_choice() {
    let mut stage = Stage::with(
        json!({ "name": "w", "onFailure": "pause", "steps": [http("a", &[])] }),
        json!({}),
    );
    stage.advance();
    stage.fail("a", refused());
    let failure = only(&stage, &facts(&stage), CauseKind::Failure);
    assert_eq!(failure.detail["choices"], json!(["retry", "skip", "abort"]));
    assert!(failure.sentence.contains("http_status: 404") && !failure.by_itself);
    assert!(decided_for("retry", failure));

    let mut stage = Stage::new(json!([http("a", &[])]));
    stage.advance();
    let takeover = takeover(RecoveryCause::Crashed, 7);
    stage.decide(Command::Quarantine { takeover, losses: 6 }).unwrap();
    let poison = only(&stage, &facts(&stage), CauseKind::Poison);
    assert!(decided_for("resume", poison));
}

#[test]
fn a_failing_thread_waits_for_the_attempts_under_way() {
    let mut stage = Stage::new(json!([http("a", &[]), http("b", &[])]));
    stage.advance();
    stage.fail("a", refused());
    let told = told(&stage, &facts(&stage));
    let kinds: Vec<_> = told.causes.iter().map(|cause| cause.kind).collect();
    assert_eq!(kinds, [CauseKind::Failing, CauseKind::Attempt]);
    assert!(told.sentence.contains("have ended: b."), "{}", told.sentence);
    stage.complete("b", json!(1));
    let failed = only(&stage, &facts(&stage), CauseKind::Failed);
    assert!(failed.sentence.contains("in step a: http_status: 404. Another try fails"));
    assert_eq!(operation(failed), Operation::Resume);
}

#[test]
fn an_end_is_told_and_only_what_may_help_is_offered() {
    let mut stage = Stage::with(
        json!({ "name": "w", "steps": [http("a", &[])], "output": "{a.output.nosuch}" }),
        json!({}),
    );
    stage.advance();
    stage.complete("a", json!({}));
    // Its output cannot be made, however often it is tried.
    assert_eq!(only(&stage, &facts(&stage), CauseKind::Failed).advice, None);

    let mut stage = Stage::new(json!([http("a", &[])]));
    stage.advance();
    stage.abort();
    let aborted = only(&stage, &facts(&stage), CauseKind::Aborted);
    assert!(aborted.sentence.contains("aborted by ann"), "{}", aborted.sentence);
    stage.resume();
    stage.complete("a", json!(1));
    let completed = only(&stage, &facts(&stage), CauseKind::Completed);
    assert_eq!((completed.advice, completed.since), (None, stage.state.completed_at));
}

#[test]
fn whose_hands_it_is_in_comes_before_what_its_steps_wait_for() {
    let mut stage = Stage::new(json!([http("a", &[])]));
    let here = facts(&stage);
    only(&stage, &here, CauseKind::Ready);
    let now = stage.context.now;
    let free = Facts { hands: Hands::Nobody, wake_at: Some(now), ..here.clone() };
    let queued = only(&stage, &Facts { ahead: 3, ..free.clone() }, CauseKind::Queued);
    for part in ["as many as it may", "no other replica is alive", "3 threads are before it"] {
        assert!(queued.sentence.contains(part), "{}", queued.sentence);
    }
    let mut idle = free.clone();
    idle.replica.driving = 0;
    let queued = only(&stage, &idle, CauseKind::Queued);
    assert!(queued.sentence.contains("here has no memory"), "{}", queued.sentence);
    idle.replica.full = false;
    let queued = only(&stage, &idle, CauseKind::Queued);
    assert!(queued.sentence.contains("here or another replica to take it"), "{}", queued.sentence);
    only(&stage, &Facts { wake_at: None, ..free.clone() }, CauseKind::Stranded);

    stage.advance();
    let later = Some(now.plus(Duration::from_mins(1)));
    let rests = Facts { wake_at: later, claims: 4, ..free };
    let first = |facts: &Facts| told(&stage, facts).causes[0].clone();
    let aside = first(&rests);
    assert_eq!((aside.kind, aside.until), (CauseKind::SetAside, later));
    assert!(aside.sentence.contains("lost with 4 replicas"), "{}", aside.sentence);
    let failed = first(&Facts { failed_recovery: Some("bad".to_owned()), ..rests });
    assert!(failed.sentence.contains("last recovery failed (bad)"), "{}", failed.sentence);

    let elsewhere = |silent| Facts {
        hands: Hands::Elsewhere { replica: "there".to_owned(), lease_until: now, silent },
        ..here.clone()
    };
    assert!(told(&stage, &elsewhere(None)).moving);
    assert_eq!(first(&elsewhere(None)).kind, CauseKind::Attempt);
    let silent = told(&stage, &elsewhere(Some(Duration::from_secs(4))));
    assert!(!silent.moving);
    assert!(silent.sentence.contains("there owns it and has not been heard of for 4 s"));
    let replica = Some("there".to_owned());
    let lost = Facts { hands: Hands::Lost { replica, since: Some(now) }, ..here.clone() };
    assert!(first(&lost).sentence.starts_with("Replica there owned it, and its lease has run out"));
    assert!(first(&lost).sentence.contains("no other replica is alive"));

    let mut deaf = here.clone();
    deaf.replica.holds = false;
    assert_eq!(first(&deaf).kind, CauseKind::Authority);
    let mut abort_deadline = here.clone();
    abort_deadline.replica.draining = true;
    assert_eq!(first(&abort_deadline).kind, CauseKind::Shutdown);
    let letter = PendingMessage { asks: "abort", by: "ann".to_owned() };
    let mail = first(&Facts { mail: vec![letter], ..here.clone() });
    assert_eq!(mail.sentence, "In its inbox, not taken yet: abort by ann.");
    let taken = Facts { hands: Hands::TakenUpHere, ..here };
    let suspect = first(&Facts { waits: Some(3), ..taken.clone() });
    assert_eq!(suspect.kind, CauseKind::TakingUp);
    assert!(suspect.sentence.contains("3 replicas were lost"), "{suspect:?}");
    assert_eq!(first(&taken).kind, CauseKind::TakingUp);
}

#[test]
fn a_thread_that_cannot_be_rebuilt_is_explained_all_the_same() {
    let stage = Stage::new(json!([http("a", &[])]));
    let wake_at = Some(stage.context.now.plus(Duration::from_secs(20)));
    let unreadable = Some("event 3 follows event 1".to_owned());
    let facts = Facts { hands: Hands::Nobody, wake_at, unreadable, ..facts(&stage) };
    let told = explain(None, &facts);
    assert_eq!((told.status, told.moving), (ThreadStatus::Queued, false));
    let [cause] = told.causes.as_slice() else { panic!("{told:#?}") };
    assert_eq!((cause.kind, cause.until, &cause.advice), (CauseKind::Unreadable, wake_at, &None));
    assert!(told.sentence.contains("event 3 follows event 1; a replica tries again at"));
}

#[test]
fn what_ends_a_thread_from_outside_its_steps_is_told() {
    let undo =
        json!({ "kind": "http", "with": { "url": "http://u/" }, "retry": { "maxAttempts": 2 } });
    let steps = json!([http_with("a", &[], json!({ "compensate": undo })), http("b", &["a"]),]);
    let mut stage = Stage::with(json!({ "name": "w", "timeout": "1h", "steps": steps }), json!({}));
    stage.advance();
    stage.complete("a", json!(1));
    let kinds = |stage: &Stage| -> Vec<CauseKind> {
        told(stage, &facts(stage)).causes.iter().map(|cause| cause.kind).collect()
    };
    assert_eq!(kinds(&stage), [CauseKind::Attempt, CauseKind::Deadline]);

    let mut stopping = stage.clone();
    let grace = Duration::from_secs(10);
    stopping.decide(asked(Request::Abort(Abort { grace, compensate: true }))).unwrap();
    let first = told(&stopping, &facts(&stopping)).causes.remove(0);
    assert_eq!(first.kind, CauseKind::Stopping);
    assert!(first.sentence.contains("the attempts of b may end by themselves"), "{first:#?}");
    assert_eq!(first.until, Some(stopping.context.now.plus(grace)));

    stage.decide(asked(Request::Abort(Abort { compensate: true, ..Abort::default() }))).unwrap();
    let undoes = only(&stage, &facts(&stage), CauseKind::Compensating);
    assert!(undoes.sentence.contains("an attempt of its compensation is under way"));
    let what = Report::Failed { failure: broken(), retry_after: None };
    stage.undo("a", what.clone());
    let retries = only(&stage, &facts(&stage), CauseKind::Compensating);
    assert!(retries.sentence.contains("has failed 1 of 2 times (connection_failed: refused)"));
    assert_eq!(retries.until, stage.state.next_wake());
    assert_eq!(operation(retries), Operation::Retry { step: id("a") });
    stage.pass(60_000).advance();
    stage.undo("a", what);
    let failed = only(&stage, &facts(&stage), CauseKind::Failed);
    assert!(failed.sentence.contains("Not undone: a"), "{failed:#?}");
    // Going forwards would add effects on top of a half-undone thread.
    assert_eq!(operation(failed), Operation::Abort { compensate: Some(true) });
}

#[test]
fn a_blocked_output_waits_for_a_person() {
    let step = http_with("a", &[], json!({ "check": "'blocked'" }));
    let mut stage = Stage::new(json!([step]));
    stage.advance();
    stage.complete("a", json!(1));
    let cause = only(&stage, &facts(&stage), CauseKind::Blocked);
    assert_eq!(cause.step_id.as_ref().map(StepId::as_str), Some("a"));
    let Operation::Resolve { choice, digest, .. } = operation(cause) else { panic!() };
    assert_eq!(choice, "accept");
    assert!(digest.is_some());
}
