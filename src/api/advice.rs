//! The call that follows a piece of advice: this is the one place that knows how an operation is
//! called. The command line and the pages have it from the answer of `explain`.

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::model::ThreadId;
use crate::runtime::{Advice, Operation};

/// A call that works when it is sent as it is.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct Call {
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

impl Call {
    /// Returns the call for an operation on a thread.
    pub(super) fn of(thread: &ThreadId, Advice { operation, does }: Advice) -> Self {
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
    use crate::model::StepId;

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
            let call = Call::of(&thread, Advice { operation, does: text("ends it") });
            assert_eq!((call.method, call.path.as_str()), ("POST", path));
            assert_eq!((call.body.to_string().as_str(), call.does.as_str()), (body, "ends it"));
        }
    }
}
