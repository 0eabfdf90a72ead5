//! Random small workflows and random histories.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::theatre::{Stage, asked};
use crate::definition::{StepIx, Work};
use crate::machine::{Abort, AttemptId, Command, Report, Request, Resume, StepState};
use crate::model::{Category, Failure, RecoveryCause};

/// Conditions: with an answer, without one, and with or without one by the outputs of dependencies.
const CONDITIONS: [&str; 6] =
    ["true", "false", "input.flag", "!input.flag", "input.missing == 1", "size('ab') == 2"];

/// Checks of outputs, which are `{"n": 0}` to `{"n": 3}`: with each outcome, and without one.
const CHECKS: [&str; 6] = [
    "output.n > 0",
    "output.n > 1 ? 'success' : 'blocked'",
    "output.n > 2 ? 'success' : output.n > 0 ? 'blocked' : 'failed'",
    "input.flag ? 'blocked' : 'failed'",
    "output.missing",
    "'perhaps'",
];

/// The names of signals that steps wait for.
pub(crate) const SIGNALS: [&str; 2] = ["red", "blue"];

/// One random step; `needs` picks among the steps before it.
#[derive(Debug, Clone)]
struct Draw {
    kind: u8,
    needs: u8,
    condition: Option<usize>,
    on_first: bool,
    goes_on: bool,
    attempts: u32,
    fallback: u8,
    compensate: u8,
    check: Option<usize>,
}

fn draw() -> impl Strategy<Value = Draw> {
    (
        0_u8..9,
        any::<u8>(),
        proptest::option::weighted(0.3, 0..CONDITIONS.len()),
        any::<bool>(),
        proptest::bool::weighted(0.25),
        1_u32..4,
        0_u8..10,
        (0_u8..6, proptest::option::weighted(0.3, 0..CHECKS.len())),
    )
        .prop_map(|(kind, needs, condition, on_first, goes_on, attempts, fallback, more)| {
            let (compensate, check) = more;
            Draw {
                kind,
                needs,
                condition,
                on_first,
                goes_on,
                attempts,
                fallback,
                compensate,
                check,
            }
        })
}

/// A workflow of one to eight steps.
pub(crate) fn workflow() -> impl Strategy<Value = Value> {
    let output = proptest::option::of(any::<bool>());
    let bound = proptest::option::weighted(0.3, 1_000_u32..60_000);
    let policies = (any::<bool>(), bound, any::<bool>());
    let shape = (proptest::collection::vec(draw(), 1..=8), output, policies);
    shape.prop_map(|(draws, output, (pauses, bound, escalates))| {
        let steps: Vec<Value> = draws.iter().enumerate().map(|(at, draw)| step(at, draw)).collect();
        let mut workflow = json!({ "name": "w", "steps": steps });
        if pauses {
            workflow["onFailure"] = json!("pause");
        }
        if let Some(bound) = bound {
            workflow["timeout"] = json!(bound);
        }
        if escalates {
            workflow["escalateAfter"] = json!("3s");
        }
        match output {
            None => {}
            Some(true) => workflow["output"] = json!("{s0.output}"),
            Some(false) => workflow["output"] = json!("{s0.output.n}"),
        }
        workflow
    })
}

fn step(at: usize, draw: &Draw) -> Value {
    // Sparse dependencies: each earlier step with a chance of about a third.
    let needs: Vec<String> = (0..at)
        .filter(|&before| (u32::from(draw.needs) >> before) % 3 == 1)
        .map(|before| format!("s{before}"))
        .collect();
    let (kind, with) = match draw.kind {
        0 => ("sleep", json!({ "for": u32::from(draw.needs) * 10 })),
        1 => ("sleep", json!({ "for": "{input.pause}" })),
        2 => ("transform", json!({ "jq": ".", "from": 1 })),
        3 => ("signal", json!({ "name": SIGNALS[at % 2] })),
        4 => ("signal", json!({ "name": SIGNALS[at % 2], "timeout": "3s" })),
        5 => ("approval", approval(draw, needs.first())),
        _ => ("http", json!({ "url": "http://h/" })),
    };
    let mut step = json!({
        "id": format!("s{at}"),
        "kind": kind,
        "with": with,
        "dependsOn": needs,
        "continueOnError": draw.goes_on,
        "retry": { "maxAttempts": draw.attempts },
    });
    let fallback = match draw.fallback {
        0 => json!({ "output": { "n": 7, "why": format!("{{s{at}.error.code}}") } }),
        1 => json!({ "output": format!("{{s{at}.error.nosuch}}") }),
        2 => {
            json!({ "kind": "http", "with": { "url": "http://f/" }, "retry": { "maxAttempts": 2 },
                    "check": CHECKS[at % CHECKS.len()] })
        }
        3 => json!({ "kind": "sleep", "with": { "for": "{input.pause}" } }),
        _ => Value::Null,
    };
    if !fallback.is_null() {
        step["fallback"] = fallback;
    }
    if let 1..=3 = draw.compensate {
        step["compensate"] = json!({
            "kind": "http",
            "with": { "url": format!("http://u/{{s{at}.output.n}}") },
            "retry": { "maxAttempts": draw.compensate },
        });
    }
    if let Some(check) = draw.check.filter(|_| matches!(kind, "http" | "transform")) {
        step["check"] = json!(CHECKS[check]);
    }
    if let Some(condition) = draw.condition {
        step["when"] = json!(CONDITIONS[condition]);
        if let (true, Some(first)) = (draw.on_first, needs.first()) {
            step["when"] = json!(format!("{first}.status == 'completed' && {first}.output.n > 1"));
        }
    }
    step
}

/// An approval whose question depends on the input, and on an output if there is one to depend on.
fn approval(draw: &Draw, need: Option<&String>) -> Value {
    let of = need.map(|need| format!(" {{{need}.output}}")).unwrap_or_default();
    let mut with = json!({ "prompt": format!("{{input.pause}}?{of}") });
    let more = if draw.goes_on {
        json!({ "timeout": "3s", "onTimeout": "reject" })
    } else {
        json!({ "timeout": "4s", "choices": ["approve"], "escalateAfter": "2s" })
    };
    for (key, value) in more.as_object().unwrap() {
        with[key] = value.clone();
    }
    with
}

/// An input under which some conditions and sleeps have an answer, and others have none.
pub(crate) fn input() -> impl Strategy<Value = Value> {
    let pause = prop_oneof![Just(json!(0)), Just(json!("2s")), Just(json!("soon"))];
    (any::<bool>(), pause).prop_map(|(flag, pause)| json!({ "flag": flag, "pause": pause }))
}

/// The next turn of a thread, in whatever state it is.
#[derive(Debug, Clone)]
pub(crate) enum Turn {
    /// Time passes, forwards or (a wall clock that was set) backwards.
    Pass(i64),
    Advance,
    /// The server begins or ends a shutdown.
    MayStart(bool),
    Complete(Target, u8),
    Fail(Target, bool, Option<u16>),
    Warn(Target),
    Recover(bool),
    Quarantine,
    Pause,
    Resume,
    /// Resumes from a step, without others, with another input.
    ResumeFrom(u8, Vec<u8>),
    /// Aborts with that many milliseconds of grace, and perhaps with compensation.
    Abort(u16, bool),
    Retry(u8),
    Skip(u8, bool),
    Edit(u8),
    Resolve(u8, u8),
    Signal(bool),
}

/// The attempt that a result is about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// The current attempt of one of the running steps.
    Current(u8),
    /// Any number of any step or compensation: mostly a duplicate, or an attempt that was never
    /// made.
    Any(u8, u32, bool),
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        4 => any::<u8>().prop_map(Target::Current),
        1 => (any::<u8>(), 0_u32..6, any::<bool>())
            .prop_map(|(step, attempt, undo)| Target::Any(step, attempt, undo)),
    ]
}

pub(crate) fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = prop_oneof![
        4 => prop_oneof![9 => 0_i64..5_000, 1 => -3_000_i64..0].prop_map(Turn::Pass),
        4 => Just(Turn::Advance),
        1 => proptest::bool::weighted(0.7).prop_map(Turn::MayStart),
        8 => (target(), 0_u8..4).prop_map(|(target, n)| Turn::Complete(target, n)),
        6 => (target(), proptest::bool::weighted(0.8), proptest::option::weighted(0.2, 0_u16..60))
            .prop_map(|(target, recoverable, after)| Turn::Fail(target, recoverable, after)),
        1 => target().prop_map(Turn::Warn),
        2 => any::<bool>().prop_map(Turn::Recover),
        1 => Just(Turn::Quarantine),
        1 => Just(Turn::Pause),
        2 => Just(Turn::Resume),
        1 => (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..3))
            .prop_map(|(step, skip)| Turn::ResumeFrom(step, skip)),
        2 => (prop_oneof![Just(0), 1_u16..9_000], any::<bool>())
            .prop_map(|(grace, compensate)| Turn::Abort(grace, compensate)),
        1 => any::<u8>().prop_map(Turn::Retry),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(step, given)| Turn::Skip(step, given)),
        1 => any::<u8>().prop_map(Turn::Edit),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(which, choice)| Turn::Resolve(which, choice)),
        2 => any::<bool>().prop_map(Turn::Signal),
    ];
    proptest::collection::vec(turn, 1..60)
}

fn failed(attempt: AttemptId, recoverable: bool, after: Option<u16>) -> Command {
    let mut failure = Failure::recoverable("e", Category::Step, "no");
    failure.recoverable = recoverable;
    let retry_after = after.map(|s| Duration::from_secs(s.into()));
    Command::Attempt { attempt, report: Report::Failed { failure, retry_after } }
}

/// Returns the attempt of a running step that is under way.
pub(crate) fn aimed_at(state: &StepState, step: StepIx) -> AttemptId {
    let work = state.running().next().unwrap_or(Work::Compensation);
    AttemptId { step, work, number: state.track(work).attempts }
}

fn slow(attempt: AttemptId) -> Command {
    Command::Attempt { attempt, report: Report::Slow }
}

/// Returns the command that an attempt has succeeded.
pub(crate) fn completed(attempt: AttemptId, n: u8) -> Command {
    let output = super::theatre::json_of(&json!({ "n": n }));
    let report = Report::Done { output, session_id: None };
    Command::Attempt { attempt, report }
}

fn abort(grace: u16, compensate: bool) -> Command {
    asked(Request::Abort(Abort { grace: Duration::from_millis(grace.into()), compensate }))
}

/// Returns a decision of any intervention, by a choice that it offers or not, with the digest that
/// was seen or another.
fn resolved(stage: &Stage, which: u8, choice: u8) -> Option<Command> {
    let all = &stage.state.interventions;
    let one = all.get(usize::from(which).checked_rem(all.len())?)?;
    let choices = &one.opened.choices;
    let choice = choices.get(usize::from(choice) % (choices.len() + 1));
    let choice = choice.cloned().unwrap_or_else(|| "perhaps".to_owned());
    let digest = match which % 3 {
        0 => None,
        1 => one.opened.digest.clone(),
        _ => Some("0".repeat(64)),
    };
    Some(asked(Request::Resolve { id: one.opened.id.clone(), choice, digest }))
}

impl Turn {
    /// Returns the command of the turn, if it has one; time and shutdowns change the stage instead.
    pub(crate) fn command(&self, stage: &mut Stage) -> Option<Command> {
        Some(match self {
            Self::Pass(millis) => {
                stage.pass(*millis);
                return None;
            }
            Self::MayStart(may_start) => {
                stage.context.may_start = *may_start;
                return None;
            }
            Self::Advance => Command::Advance,
            Self::Complete(target, n) => completed(target.of(stage)?, *n),
            Self::Fail(target, recoverable, after) => {
                failed(target.of(stage)?, *recoverable, *after)
            }
            Self::Warn(target) => slow(target.of(stage)?),
            Self::Recover(lost) => {
                let cause = if *lost { RecoveryCause::Crashed } else { RecoveryCause::Handover };
                Command::Recover(super::theatre::takeover(cause, i64::from(*lost)))
            }
            Self::Quarantine => {
                let takeover = super::theatre::takeover(RecoveryCause::Frozen, 9);
                Command::Quarantine { takeover, losses: 6 }
            }
            Self::Pause => asked(Request::Pause),
            Self::Resume => asked(Request::Resume(Resume::default())),
            Self::ResumeFrom(step, skip) => {
                let at = |step: &u8| place(stage, *step);
                let input = super::theatre::json_of(&json!({ "flag": true, "pause": 1 }));
                asked(Request::Resume(Resume {
                    from_step: Some(at(step)),
                    skip: skip.iter().map(at).collect(),
                    input: Some(input),
                }))
            }
            Self::Abort(grace, compensate) => abort(*grace, *compensate),
            Self::Retry(step) => asked(Request::Retry { step: place(stage, *step) }),
            Self::Skip(step, given) => {
                let step = place(stage, *step);
                let output = given.then(|| super::theatre::json_of(&json!({ "n": 3 })));
                asked(Request::Skip { step, output })
            }
            Self::Edit(step) => {
                let step = place(stage, *step);
                let output = super::theatre::json_of(&json!({ "n": 4 }));
                asked(Request::Edit { step, output })
            }
            Self::Signal(red) => {
                let payload = super::theatre::json_of(&json!({ "n": 5 }));
                let name = SIGNALS[usize::from(!red)].to_owned();
                asked(Request::Signal { name, payload })
            }
            Self::Resolve(which, choice) => resolved(stage, *which, *choice)?,
        })
    }
}

/// Returns one of the steps.
fn place(stage: &Stage, step: u8) -> StepIx {
    (usize::from(step) % stage.state.steps.len()).into()
}

impl Target {
    fn of(self, stage: &Stage) -> Option<AttemptId> {
        let steps = &stage.state.steps;
        match self {
            Self::Any(step, number, undo) => {
                let step = place(stage, step);
                let work = if undo { Work::Compensation } else { steps[step].work() };
                Some(AttemptId { step, work, number })
            }
            Self::Current(pick) => {
                let is_running = |step: &StepIx| steps[*step].is_running();
                let running: Vec<StepIx> = steps.places().filter(is_running).collect();
                let step = *running.get(usize::from(pick).checked_rem(running.len())?)?;
                Some(aimed_at(&steps[step], step))
            }
        }
    }
}
