//! A request to start a thread.

use super::read::{exact, request, thread_id};
use crate::contract::{Fields, Value, WorkflowOrName};
use crate::model::{Faults, Json, ThreadId};

/// The most members of `metadata`: it is for finding threads, not for carrying data.
const MAX_METADATA_MEMBERS: usize = 64;
/// The longest `metadata`, in bytes of JSON: every item of every list contains it.
const MAX_METADATA_BYTES: usize = 16 * 1024;
/// The highest priority; the lowest is its negative.
const MAX_PRIORITY: i32 = 100;

/// The source of a workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkflowSource {
    /// The definition is part of the request.
    Inline(Json),
    /// A stored definition.
    Stored(StoredName),
}

/// A stored workflow, by name and perhaps version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredName {
    /// The workflow's name.
    pub name: String,
    /// The version; the newest if absent.
    pub version: Option<u32>,
}

impl StoredName {
    /// Reads `name` or `name@3`; a text that does not end in a version is a name as a whole.
    pub fn parse(text: &str) -> Self {
        let parts = text.rsplit_once('@').and_then(|(name, digits)| {
            let number = digits.bytes().all(|byte| byte.is_ascii_digit());
            Some((name.to_owned(), digits.parse().ok().filter(|_| number)?))
        });
        let (name, version) =
            parts.map_or_else(|| (text.to_owned(), None), |(name, version)| (name, Some(version)));
        Self { name, version }
    }
}

request! {
    /// A request to start a thread, or to go on with one. A `queue` is refused: there are no named
    /// queues yet.
    #[derive(Default)]
    pub struct InvokeRequest {
        /// The thread's id; made by the server if absent.
        #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]
        thread_id: Option<ThreadId> = thread_id,
        /// What to run: a workflow, or the name of a stored one (`name` or `name@version`). May be
        /// left out when `threadId` names a thread that exists.
        #[schema(value_type = Option<WorkflowOrName>)]
        workflow: Option<WorkflowSource> = workflow,
        /// The input; any JSON value. Absent reads as `null`.
        #[schema(value_type = Option<serde_json::Value>)]
        input: Option<Json> = exact,
        /// What to attach to the thread: at most 64 members and 16 KiB.
        #[schema(value_type = Option<Object>)]
        metadata: Option<Json> = metadata,
        /// A thread that waits for a replica is served as if it had waited that many seconds longer;
        /// a number below 0 counts as 0.
        #[schema(minimum = -100, maximum = 100)]
        priority: Option<i32> = priority,
    }
}

fn workflow(fields: &Fields<'_>, name: &str, faults: &mut Faults) -> Option<WorkflowSource> {
    let Some(given) = fields.get(name) else {
        let thread = fields.get("threadId").and_then(Value::text);
        if thread.is_none_or(|id| ThreadId::parse(&id).is_err()) {
            let detail = "is needed unless threadId names a thread that exists";
            fields.fault(name, detail, faults);
        }
        return None;
    };
    if given.type_name() == "object" {
        return Some(WorkflowSource::Inline(given.to_json()));
    }
    let Some(text) = given.text() else {
        fields.fault(name, "workflow is a workflow or the name of a stored one", faults);
        return None;
    };
    let stored = StoredName::parse(&text);
    if stored.name.is_empty() {
        fields.fault(name, "must not be empty", faults);
    }
    Some(WorkflowSource::Stored(stored))
}

fn metadata(fields: &Fields<'_>, name: &str, faults: &mut Faults) -> Option<Json> {
    let given = fields.get(name)?;
    let detail = match given.members().map(|members| members.len()) {
        None => format!("metadata is an object, not {}", given.type_name()),
        Some(count) if count > MAX_METADATA_MEMBERS => {
            format!("has {count} members; {MAX_METADATA_MEMBERS} are allowed")
        }
        Some(_) if given.raw().len() > MAX_METADATA_BYTES => {
            format!("is longer than {MAX_METADATA_BYTES} bytes")
        }
        Some(_) => return Some(given.to_json()),
    };
    fields.fault(name, detail, faults);
    None
}

fn priority(fields: &Fields<'_>, name: &str, faults: &mut Faults) -> Option<i32> {
    let given = fields.get(name)?;
    let priority = given.to_json().decode().ok();
    let priority = priority.filter(|one| (-MAX_PRIORITY..=MAX_PRIORITY).contains(one));
    if priority.is_none() {
        let rule = format!("priority is a whole number from -{MAX_PRIORITY} to {MAX_PRIORITY}");
        fields.fault(name, rule, faults);
    }
    priority
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::testing::read;

    #[test]
    fn workflow_and_input_stay_as_they_were_written() {
        let body = r#"{"workflow":{"name":"w","x":1.0},"input":{"n":1e3},"priority":-100}"#;
        let body: InvokeRequest = read(body).unwrap();
        let inline = Json::parse(r#"{"name":"w","x":1.0}"#).unwrap();
        assert_eq!(body.workflow, Some(WorkflowSource::Inline(inline)));
        assert_eq!(body.input.unwrap().as_str(), r#"{"n":1e3}"#);
        assert_eq!(body.priority, Some(-100));
    }

    #[test]
    fn a_stored_workflow_is_named_with_or_without_a_version() {
        for (text, name, version) in
            [("a", "a", None), ("a@3", "a", Some(3)), ("a@b", "a@b", None), ("a@+3", "a@+3", None)]
        {
            let stored = StoredName { name: name.to_owned(), version };
            assert_eq!(StoredName::parse(text), stored, "{text}");
        }
    }

    #[test]
    fn every_fault_is_named_at_once_with_its_pointer() {
        let faults = read::<InvokeRequest>(
            r#"{"workflow":7,"threadId":"-x","metadata":[],"queue":"q","priority":101,"inptu":1}"#,
        );
        let faults = faults.unwrap_err();
        let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(
            pointers,
            ["/threadId", "/workflow", "/metadata", "/priority", "/queue", "/inptu"]
        );
    }

    #[test]
    fn a_queue_is_refused_with_the_reason_unless_it_is_null() {
        let faults = read::<InvokeRequest>(r#"{"threadId":"t1","queue":"fast"}"#).unwrap_err();
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].pointer, "/queue");
        assert!(faults[0].detail.contains("no named queues yet"), "{}", faults[0].detail);
        assert!(read::<InvokeRequest>(r#"{"threadId":"t1","queue":null}"#).is_ok());
    }

    #[test]
    fn a_workflow_may_be_left_out_only_beside_a_thread_id() {
        assert!(read::<InvokeRequest>(r#"{"threadId":"t1"}"#).is_ok());
        for text in ["{}", r#"{"threadId":null}"#, r#"{"workflow":""}"#] {
            assert_eq!(read::<InvokeRequest>(text).unwrap_err()[0].pointer, "/workflow", "{text}");
        }
    }

    #[test]
    fn metadata_is_bounded() {
        let read = |text: &str| read::<InvokeRequest>(text);
        let members = |count: usize| {
            let all: Vec<_> = (0..count).map(|n| format!("\"k{n}\":1")).collect();
            format!("{{\"threadId\":\"t\",\"metadata\":{{{}}}}}", all.join(","))
        };
        assert!(read(&members(64)).is_ok());
        assert!(read(&members(65)).is_err());
        let long = "x".repeat(MAX_METADATA_BYTES);
        assert!(
            read(&format!("{{\"threadId\":\"t\",\"metadata\":{{\"k\":\"{long}\"}}}}")).is_err()
        );
    }
}
