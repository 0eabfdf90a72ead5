//! Workflows at random: a description first, then the JSON that the server gets of it.
//!
//! The description is what [`expect`](crate::expect) computes the outcome from; the server never
//! sees it. A step's outcome is known while the next one is made, so that only references are
//! written that can be resolved.

use std::time::Duration;

use serde_json::{Value, json};

use crate::dice::Dice;
use crate::expect::{Outcome, Standing, outcome};

/// Fewest and most steps of a workflow.
const STEPS: (i64, i64) = (3, 12);
/// The recorder fails on purpose, often in a row: as good as no circuit breaker, since what a step
/// comes to must not depend on what other threads do.
const FAILURE_THRESHOLD: u32 = 1_000;
/// What results are taken modulo of: they stay small, and two of them rarely agree by chance.
pub(crate) const MODULUS: i64 = 1_000_003;
/// A step that fails this often on purpose fails for good.
pub(crate) const ALWAYS: u32 = u32::MAX;

/// A workflow, and how its client behaves.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) number: u64,
    pub(crate) seed: i64,
    pub(crate) steps: Vec<Step>,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) manner: Manner,
}

/// What the client does with the thread.
#[derive(Debug, Clone)]
pub(crate) struct Manner {
    /// Whether it is invoked under an `Idempotency-Key`, and not under an id of its own.
    pub(crate) by_key: bool,
    /// Whether its stream is read.
    pub(crate) read: bool,
    /// How long after the invoke it is aborted.
    pub(crate) abort: Option<Duration>,
    /// How long after that it is resumed.
    pub(crate) resume: Option<Duration>,
}

/// A step.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) work: Work,
    pub(crate) depends: Vec<usize>,
    pub(crate) reads: Vec<Read>,
    pub(crate) when: Option<When>,
    pub(crate) salt: i64,
    pub(crate) continued: bool,
    /// Delay before the second attempt, in milliseconds.
    pub(crate) interval: i64,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Calls the recorder, which fails the first calls in this way.
    Http { how: How, fails: u32, delay: i64 },
    /// Computes a number, or a text with it.
    Transform { factor: i64, text: bool },
    /// Waits for so many milliseconds.
    Sleep { millis: i64 },
    /// `cat` of a JSON list.
    Cat,
    /// `printf` of what it reads.
    Printf,
}

/// How calls fail on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Status 500.
    Error,
    /// The connection is closed without an answer.
    Drop,
    /// Status 404, which is not tried again.
    Gone,
}

/// What a step reads of one that it depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Read {
    Value(usize),
    Status(usize),
}

/// A step's condition.
#[derive(Debug, Clone, Copy)]
pub(crate) enum When {
    /// The input's seed leaves this remainder.
    Seed { of: i64, is: i64 },
    /// A step has completed.
    Completed { step: usize },
    /// A step has completed with a number above this.
    Above { step: usize, than: i64 },
}

impl Job {
    /// The job of that number.
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        let mut dice = Dice::new(seed, "job", number);
        let count = dice.between(STEPS.0, STEPS.1);
        let fatal = dice.percent(6).then(|| dice.between(1, count - 1));
        let mut job = Self {
            number,
            seed: dice.between(1, 9_999),
            steps: Vec::new(),
            outcomes: Vec::new(),
            manner: Manner::new(&mut dice),
        };
        for at in 0..count {
            let step = job.step(&mut dice, fatal == Some(at));
            job.steps.push(step);
            job.outcomes.push(outcome(&job));
        }
        job
    }

    fn step(&self, dice: &mut Dice, fatal: bool) -> Step {
        let depends = self.depends(dice);
        let work = if fatal {
            Work::Http { how: How::Gone, fails: ALWAYS, delay: dice.between(0, 300) }
        } else {
            Work::new(dice)
        };
        let always = matches!(work, Work::Http { fails: ALWAYS, .. });
        let reads = depends.iter().map(|step| self.read(*step, work)).collect();
        let when = (!fatal && dice.percent(25)).then(|| self.when(dice, &depends)).flatten();
        Step {
            work,
            depends,
            reads,
            when,
            salt: dice.between(1, 999),
            continued: always && !fatal,
            interval: dice.between(50, 400),
        }
    }

    /// Up to three earlier steps, rather late ones: chains, diamonds and joins.
    fn depends(&self, dice: &mut Dice) -> Vec<usize> {
        let made = self.steps.len();
        if made == 0 || dice.percent(12) {
            return Vec::new();
        }
        let wanted = 1 + dice.below(3);
        let mut depends: Vec<usize> =
            (0..wanted).map(|_| made - 1 - dice.below(made.min(4))).collect();
        depends.sort_unstable();
        depends.dedup();
        depends
    }

    /// Only a filter can look into what may be `null`; elsewhere a path into it has no end. And
    /// `cat` is given JSON that is put together, in which a text must not end another.
    fn read(&self, step: usize, by: Work) -> Read {
        let Outcome { standing, value } = &self.outcomes[step];
        let readable = match self.steps[step].work {
            Work::Transform { .. } => true,
            Work::Sleep { .. } => false,
            Work::Http { .. } | Work::Cat | Work::Printf => *standing == Standing::Completed,
        };
        let quotes = value.as_str().is_some_and(|text| text.contains('"'));
        match by {
            Work::Transform { .. } => Read::Value(step),
            Work::Cat if quotes => Read::Status(step),
            Work::Http { .. } | Work::Sleep { .. } | Work::Cat | Work::Printf if readable => {
                Read::Value(step)
            }
            Work::Http { .. } | Work::Sleep { .. } | Work::Cat | Work::Printf => Read::Status(step),
        }
    }

    fn when(&self, dice: &mut Dice, depends: &[usize]) -> Option<When> {
        let Some(&step) = depends.first() else {
            let of = dice.between(2, 4);
            return Some(When::Seed { of, is: dice.between(0, of - 1) });
        };
        match self.steps[step].work {
            Work::Transform { text: false, .. } => {
                Some(When::Above { step, than: dice.between(0, MODULUS / 2) })
            }
            Work::Http { .. }
            | Work::Transform { .. }
            | Work::Sleep { .. }
            | Work::Cat
            | Work::Printf => dice.percent(60).then_some(When::Completed { step }),
        }
    }

    /// The body of the invoke, without a `threadId`.
    pub(crate) fn body(&self, effects: &str) -> Value {
        let steps: Vec<Value> =
            (0..self.steps.len()).map(|at| self.step_json(at, effects)).collect();
        let output: serde_json::Map<String, Value> =
            (0..self.steps.len()).map(|at| (id(at), json!(self.shown(at)))).collect();
        json!({
            "workflow": { "name": format!("chaos-{}", self.number), "steps": steps, "output": output },
            "input": { "seed": self.seed },
            "metadata": { "chaos": self.number.to_string() },
        })
    }

    /// What the thread's output shows of a step: its status where it may have no value.
    fn shown(&self, at: usize) -> String {
        self.reference(self.output_read(at))
    }

    pub(crate) fn output_read(&self, at: usize) -> Read {
        self.read(at, Work::Printf)
    }

    fn reference(&self, read: Read) -> String {
        match read {
            Read::Status(step) => format!("{{{}.status}}", id(step)),
            Read::Value(step) => match self.steps[step].work {
                Work::Http { .. } => format!("{{{}.output.body.value}}", id(step)),
                Work::Cat | Work::Printf => format!("{{{}.output.stdout}}", id(step)),
                Work::Transform { .. } | Work::Sleep { .. } => format!("{{{}.output}}", id(step)),
            },
        }
    }

    fn references(&self, step: &Step) -> Vec<String> {
        let mut references = vec!["{input.seed}".to_owned()];
        references.extend(step.reads.iter().map(|read| self.reference(*read)));
        references
    }

    fn step_json(&self, at: usize, effects: &str) -> Value {
        let step = &self.steps[at];
        let (kind, with) = self.with(step, effects);
        let mut attempts = 4;
        if let Work::Http { fails, .. } = step.work {
            // An attempt that is lost with its replica does not count; some room all the same.
            attempts = if fails == ALWAYS { 2 } else { fails + 3 };
        }
        let mut json = json!({
            "id": id(at), "kind": kind, "with": with,
            "dependsOn": step.depends.iter().map(|step| id(*step)).collect::<Vec<_>>(),
            "retry": { "maxAttempts": attempts, "initialInterval": step.interval,
                       "backoffFactor": 1.5, "maxInterval": "1s" },
            "continueOnError": step.continued,
        });
        if matches!(step.work, Work::Http { .. }) {
            json["breaker"] = json!({ "failureThreshold": FAILURE_THRESHOLD });
        }
        if let Some(when) = step.when {
            json["when"] = json!(when.cel());
        }
        json
    }

    fn with(&self, step: &Step, effects: &str) -> (&'static str, Value) {
        match step.work {
            Work::Http { how, fails, delay } => {
                let url = format!("{effects}/{how:?}/{fails}/{delay}");
                let body = json!({ "parts": self.references(step), "salt": step.salt });
                ("http", json!({ "method": "POST", "url": url, "json": body }))
            }
            Work::Sleep { millis } => ("sleep", json!({ "for": millis })),
            Work::Transform { factor, text } => ("transform", self.filter(step, factor, text)),
            Work::Cat => {
                let mut list = self.references(step);
                for (part, read) in list.iter_mut().skip(1).zip(&step.reads) {
                    if self.read_value(*read).is_string() {
                        // Text goes in as it is.
                        *part = format!("\"{part}\"");
                    }
                }
                let stdin = format!("[{},{}]", list.join(","), step.salt);
                ("exec", json!({ "program": "cat", "stdin": stdin, "parse": "json" }))
            }
            Work::Printf => {
                let mut args = vec!["%s/".repeat(step.reads.len() + 1)];
                args.extend(self.references(step));
                ("exec", json!({ "program": "printf", "args": args }))
            }
        }
    }

    fn filter(&self, step: &Step, factor: i64, text: bool) -> Value {
        let mut from = json!({ "seed": "{input.seed}" });
        let mut parts = vec![".seed".to_owned()];
        for (number, read) in step.reads.iter().enumerate() {
            let (Read::Value(step) | Read::Status(step)) = *read;
            from[format!("p{number}")] = json!(format!("{{{}.output}}", id(step)));
            parts.push(match self.steps[step].work {
                Work::Http { .. } => format!(".p{number}.body.value"),
                Work::Cat | Work::Printf => format!(".p{number}.stdout"),
                Work::Sleep { .. } => {
                    format!("(.p{number}.sleptMs | if . == null then 0 else 1 end)")
                }
                Work::Transform { .. } => format!(".p{number}"),
            });
        }
        let weigh = "def w: if type == \"number\" then . elif type == \"string\" then length \
                     elif type == \"array\" then (map(w) | add // 0) else 0 end;";
        let (parts, salt) = (parts.join(", "), step.salt);
        let shown = if text { " | \"v\" + tostring" } else { "" };
        let jq = format!(
            "{weigh} [{parts}] | ((map(w) | add // 0) * {factor} + {salt}) % {MODULUS}{shown}"
        );
        json!({ "jq": jq, "from": from })
    }

    /// What is read, by the outcomes that are expected.
    pub(crate) fn read_value(&self, read: Read) -> Value {
        match read {
            Read::Value(step) => self.outcomes[step].value.clone(),
            Read::Status(step) => json!(self.outcomes[step].standing.status()),
        }
    }
}

impl Manner {
    fn new(dice: &mut Dice) -> Self {
        let abort = dice.percent(10).then(|| dice.millis(100, 3_000));
        let resume = (abort.is_some() && dice.percent(80)).then(|| dice.millis(50, 1_500));
        Self { by_key: dice.percent(50), read: dice.percent(40), abort, resume }
    }
}

impl Work {
    fn new(dice: &mut Dice) -> Self {
        match dice.below(100) {
            0..45 => {
                let how = *dice.pick(&[How::Error, How::Drop]);
                let fails = match dice.below(100) {
                    0..65 => 0,
                    65..82 => 1,
                    82..92 => 2,
                    _ => ALWAYS,
                };
                let slow = dice.percent(40);
                let delay = if slow { dice.between(300, 2_500) } else { dice.between(0, 100) };
                Self::Http { how, fails, delay }
            }
            45..70 => Self::Transform { factor: dice.between(1, 31), text: dice.percent(25) },
            70..83 => Self::Sleep { millis: dice.between(50, 2_000) },
            83..92 => Self::Cat,
            _ => Self::Printf,
        }
    }
}

impl When {
    fn cel(self) -> String {
        match self {
            Self::Seed { of, is } => format!("input.seed % {of} == {is}"),
            Self::Completed { step } => format!("{}.status == 'completed'", id(step)),
            Self::Above { step, than } => {
                let id = id(step);
                format!("{id}.status == 'completed' && {id}.output > {than}")
            }
        }
    }
}

/// The id of the step at that position.
pub(crate) fn id(at: usize) -> String {
    format!("s{at}")
}
