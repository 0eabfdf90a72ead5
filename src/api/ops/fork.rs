//! `POST /threads/{threadId}/fork`: a new thread with the history of another.

use std::collections::HashSet;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::control::{Change, reason};
use super::invoke::{InvokeAnswer, answer_with};
use crate::api::Api;
use crate::api::extract::{Body, FromBody, ThreadPath};
use crate::api::fields::Fields;
use crate::api::problem::Problem;
use crate::model::{ForkPoint, Json, MAX_STEPS, Members, Seq, StepId, ThreadId};
use crate::runtime::ForkHow;

/// Where to fork a thread, and what is to be otherwise in the new one.
#[derive(Debug, ToSchema)]
#[schema(as = ForkRequest)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::api) struct ForkBody {
    /// The last event that the new thread has in common with this one.
    #[schema(value_type = u64, minimum = 1)]
    at_seq: Seq,
    /// The new thread's id; made by the server if absent.
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]
    thread_id: Option<ThreadId>,
    /// The input of whatever still has to run.
    #[schema(value_type = Option<serde_json::Value>)]
    input: Option<Json>,
    /// Outputs, by step id, in the place of those of steps that have completed by then. Steps that
    /// depend on them and have run already run again.
    #[schema(value_type = Option<Object>)]
    edits: Vec<(StepId, Json)>,
    /// Recorded in the journal.
    #[schema(max_length = 2048)]
    reason: Option<String>,
}

impl FromBody for ForkBody {
    const MEMBERS: &'static [&'static str] = &["atSeq", "threadId", "input", "edits", "reason"];

    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            at_seq: at_seq(fields),
            thread_id: fields.string("threadId").and_then(|text| match ThreadId::parse(&text) {
                Ok(id) => Some(id),
                Err(fault) => {
                    fields.fault("threadId", fault.to_string());
                    None
                }
            }),
            input: fields.json("input"),
            edits: edits(fields),
            reason: reason(fields),
        }
    }
}

fn at_seq(fields: &mut Fields<'_>) -> Seq {
    let Some(given) = fields.value("atSeq") else {
        fields.fault("atSeq", "is required");
        return 0;
    };
    match given.decode::<i64>() {
        Ok(seq) if seq >= 1 => seq.unsigned_abs(),
        Ok(_) | Err(_) => {
            fields.fault("atSeq", "must be the number of an event: 1, 2, 3, …");
            0
        }
    }
}

fn edits(fields: &mut Fields<'_>) -> Vec<(StepId, Json)> {
    let Some(given) = fields.value("edits") else { return Vec::new() };
    let Ok(Members(members)) = given.decode::<Members<'_>>() else {
        fields.fault("edits", "must be an object: outputs by step id");
        return Vec::new();
    };
    if members.len() > MAX_STEPS {
        let detail = format!("names {} steps; a workflow has at most {MAX_STEPS}", members.len());
        fields.fault("edits", detail);
        return Vec::new();
    }
    let (mut edits, mut known) = (Vec::with_capacity(members.len()), HashSet::new());
    for (name, output) in members {
        match StepId::parse(&name) {
            Ok(id) if !known.insert(id.clone()) => {
                fields.fault("edits", format!("{name:?} is given twice"));
            }
            Ok(id) => edits.push((id, Json::from(output))),
            Err(fault) => fields.fault("edits", format!("{name:?}: {fault}")),
        }
    }
    edits
}

/// The answer to a fork: that of an invoke, and where the thread comes from.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ForkResponse)]
pub(in crate::api) struct ForkAnswer {
    #[serde(flatten)]
    thread: InvokeAnswer,
    /// The thread and the event that it was forked at.
    forked_from: ForkPoint,
}

/// Fork a thread at an event
///
/// A new thread begins with the history of this one up to the event, and goes on from there: outputs
/// up to there are used again, attempts that were under way are made again, with idempotency keys of
/// the new thread. This thread is only read. A fork at or after its failure or abort goes on as after a
/// resume; one of a paused stretch is paused. The same `threadId` again with the same fork
/// answers with the thread as it stands.
#[utoipa::path(
    post, path = "/threads/{threadId}/fork", operation_id = "forkThread", tag = "control",
    security(("bearer" = ["own"])),
    params(
        ("threadId" = String, Path, description = "The thread to fork"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` the client acts on; 412 if the thread has changed since"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes repeats within 24 h one thread, if no `threadId` is given"),
    ),
    request_body(content = ForkBody),
    responses(
        (status = 202, description = "The new thread is durable", body = ForkAnswer,
         headers(("Location" = String, description = "The new thread's status"),
                 ("Idempotent-Replayed" = Option<String>, description = "`true` if an earlier request made the thread"))),
        (status = 200, description = "The same fork exists already", body = ForkAnswer),
    )
)]
pub(in crate::api) async fn fork(
    State(api): State<Api>,
    ThreadPath(thread): ThreadPath,
    change: Change,
    Body(body): Body<ForkBody>,
) -> Result<Response, Problem> {
    let ForkBody { at_seq, thread_id, input, edits, reason } = body;
    let how = ForkHow { at_seq, thread_id, input, edits };
    let forked = api.handle.fork(&thread, how, change.because(reason)).await?;
    let forked_from = ForkPoint { thread_id: thread, seq: at_seq };
    let body = ForkAnswer { thread: InvokeAnswer::of(&forked), forked_from };
    Ok(answer_with(&forked, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Fault;

    fn read(text: &str) -> Result<ForkBody, Vec<Fault>> {
        let json = Json::parse(text).unwrap_or_else(|_| Json::null());
        let mut fields = Fields::open(&json)?;
        let body = ForkBody::read(&mut fields);
        fields.finish(ForkBody::MEMBERS).map(|()| body)
    }

    #[test]
    fn edits_stay_as_they_were_written() {
        let body = read(r#"{"atSeq":3,"edits":{"a":{"n":1.0},"b":null}}"#).unwrap();
        let edits: Vec<_> =
            body.edits.iter().map(|(id, json)| (id.as_str(), json.as_str())).collect();
        assert_eq!((body.at_seq, edits), (3, vec![("a", r#"{"n":1.0}"#), ("b", "null")]));
        assert!(
            body.input.is_none() && read(r#"{"atSeq":1,"input":null}"#).unwrap().input.is_some()
        );
    }

    #[test]
    fn more_edits_than_a_workflow_may_have_steps_are_one_fault_and_are_not_compared() {
        let body = |count: usize| {
            let edits: Vec<_> = (0..count).map(|step| format!("\"a{step}\":1")).collect();
            read(&format!(r#"{{"atSeq":1,"edits":{{{}}}}}"#, edits.join(",")))
        };
        assert_eq!(body(MAX_STEPS).unwrap().edits.len(), MAX_STEPS);
        for count in [MAX_STEPS + 1, 200_000] {
            let faults = body(count).unwrap_err();
            assert_eq!((faults.len(), faults[0].pointer.as_str()), (1, "/edits"), "{faults:?}");
        }
    }

    #[test]
    fn every_fault_of_a_fork_is_named_with_its_pointer() {
        for (text, pointer) in [
            ("{}", "/atSeq"),
            (r#"{"atSeq":0}"#, "/atSeq"),
            (r#"{"atSeq":-1}"#, "/atSeq"),
            (r#"{"atSeq":1.5}"#, "/atSeq"),
            (r#"{"atSeq":"1"}"#, "/atSeq"),
            (r#"{"atSeq":99999999999999999999}"#, "/atSeq"),
            (r#"{"atSeq":1,"threadId":"-"}"#, "/threadId"),
            (r#"{"atSeq":1,"edits":[]}"#, "/edits"),
            (r#"{"atSeq":1,"edits":{"1":2}}"#, "/edits"),
            (r#"{"atSeq":1,"edits":{"a":2,"a":3}}"#, "/edits"),
            (r#"{"atSeq":1,"at":2}"#, "/at"),
        ] {
            let faults = read(text).unwrap_err();
            assert_eq!((faults.len(), faults[0].pointer.as_str()), (1, pointer), "{text}");
        }
    }
}
