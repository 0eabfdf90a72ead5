//! Random workflows, the behaviour of their steps, and their expected results, which are computed
//! here from the drawn plan, without the machine.

use serde_json::{Value, json};

use super::random::Rng;

/// A drawn step.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) needs: Vec<usize>,
    pub(super) work: Work,
    pub(super) condition: Option<Condition>,
    pub(super) goes_on: bool,
    pub(super) max_attempts: u32,
    pub(super) fallback: Option<Fallback>,
    /// The behaviour of the step's compensation, if it has one.
    pub(super) compensate: Option<Script>,
    /// Whether a person looks at an odd output of the step.
    pub(super) checked: bool,
}

impl Step {
    /// Returns a number that differs from step to step.
    fn weight(&self) -> u64 {
        let work = match &self.work {
            Work::Sleep(millis) => *millis,
            Work::Http(script) => script.slowness * 7 + 1,
        };
        let needs: usize = self.needs.iter().map(|need| need + 1).sum();
        work * 31 + u64::from(self.max_attempts) * 5 + u64::try_from(needs).unwrap()
    }
}

/// The replacement of a step that always fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fallback {
    /// A value.
    Output,
    /// A call that answers as the step would.
    Call,
}

/// The work of a step.
#[derive(Debug, Clone)]
pub(super) enum Work {
    /// Waits for this many milliseconds.
    Sleep(u64),
    /// Performs an effect and answers with a value computed from its inputs.
    Http(Script),
}

/// The behaviour of an http step.
#[derive(Debug, Clone)]
pub(super) struct Script {
    pub(super) mood: Mood,
    /// The kind of failure of an attempt that fails.
    pub(super) fault: Fault,
    /// The longest time that an attempt takes, in milliseconds; 0: it ends without waiting.
    pub(super) slowness: u64,
    /// Whether the effect comes at the end of that time, not at its beginning.
    pub(super) acts_late: bool,
}

/// The rule by which attempts of a step fail.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mood {
    /// The step fails this often in a run-through, which is less often than its attempts allow.
    Flaky(u32),
    /// The step always fails, until its thread was resumed this often.
    Broken(u32),
    /// The step always fails.
    Doomed,
    /// The step ends the replica that performs it, until its thread was resumed this often, or
    /// always.
    Poison(Option<u32>),
}

/// The kind of failure of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Recoverable,
    Permanent,
    /// The attempt never ends by itself; the timeout of its step ends it, or its silence.
    Hangs,
    /// The attempt asks to be left alone for this many milliseconds.
    AsksToWait(u64),
}

/// A condition whose answer follows from the input and from the results of dependencies.
#[derive(Debug, Clone, Copy)]
pub(super) enum Condition {
    InputIsEven,
    /// This dependency completed with an even value.
    IsEven(usize),
    /// This dependency was not skipped.
    WasNotSkipped(usize),
}

/// The end of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Slept,
    Value(u64),
    Failed,
    Skipped,
}

/// A drawn workflow with its input.
#[derive(Debug, Clone)]
pub(super) struct Drawn {
    pub(super) name: String,
    pub(super) steps: Vec<Step>,
    pub(super) input: u64,
    has_output: bool,
    /// The time after which a question about the thread is escalated, in milliseconds.
    patience: Option<u64>,
}

/// The output that stands in for a step.
const STAND_IN: u64 = 4_242;
/// The number of attempts of a compensation.
const UNDO_ATTEMPTS: u32 = 3;
/// The longest time that an attempt may take, in milliseconds.
pub(super) const TIMEOUT: u64 = 3_000;
/// The longest time that a slow attempt may go without a heartbeat, in milliseconds: as far above
/// the time that one goes without as [`TIMEOUT`] is above the time that one takes.
const HEARTBEAT_TIMEOUT: u64 = 600;
/// The time between two heartbeats of an attempt, in milliseconds.
pub(super) const BEAT: u64 = 100;
/// A sleep that is longer than a thread is kept in memory: the thread is released meanwhile.
const LONG_SLEEP: u64 = 12_000;

impl Drawn {
    pub(super) fn new(rng: &mut Rng, name: String) -> Self {
        let count = rng.range(1, 5);
        let mut steps: Vec<Step> = Vec::new();
        for _ in 0..count {
            let step = draw_step(rng, &steps);
            steps.push(step);
        }
        let (input, has_output) = (rng.range(0, 9), rng.chance(2));
        // These dice are separate, so that a seed's other draws stay as they are.
        let mut own = Rng::new(input, steps.iter().map(Step::weight).sum());
        for step in &mut steps {
            step.checked = matches!(&step.work, Work::Http(_)) && own.chance(4);
        }
        let patience = *own.pick(&[None, Some(500), Some(LONG_SLEEP)]);
        Self { name, steps, input, has_output, patience }
    }

    /// Draws a chain of steps, one of which ends the replica that performs it.
    pub(super) fn poisoned(rng: &mut Rng, name: String) -> Self {
        let at = rng.range(0, 1);
        let heals_at = rng.chance(2).then(|| u32::try_from(rng.range(1, 2)).unwrap());
        let step = |number: u64| {
            let mood = if number == at { Mood::Poison(heals_at) } else { Mood::Flaky(0) };
            let needs = number.checked_sub(1).map(|need| usize::try_from(need).unwrap());
            let (slowness, acts_late) = (*rng.pick(&[0, 0, 50, 700]), rng.chance(2));
            let script = Script { mood, fault: Fault::Recoverable, slowness, acts_late };
            Step {
                needs: needs.into_iter().collect(),
                work: Work::Http(script),
                condition: None,
                goes_on: false,
                max_attempts: 1,
                fallback: None,
                compensate: None,
                checked: false,
            }
        };
        let steps = (0..=at + 1).map(step).collect();
        let patience = None;
        Self { name, steps, input: rng.range(0, 9), has_output: rng.chance(2), patience }
    }

    /// Makes attempts take long, so that many are under way when a replica is lost.
    pub(super) fn dawdle(&mut self) {
        for step in &mut self.steps {
            if let Work::Http(script) = &mut step.work {
                script.slowness = TIMEOUT - 500;
            }
            if let Some(script) = &mut step.compensate {
                script.slowness = TIMEOUT - 500;
            }
        }
    }

    /// Returns the step that ends its replica, if there is one.
    pub(super) fn poison(&self) -> Option<usize> {
        self.steps.iter().position(|step| match &step.work {
            Work::Http(script) => matches!(script.mood, Mood::Poison(_)),
            Work::Sleep(_) => false,
        })
    }

    /// Returns the workflow as a client sends it.
    pub(super) fn json(&self) -> Value {
        let steps: Vec<Value> = (0..self.steps.len()).map(|at| self.step_json(at)).collect();
        let mut workflow = json!({ "name": self.name, "steps": steps });
        if self.has_output {
            workflow["output"] = json!({ "all": references(&self.http_steps()) });
        }
        if let Some(patience) = self.patience {
            workflow["escalateAfter"] = json!(patience);
        }
        workflow
    }

    fn http_steps(&self) -> Vec<usize> {
        (0..self.steps.len()).filter(|&at| self.is_http(at)).collect()
    }

    fn is_http(&self, at: usize) -> bool {
        matches!(self.steps[at].work, Work::Http(_))
    }

    fn step_json(&self, at: usize) -> Value {
        let step = &self.steps[at];
        let needs: Vec<String> = step.needs.iter().map(|need| format!("s{need}")).collect();
        let (kind, with) = match step.work {
            Work::Sleep(millis) => ("sleep", json!({ "for": millis })),
            Work::Http(_) => {
                let given = references(&self.given(at));
                let body = json!({ "own": "{input.n}", "given": given });
                ("http", json!({ "url": format!("http://h/s{at}"), "json": body }))
            }
        };
        let mut out = json!({
            "id": format!("s{at}"),
            "kind": kind,
            "with": with,
            "dependsOn": needs,
            "continueOnError": step.goes_on,
            "retry": { "maxAttempts": step.max_attempts, "initialInterval": 200 },
            "timeout": TIMEOUT,
            "warnAfter": TIMEOUT / 2,
        });
        // Slow steps are slower than this, and send heartbeats meanwhile.
        if let Work::Http(Script { slowness: 400.., .. }) = step.work {
            out["heartbeatTimeout"] = json!(HEARTBEAT_TIMEOUT);
        }
        match step.fallback {
            None => {}
            Some(Fallback::Output) => out["fallback"] = json!({ "output": { "value": STAND_IN } }),
            Some(Fallback::Call) => {
                out["fallback"] =
                    json!({ "kind": "http", "with": out["with"], "timeout": TIMEOUT });
            }
        }
        if step.compensate.is_some() {
            out["compensate"] = json!({
                "kind": "http",
                "with": { "url": format!("http://h/s{at}"), "json": { "of": format!("{{s{at}.output}}") } },
                "retry": { "maxAttempts": UNDO_ATTEMPTS, "initialInterval": 200 },
                "timeout": TIMEOUT,
                "warnAfter": TIMEOUT / 2,
            });
        }
        if step.checked {
            out["check"] = json!("output.value % 2 == 0 ? 'success' : 'blocked'");
        }
        if let Some(condition) = step.condition {
            out["when"] = json!(match condition {
                Condition::InputIsEven => "input.n % 2 == 0".to_owned(),
                Condition::IsEven(need) => {
                    format!("s{need}.status == 'completed' && s{need}.output.value % 2 == 0")
                }
                Condition::WasNotSkipped(need) => format!("s{need}.status != 'skipped'"),
            });
        }
        out
    }

    /// Returns the dependencies whose outputs an http step is given.
    fn given(&self, at: usize) -> Vec<usize> {
        self.steps[at].needs.iter().copied().filter(|&need| self.is_http(need)).collect()
    }

    /// Returns how every step ends once everything is resumed as often as it needs.
    pub(super) fn ends(&self) -> Vec<End> {
        let mut ends: Vec<End> = Vec::new();
        for (at, step) in self.steps.iter().enumerate() {
            let skipped = |need: &usize| ends[*need] == End::Skipped;
            let all_skipped = !step.needs.is_empty() && step.needs.iter().all(skipped);
            let wanted = match step.condition {
                None => true,
                Some(Condition::InputIsEven) => self.input.is_multiple_of(2),
                Some(Condition::IsEven(need)) => {
                    matches!(ends[need], End::Value(value) if value.is_multiple_of(2))
                }
                Some(Condition::WasNotSkipped(need)) => ends[need] != End::Skipped,
            };
            let end = match &step.work {
                _ if all_skipped || !wanted => End::Skipped,
                Work::Sleep(_) => End::Slept,
                Work::Http(Script { mood: Mood::Doomed, .. }) if step.fallback.is_none() => {
                    End::Failed
                }
                Work::Http(_) if step.fallback == Some(Fallback::Output) => End::Value(STAND_IN),
                Work::Http(_) => {
                    let value_of = |need: &usize| match ends[*need] {
                        End::Value(value) => Some(value),
                        End::Slept | End::Failed | End::Skipped => None,
                    };
                    let given: Vec<_> = self.given(at).iter().map(value_of).collect();
                    End::Value(value(self.input, &given))
                }
            };
            ends.push(end);
        }
        ends
    }

    /// Returns whether the thread can complete: no doomed step that fails the thread is reached.
    pub(super) fn can_complete(&self) -> bool {
        let fatal = |(end, step): (&End, &Step)| *end == End::Failed && !step.goes_on;
        let lethal = |step: &Step| match &step.work {
            Work::Http(script) => matches!(script.mood, Mood::Poison(None)),
            Work::Sleep(_) => false,
        };
        !self.ends().iter().zip(&self.steps).any(fatal) && !self.steps.iter().any(lethal)
    }

    /// Returns the thread's output; `None` where it holds how long a sleep took.
    pub(super) fn output(&self) -> Option<Value> {
        let ends = self.ends();
        let shown = |at: &usize| match ends[*at] {
            End::Value(value) => json!({ "value": value }),
            End::Slept | End::Failed | End::Skipped => json!(null),
        };
        if self.has_output {
            let all: Vec<Value> = self.http_steps().iter().map(shown).collect();
            return Some(json!({ "all": all }));
        }
        let is_needed = |at: &usize| self.steps.iter().any(|step| step.needs.contains(at));
        let leaves: Vec<usize> = (0..self.steps.len()).filter(|at| !is_needed(at)).collect();
        if leaves.iter().any(|at| ends[*at] == End::Slept) {
            return None;
        }
        Some(leaves.iter().map(|at| (format!("s{at}"), shown(at))).collect())
    }
}

fn references(steps: &[usize]) -> Vec<String> {
    steps.iter().map(|at| format!("{{s{at}.output}}")).collect()
}

/// Computes the answer of an http step.
pub(super) fn value(own: u64, given: &[Option<u64>]) -> u64 {
    given
        .iter()
        .fold(own + 1, |sum, given| (sum * 31 + given.map_or(7, |value| value + 1)) % 10_007)
}

fn draw_step(rng: &mut Rng, before: &[Step]) -> Step {
    let mut needs = Vec::new();
    for at in 0..before.len() {
        if rng.chance(2) {
            needs.push(at);
        }
    }
    let max_attempts = u32::try_from(rng.range(1, 3)).unwrap();
    let work = if rng.chance(5) {
        Work::Sleep(*rng.pick(&[0, 40, 700, 2_500, LONG_SLEEP]))
    } else {
        Work::Http(draw_script(rng, max_attempts))
    };
    let condition = rng.chance(4).then(|| draw_condition(rng, &needs, before));
    // A step that may fail for ever must not be one that a resume would mend.
    let doomed = matches!(&work, Work::Http(Script { mood: Mood::Doomed, .. }));
    let goes_on = doomed && !rng.chance(4);
    let stands_in = *rng.pick(&[None, Some(Fallback::Output), Some(Fallback::Call)]);
    let fallback = stands_in.filter(|_| doomed);
    let compensate = rng.chance(2).then(|| draw_undo(rng));
    Step { needs, work, condition, goes_on, max_attempts, fallback, compensate, checked: false }
}

/// Draws a compensation: it fails now and then, and some never succeed.
fn draw_undo(rng: &mut Rng) -> Script {
    let script = draw_script(rng, UNDO_ATTEMPTS);
    let mood = match script.mood {
        Mood::Broken(_) | Mood::Doomed | Mood::Poison(_) => Mood::Doomed,
        flaky @ Mood::Flaky(_) => flaky,
    };
    Script { mood, ..script }
}

fn draw_script(rng: &mut Rng, max_attempts: u32) -> Script {
    let mood = match rng.range(0, 11) {
        0 => Mood::Broken(u32::try_from(rng.range(1, 2)).unwrap()),
        1 => Mood::Doomed,
        _ => Mood::Flaky(u32::try_from(rng.range(0, u64::from(max_attempts) - 1)).unwrap()),
    };
    let wait = rng.range(0, 4_000);
    let mut faults = vec![Fault::Recoverable, Fault::Hangs, Fault::AsksToWait(wait)];
    if !matches!(mood, Mood::Flaky(_)) {
        faults.push(Fault::Permanent);
    }
    let slowness = *rng.pick(&[0, 1, 50, 400, TIMEOUT - 500]);
    let fault = *rng.pick(&faults);
    // An attempt that never ends has its effect at once, if it has any.
    let acts_late = fault != Fault::Hangs && rng.chance(2);
    Script { mood, fault, slowness, acts_late }
}

fn draw_condition(rng: &mut Rng, needs: &[usize], before: &[Step]) -> Condition {
    if needs.is_empty() || rng.chance(3) {
        return Condition::InputIsEven;
    }
    let need = *rng.pick(needs);
    if rng.chance(2) && matches!(before[need].work, Work::Http(_)) {
        return Condition::IsEven(need);
    }
    Condition::WasNotSkipped(need)
}
