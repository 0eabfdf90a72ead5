//! A scope for the tests of this layer.

use std::collections::BTreeMap;

use super::{Scope, StepView};
use crate::model::{Failure, Json, StepStatus, ThreadId};

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
