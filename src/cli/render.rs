//! Shows the events of a thread as they come: a line each, and on a terminal a progress bar
//! beneath.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::time::Duration;

use super::out;
use crate::model::{
    CompensationFailed, Event, EventBody, Failure, OnStep, StepComplete, StepId, StepRetry,
    StepStart, StepStatus, StepWaiting, Timestamp, WorkflowPaused,
};

/// The columns of the bar: it fits a narrow terminal beside its label.
const BAR_WIDTH: usize = 32;
/// The columns of a step's name; longer names push the rest to the right.
const NAME_WIDTH: usize = 12;

/// Draws the life of one thread.
#[derive(Debug)]
pub(super) struct Renderer {
    total: usize,
    ended: BTreeSet<StepId>,
    began: Option<Timestamp>,
    terminal: bool,
    color: bool,
}

/// The tone of a line, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tone {
    Plain,
    Good,
    Bad,
    Careful,
}

impl Renderer {
    /// Makes a renderer for a workflow of `total` steps.
    pub(super) fn new(total: usize, color: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self { total, ended: BTreeSet::new(), began: None, terminal, color: color && terminal }
    }

    /// Shows an event.
    pub(super) fn show(&mut self, event: &Event) {
        let line = self.line(event);
        if self.terminal {
            out::part(&format!("\r\x1b[2K{line}\n{}", self.bar()));
        } else {
            out::line(&line);
        }
    }

    /// Leaves the bar in its last state and goes on beneath it.
    pub(super) fn finish(&self) {
        if self.terminal {
            out::line("");
        } else {
            out::line(&self.bar());
        }
    }

    fn line(&mut self, event: &Event) -> String {
        let began = *self.began.get_or_insert(event.at);
        let (tone, mark, subject, text) = describe(&event.body);
        if let Some(step) = ended_step(&event.body) {
            self.ended.insert(step.clone());
        }
        let seconds = event.since(began).as_secs_f64();
        let start = format!("{:>4}  {seconds:>7.3}s  {mark} {subject:<NAME_WIDTH$} ", event.seq);
        format!("{start}{}", self.paint(tone, &text))
    }

    fn bar(&self) -> String {
        let total = self.total.max(1);
        let done = self.ended.len().min(total);
        let full = BAR_WIDTH * done / total;
        let bar = format!("{}{}", "█".repeat(full), "░".repeat(BAR_WIDTH - full));
        format!("      {} {done}/{} steps", self.paint(Tone::Good, &bar), self.total)
    }

    fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Careful => "33",
            Tone::Plain => return text.to_owned(),
        };
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Returns the step that ended with this event, if one did.
fn ended_step(body: &EventBody) -> Option<&StepId> {
    let ends = body.event_type().step.is_some_and(StepStatus::is_terminal);
    body.step().filter(|_| ends)
}

/// Returns the description of an event: its tone, its mark, its subject, and what happened.
fn describe(body: &EventBody) -> (Tone, char, &str, String) {
    match body {
        EventBody::WorkflowStart(start) => {
            (Tone::Plain, '▶', &start.workflow.name, "accepted, and durable".to_owned())
        }
        EventBody::StepStart(on) => (Tone::Plain, '·', on.step.as_str(), started(on)),
        EventBody::StepWaiting(on) => (Tone::Plain, '…', on.step.as_str(), waiting(&on.data)),
        EventBody::StepRetry(on) => {
            (Tone::Careful, '↻', on.step.as_str(), failed_attempt(on.attempt, &on.data))
        }
        EventBody::StepTimeoutWarning(on) => {
            (Tone::Careful, '!', on.step.as_str(), lasts("has run", on.data.elapsed_ms))
        }
        EventBody::StepStale(on) => {
            (Tone::Careful, '!', on.step.as_str(), lasts("silent for", on.data.silent_ms))
        }
        EventBody::StepComplete(on) => (Tone::Good, '✓', on.step.as_str(), completed(&on.data)),
        EventBody::StepFailed(on) => {
            let goes_on = if on.data.continued { "; the thread goes on" } else { "" };
            let text = format!("failed: {}{goes_on}", brief(&on.data.error));
            (Tone::Bad, '✗', on.step.as_str(), text)
        }
        EventBody::StepSkipped(on) => {
            (Tone::Plain, '-', on.step.as_str(), format!("skipped ({})", on.data.reason))
        }
        EventBody::StepEdited(on) => {
            (Tone::Careful, '✎', on.step.as_str(), format!("edited by {}", on.data.by))
        }
        EventBody::CompensationStart(on) => {
            let text = format!("is being undone, attempt {} ({})", on.attempt, on.data.kind);
            (Tone::Careful, '↶', on.step.as_str(), text)
        }
        EventBody::CompensationComplete(on) => {
            (Tone::Good, '↶', on.step.as_str(), format!("undone in {}", time(on.data.duration_ms)))
        }
        EventBody::CompensationFailed(on) => {
            (Tone::Bad, '↶', on.step.as_str(), not_undone(&on.data))
        }
        EventBody::SignalReceived(data) => {
            (Tone::Plain, '→', "signal", format!("{} from {}", data.name, data.by))
        }
        EventBody::InterventionOpened(data) => asked(&data.id, &data.prompt),
        EventBody::InterventionEscalated(data) => {
            asked(&data.id, &format!("nobody has decided: {}", data.prompt))
        }
        EventBody::InterventionResolved(data) => {
            asked(&data.id, &format!("{} by {}", data.choice, data.by))
        }
        EventBody::WorkflowPaused(data) => (Tone::Careful, '‖', "thread", paused(data)),
        EventBody::WorkflowForked(data) => {
            (Tone::Plain, '⑂', "thread", format!("forked by {}", data.by))
        }
        EventBody::WorkflowResumed(_) => (Tone::Plain, '▶', "thread", "resumed".to_owned()),
        EventBody::WorkflowRecovered(_) => {
            (Tone::Careful, '⟲', "thread", "taken over from a lost replica".to_owned())
        }
        EventBody::WorkflowComplete(end) => {
            (Tone::Good, '■', "thread", format!("completed in {}", time(end.duration_ms)))
        }
        EventBody::WorkflowFailed(end) => {
            (Tone::Bad, '■', "thread", format!("failed: {}", brief(&end.error)))
        }
        EventBody::WorkflowAborted(end) => {
            (Tone::Bad, '■', "thread", format!("aborted by {}", end.by))
        }
    }
}

fn completed(data: &StepComplete) -> String {
    let by = if data.fallback { " by its fallback" } else { "" };
    format!("completed{by} in {}", time(data.duration_ms))
}

/// Describes a question to a person, or what became of one.
fn asked(id: &str, what: &str) -> (Tone, char, &'static str, String) {
    (Tone::Careful, '?', "intervention", format!("{id}: {what}"))
}

fn paused(data: &WorkflowPaused) -> String {
    let why = data.reason.as_ref().map(|reason| format!(": {reason}"));
    format!("paused by {}{}", data.by, why.unwrap_or_default())
}

fn waiting(data: &StepWaiting) -> String {
    match (data.until, data.reason.as_str()) {
        (Some(until), "timer") => format!("waits until {until}"),
        (Some(until), what) => format!("waits for its {what} until {until}"),
        (None, "blocked") => "its output is blocked by its check".to_owned(),
        (None, what) => format!("waits for its {what}"),
    }
}

fn started(on: &OnStep<StepStart>) -> String {
    match on.attempt {
        0 | 1 => format!("started ({})", on.data.kind),
        attempt => format!("attempt {attempt} ({})", on.data.kind),
    }
}

fn lasts(what: &str, ms: u64) -> String {
    format!("{what} {}", time(ms))
}

fn failed_attempt(attempt: u32, data: &StepRetry) -> String {
    let next = if data.fallback {
        "its fallback takes over".to_owned()
    } else {
        format!("again in {}", time(data.delay_ms))
    };
    format!("attempt {attempt} failed: {}; {next}", brief(&data.error))
}

fn not_undone(data: &CompensationFailed) -> String {
    let next = data.delay_ms.map(|delay| format!("again in {}", time(delay)));
    let next = next.unwrap_or_else(|| "it is left".to_owned());
    format!("could not be undone: {}; {next}", brief(&data.error))
}

fn brief(failure: &Failure) -> String {
    format!("{} ({})", failure.message.lines().next().unwrap_or_default(), failure.code)
}

fn time(millis: u64) -> String {
    if millis == 0 {
        return "less than 1ms".to_owned();
    }
    humantime::format_duration(Duration::from_millis(millis)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Json, OnStep, StepComplete, StepStart};

    fn event(seq: u64, millis: i64, body: EventBody) -> Event {
        Event { seq, at: Timestamp::from_millis(millis), body }
    }

    #[test]
    fn ended_steps_fill_the_bar() {
        let mut renderer = Renderer {
            total: 2,
            ended: BTreeSet::new(),
            began: None,
            terminal: false,
            color: false,
        };
        let step = StepId::parse("fetch").unwrap();
        let started = OnStep {
            step: step.clone(),
            attempt: 1,
            data: StepStart { kind: "http".to_owned(), fallback: false, by: None, reason: None },
        };
        renderer.line(&event(2, 1_000, EventBody::StepStart(started)));
        assert!(renderer.bar().ends_with("0/2 steps"));
        let data = StepComplete {
            output: Json::parse("{}").unwrap(),
            duration_ms: 12,
            session_id: None,
            fallback: false,
            error: None,
        };
        let completed = OnStep { step, attempt: 1, data };
        let line = renderer.line(&event(3, 1_250, EventBody::StepComplete(completed)));
        assert_eq!(line, "   3    0.250s  ✓ fetch        completed in 12ms");
        assert!(renderer.bar().ends_with("1/2 steps"));
    }
}
