//! A scope for the tests of this layer, and a look at the faults of steps.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Plan, Scope, StepView};
use crate::model::{Failure, Json, Pointer, StepStatus, ThreadId};

/// A thread's data, as a test sets it up.
pub(super) struct Data {
    thread_id: ThreadId,
    input: Json,
    steps: BTreeMap<String, (StepStatus, Option<Json>, Option<Failure>)>,
    secrets: BTreeMap<String, String>,
}

/// JSON that a test wrote.
#[track_caller]
pub(super) fn json(text: &str) -> Json {
    Json::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"))
}

/// Asserts that each `with` of a step of this kind has its faults at exactly these places below it.
#[track_caller]
pub(super) fn assert_with(kind: &str, cases: &[(Value, &[&str])]) {
    for (with, places) in cases {
        let step = json!({ "id": "s", "kind": kind, "with": with });
        let workflow = json(&json!({ "name": "w", "steps": [step] }).to_string());
        let faults = Plan::parse(&workflow, &Pointer::root()).err().unwrap_or_default();
        let found: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        let places: Vec<_> = places.iter().map(|at| format!("/steps/0/with{at}")).collect();
        assert_eq!(found, places, "{kind} {with}: {faults:?}");
    }
}

impl Data {
    pub(super) fn new(input: &str) -> Self {
        Self {
            thread_id: ThreadId::parse("t-1").unwrap(),
            input: json(input),
            steps: BTreeMap::new(),
            secrets: BTreeMap::new(),
        }
    }

    pub(super) fn completed(mut self, id: &str, output: &str) -> Self {
        self.steps.insert(id.to_owned(), (StepStatus::Completed, Some(json(output)), None));
        self
    }

    pub(super) fn ended(mut self, id: &str, status: StepStatus, error: Option<Failure>) -> Self {
        self.steps.insert(id.to_owned(), (status, None, error));
        self
    }

    pub(super) fn secret(mut self, name: &str, value: &str) -> Self {
        self.secrets.insert(name.to_owned(), value.to_owned());
        self
    }
}

impl Scope for Data {
    fn thread_id(&self) -> &ThreadId {
        &self.thread_id
    }

    fn input(&self) -> &Json {
        &self.input
    }

    fn step(&self, id: &str) -> Option<StepView<'_>> {
        self.steps.get(id).map(|(status, output, error)| StepView {
            status: *status,
            output: output.as_ref(),
            error: error.as_ref(),
            session_id: (id == "agent").then_some("session-7"),
        })
    }

    fn step_ids(&self) -> Vec<&str> {
        self.steps.keys().map(String::as_str).collect()
    }

    fn secret(&self, name: &str) -> Option<&str> {
        self.secrets.get(name).map(String::as_str)
    }
}
