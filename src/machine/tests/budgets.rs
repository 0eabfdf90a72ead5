//! What a decision fills in is bounded, however many steps become ready at once.

use serde_json::{Value, json};

use super::theatre::{Stage, broken, http, json_of};
use crate::machine::{AttemptId, Command, Decided, Report, decide};
use crate::model::{EventBody, StepStatus};

const MEGABYTE: usize = 1 << 20;

/// A stage where outputs may be a megabyte, after its step `l` was started.
fn after_l(more: impl IntoIterator<Item = Value>) -> Stage {
    let steps: Vec<Value> = [http("l", &[])].into_iter().chain(more).collect();
    let mut stage = Stage::new(json!(steps));
    stage.context.max_event = 2 * MEGABYTE;
    stage.advance();
    stage
}

fn step(at: usize, kind: &str, with: &Value) -> Value {
    json!({ "id": format!("s{at}"), "kind": kind, "dependsOn": ["l"], "with": with,
        "continueOnError": true })
}

fn decided(stage: &mut Stage, command: Command) -> Decided {
    let decided = decide(&mut stage.state, command, stage.context).unwrap();
    stage.journal.extend(decided.events.iter().cloned());
    decided
}

/// Completes `l` with an output and lets the thread go on; returns the number of events of each
/// decision.
fn goes_on(stage: &mut Stage, output: &Value) -> Vec<usize> {
    let attempt: AttemptId = stage.current("l");
    let report = Report::Done { output: json_of(output), session_id: None };
    let mut made = decided(stage, Command::Attempt { attempt, report });
    let mut counts = vec![made.events.len()];
    while made.unfinished {
        made = decided(stage, Command::Advance);
        counts.push(made.events.len());
    }
    counts
}

#[test]
fn a_decision_that_reads_much_leaves_the_rest_to_the_next_one() {
    let mut stage =
        after_l((0..400).map(|at| step(at, "sleep", &json!({ "for": "{l.output.for}" }))));
    let counts = goes_on(&mut stage, &json!({ "large": "x".repeat(MEGABYTE), "for": "1h" }));
    assert!(counts.len() > 20 && counts.iter().all(|count| *count < 50), "{counts:?}");
    let waiting = (0..400).filter(|at| stage.status(&format!("s{at}")) == StepStatus::Waiting);
    assert_eq!(waiting.count(), 400);
}

#[test]
fn a_small_decision_is_made_at_once() {
    let mut stage =
        after_l((0..400).map(|at| step(at, "sleep", &json!({ "for": "{l.output.for}" }))));
    assert_eq!(goes_on(&mut stage, &json!({ "for": "1h" })), [801]);
}

#[test]
fn a_wait_takes_64_kib_and_a_question_a_hundred_choices_and_approvers() {
    let code = |with: &Value, output: &Value| {
        let mut stage = after_l([step(0, "approval", with)]);
        goes_on(&mut stage, output);
        stage.journal.iter().find_map(|event| {
            let EventBody::StepFailed(failed) = &event.body else { return None };
            Some(failed.data.error.code.clone())
        })
    };
    let texts = |count: usize| json!((0..count).map(|at| at.to_string()).collect::<Vec<_>>());
    for member in ["choices", "approvers"] {
        let with = json!({ "prompt": "?", member: "{l.output}" });
        assert_eq!(code(&with, &texts(100)), None, "{member}");
        assert_eq!(code(&with, &texts(101)).as_deref(), Some("invalid_configuration"), "{member}");
    }
    let prompt = json!({ "prompt": "{l.output}" });
    assert_eq!(code(&prompt, &json!("x".repeat(60 << 10))), None);
    let refused = code(&prompt, &json!("x".repeat(64 << 10)));
    assert_eq!(refused.as_deref(), Some("payload_too_large"));
}

#[test]
fn outputs_that_take_the_place_of_others_are_bounded_together() {
    let fallback = |at: usize| {
        let mut step = http(&format!("s{at}"), &["l"]);
        step["retry"] = json!({ "maxAttempts": 1 });
        step["continueOnError"] = json!(true);
        step["fallback"] = json!({ "output": "{l.output}" });
        step
    };
    let mut stage = after_l((0..20).map(fallback));
    stage.context.max_thread = 10 * MEGABYTE;
    goes_on(&mut stage, &json!("x".repeat(MEGABYTE)));
    for at in 0..20 {
        stage.fail(&format!("s{at}"), broken());
    }
    let completed = (0..20).filter(|at| stage.status(&format!("s{at}")) == StepStatus::Completed);
    assert_eq!(completed.count(), 8);
    assert_eq!(stage.status("s19"), StepStatus::Failed);
    assert!(stage.state.weight() < 10 * MEGABYTE);
}

#[test]
fn questions_are_bounded_with_the_rest_of_their_thread() {
    let mut stage =
        after_l((0..40).map(|at| step(at, "approval", &json!({ "prompt": "{l.output}" }))));
    stage.context.max_thread = MEGABYTE;
    goes_on(&mut stage, &json!("x".repeat(60 << 10)));
    let asked = stage.state.open_interventions().count();
    assert!((10..18).contains(&asked), "{asked}");
    assert!(stage.state.weight() < MEGABYTE);
    assert_eq!(stage.status("s0"), StepStatus::Waiting);
    let error = stage.state.steps[40].own.error.as_ref().map(|error| error.code.as_str());
    assert_eq!((stage.status("s39"), error), (StepStatus::Failed, Some("payload_too_large")));
}
