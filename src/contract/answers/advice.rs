//! The operation that would end a cause, and the call that it is: this is the one place that knows how
//! an operation is called. The command line and the pages have it from the answer of `explain`.

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::model::{StepId, ThreadId};

/// A request that works when it is made as it stands; written as the [`Call`] that makes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "Call")]
pub struct Advice {
    /// The thread that is explained.
    pub thread_id: ThreadId,
    /// The operation on it.
    pub operation: Operation,
    /// The effect, in words.
    pub does: String,
}

/// An operation on a thread. Where an argument is a person's to choose, it is an example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Resumes it.
    Resume,
    /// Aborts it; `compensate` is left out where the server's default is meant.
    Abort {
        /// Whether its completed steps are undone.
        compensate: Option<bool>,
    },
    /// Makes the next attempt of a step now.
    Retry {
        /// The step.
        step: StepId,
    },
    /// Goes on without a step.
    Skip {
        /// The step.
        step: StepId,
        /// The output that it gets, if not `null`.
        output: Option<Value>,
    },
    /// Sends it a signal, with any payload.
    Signal {
        /// The signal's name.
        name: String,
    },
    /// Decides one of its interventions.
    Resolve {
        /// The intervention.
        id: String,
        /// The choice.
        choice: String,
        /// The digest that binds the decision to the question that was seen.
        digest: Option<String>,
    },
}

/// A call that works when it is sent as it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Call {
    /// Its method.
    method: &'static str,
    /// Its path.
    path: String,
    /// Its body, JSON. Where it is a person's to say, what stands here is an example.
    #[schema(value_type = serde_json::Value)]
    body: Value,
    /// What it does.
    does: String,
}

impl Advice {
    /// Advises this operation on the thread.
    pub fn new(thread: &ThreadId, operation: Operation, does: impl Into<String>) -> Self {
        Self { thread_id: thread.clone(), operation, does: does.into() }
    }
}

impl From<Advice> for Call {
    fn from(Advice { thread_id: thread, operation, does }: Advice) -> Self {
        let at = |rest: &str| format!("/threads/{thread}/{rest}");
        let (path, body) = match operation {
            Operation::Resume => (at("resume"), json!({})),
            Operation::Abort { compensate } => {
                (at("abort"), body([("compensate", compensate.map(Value::from))]))
            }
            Operation::Retry { step } => (at(&format!("steps/{step}/retry")), json!({})),
            Operation::Skip { step, output } => {
                (at(&format!("steps/{step}/skip")), body([("output", output)]))
            }
            Operation::Signal { name } => (at(&format!("signals/{name}")), json!({})),
            Operation::Resolve { id, choice, digest } => {
                let members =
                    [("choice", Some(choice.into())), ("digest", digest.map(Value::from))];
                (format!("/interventions/{id}/resolve"), body(members))
            }
        };
        Self { method: "POST", path, body, does }
    }
}

/// Returns an object of the members that have a value.
fn body<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    members.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_has_its_path_and_its_body() {
        let thread = ThreadId::parse("t").unwrap();
        let step = StepId::parse("s").unwrap();
        let text = str::to_owned;
        let digest = Some(text("d"));
        for (operation, path, body) in [
            (Operation::Resume, "/threads/t/resume", "{}"),
            (Operation::Abort { compensate: None }, "/threads/t/abort", "{}"),
            (
                Operation::Abort { compensate: Some(false) },
                "/threads/t/abort",
                r#"{"compensate":false}"#,
            ),
            (Operation::Retry { step: step.clone() }, "/threads/t/steps/s/retry", "{}"),
            (Operation::Skip { step: step.clone(), output: None }, "/threads/t/steps/s/skip", "{}"),
            (
                Operation::Skip { step, output: Some(json!({ "sleptMs": 1 })) },
                "/threads/t/steps/s/skip",
                r#"{"output":{"sleptMs":1}}"#,
            ),
            (Operation::Signal { name: text("go") }, "/threads/t/signals/go", "{}"),
            (
                Operation::Resolve { id: text("t:1"), choice: text("yes"), digest: None },
                "/interventions/t:1/resolve",
                r#"{"choice":"yes"}"#,
            ),
            (
                Operation::Resolve { id: text("t:1"), choice: text("yes"), digest },
                "/interventions/t:1/resolve",
                r#"{"choice":"yes","digest":"d"}"#,
            ),
        ] {
            let call = Call::from(Advice::new(&thread, operation, "ends it"));
            assert_eq!((call.method, call.path.as_str()), ("POST", path));
            assert_eq!((call.body.to_string().as_str(), call.does.as_str()), (body, "ends it"));
        }
    }
}
