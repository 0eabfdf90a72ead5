//! Where a thread is forked, and what is otherwise in the fork.

use std::collections::HashSet;

use super::read::{exact, kept, request, thread_id};
use crate::contract::Fields;
use crate::model::{Faults, Json, MAX_STEPS, Seq, StepId, ThreadId};

request! {
    /// Where to fork a thread, and what is to be otherwise in the new one.
    pub struct ForkRequest {
        /// The last event that the new thread has in common with this one.
        #[schema(value_type = u64, minimum = 1)]
        at_seq: Seq = at_seq,
        /// The new thread's id; made by the server if absent.
        #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]
        thread_id: Option<ThreadId> = thread_id,
        /// The input of whatever still has to run.
        #[schema(value_type = Option<serde_json::Value>)]
        input: Option<Json> = exact,
        /// Outputs, by step id, in the place of those of steps that have completed by then. Steps that
        /// depend on them and have run already run again.
        #[schema(value_type = Option<Object>)]
        edits: Vec<(StepId, Json)> = edits,
        /// Recorded in the journal.
        #[schema(max_length = 2048)]
        reason: Option<String> = kept,
    }
}

fn at_seq(fields: &Fields<'_>, name: &str, faults: &mut Faults) -> Seq {
    let given = fields.get(name);
    let read = given.and_then(|given| given.to_json().decode::<i64>().ok().filter(|seq| *seq >= 1));
    if read.is_none() {
        let rule = "atSeq is the number of an event: 1, 2, 3, …";
        fields.fault(name, if given.is_some() { rule } else { "is required" }, faults);
    }
    read.unwrap_or_default().unsigned_abs()
}

fn edits(fields: &Fields<'_>, name: &str, faults: &mut Faults) -> Vec<(StepId, Json)> {
    let Some(given) = fields.get(name) else { return Vec::new() };
    let mut refuse = |detail: String| fields.fault(name, detail, faults);
    let Some(members) = given.members() else {
        refuse("edits is an object: outputs by step id".to_owned());
        return Vec::new();
    };
    if members.len() > MAX_STEPS {
        refuse(format!("names {} steps; a workflow has at most {MAX_STEPS}", members.len()));
        return Vec::new();
    }
    let (mut edits, mut known) = (Vec::with_capacity(members.len()), HashSet::new());
    for (step, output) in members {
        match StepId::parse(&step) {
            Ok(id) if !known.insert(id.clone()) => refuse(format!("{step:?} is given twice")),
            Ok(id) => edits.push((id, output.to_json())),
            Err(fault) => refuse(format!("{step:?}: {fault}")),
        }
    }
    edits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::testing::read;

    #[test]
    fn edits_stay_as_they_were_written() {
        let body: ForkRequest = read(r#"{"atSeq":3,"edits":{"a":{"n":1.0},"b":null}}"#).unwrap();
        let edits: Vec<_> =
            body.edits.iter().map(|(id, json)| (id.as_str(), json.as_str())).collect();
        assert_eq!((body.at_seq, edits), (3, vec![("a", r#"{"n":1.0}"#), ("b", "null")]));
        let with_null: ForkRequest = read(r#"{"atSeq":1,"input":null}"#).unwrap();
        assert!(body.input.is_none() && with_null.input.is_some());
    }

    #[test]
    fn more_edits_than_a_workflow_may_have_steps_are_one_fault_and_are_not_compared() {
        let body = |count: usize| {
            let edits: Vec<_> = (0..count).map(|step| format!("\"a{step}\":1")).collect();
            read::<ForkRequest>(&format!(r#"{{"atSeq":1,"edits":{{{}}}}}"#, edits.join(",")))
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
            let faults = read::<ForkRequest>(text).unwrap_err();
            assert_eq!((faults.len(), faults[0].pointer.as_str()), (1, pointer), "{text}");
        }
    }
}
