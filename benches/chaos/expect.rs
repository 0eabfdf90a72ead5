//! What a thread must come to, computed from the description alone: none of the server's code.

use serde_json::{Value, json};

use crate::work::{ALWAYS, How, Job, MODULUS, Step, When, Work, id};

/// What becomes of a step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) standing: Standing,
    /// What others read of it; `null` unless it completed.
    pub(crate) value: Value,
}

/// Where a step ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Completed,
    Skipped,
    /// It failed, and the thread goes on.
    Failed,
    /// It failed, and the thread with it.
    Fatal,
    /// It depends on one that failed the thread.
    Never,
}

impl Standing {
    /// The status that the server shows.
    pub(crate) fn status(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Skipped => "skipped",
            Self::Failed | Self::Fatal => "failed",
            Self::Never => "pending",
        }
    }
}

/// The outcome of the step behind those whose outcomes are known.
pub(crate) fn outcome(job: &Job) -> Outcome {
    let step = &job.steps[job.outcomes.len()];
    let standing = standing(job, step);
    let value = if standing == Standing::Completed { value(job, step) } else { Value::Null };
    Outcome { standing, value }
}

fn standing(job: &Job, step: &Step) -> Standing {
    let before: Vec<Standing> =
        step.depends.iter().map(|step| job.outcomes[*step].standing).collect();
    if before.iter().any(|one| matches!(one, Standing::Fatal | Standing::Never)) {
        return Standing::Never;
    }
    if !before.is_empty() && before.iter().all(|one| *one == Standing::Skipped) {
        return Standing::Skipped;
    }
    if step.when.is_some_and(|when| !holds(job, when)) {
        return Standing::Skipped;
    }
    match step.work {
        Work::Http { how: How::Gone, .. } => Standing::Fatal,
        Work::Http { fails: ALWAYS, .. } => Standing::Failed,
        Work::Http { .. }
        | Work::Transform { .. }
        | Work::Sleep { .. }
        | Work::Cat
        | Work::Printf => Standing::Completed,
    }
}

fn holds(job: &Job, when: When) -> bool {
    match when {
        When::Seed { of, is } => job.seed % of == is,
        When::Completed { step } => job.outcomes[step].standing == Standing::Completed,
        When::Above { step, than } => job.outcomes[step].value.as_i64().is_some_and(|n| n > than),
    }
}

fn value(job: &Job, step: &Step) -> Value {
    let mut parts = vec![json!(job.seed)];
    parts.extend(step.reads.iter().map(|read| job.read_value(*read)));
    match step.work {
        Work::Http { .. } => json!(effect(&parts, step.salt)),
        Work::Transform { factor, text } => {
            let sum: i64 = parts.iter().map(weigh).sum();
            let number = (sum * factor + step.salt) % MODULUS;
            if text { json!(format!("v{number}")) } else { json!(number) }
        }
        Work::Sleep { .. } => json!(1),
        Work::Cat => {
            parts.push(json!(step.salt));
            Value::Array(parts)
        }
        Work::Printf => {
            let text = |part: &Value| part.as_str().map_or_else(|| part.to_string(), str::to_owned);
            json!(parts.iter().map(|part| text(part) + "/").collect::<String>())
        }
    }
}

/// What the recorder answers with: computed from what the step sent.
pub(crate) fn effect(parts: &[Value], salt: i64) -> i64 {
    (parts.iter().map(weigh).sum::<i64>() * 31 + salt) % MODULUS
}

/// One number for a number, a text or a list.
fn weigh(value: &Value) -> i64 {
    match value {
        Value::Number(number) => number.as_i64().unwrap_or(0),
        Value::String(text) => i64::try_from(text.len()).unwrap_or(0),
        Value::Array(items) => items.iter().map(weigh).sum(),
        Value::Null | Value::Bool(_) | Value::Object(_) => 0,
    }
}

impl Job {
    /// The step that fails the thread, if one does.
    pub(crate) fn fatal(&self) -> Option<usize> {
        self.outcomes.iter().position(|outcome| outcome.standing == Standing::Fatal)
    }

    /// The thread's output if it completes.
    pub(crate) fn output(&self) -> Value {
        let shown = |at| self.read_value(self.output_read(at));
        (0..self.steps.len())
            .map(|at| (id(at), shown(at)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}
