//! The bodies of `POST /invoke` and `POST /invoke/async`.

use axum::http::HeaderMap;
use utoipa::ToSchema;

use super::schema::WorkflowOrName;
use crate::api::Api;
use crate::api::auth::Caller;
use crate::api::extract::{FromBody, idempotency_key, traceparent};
use crate::api::fields::{Fields, count_members};
use crate::api::problem::Problem;
use crate::model::{Fault, Json, Namespace, Pointer, ThreadId};
use crate::runtime::{Invoke, RuntimeError, WorkflowSource};

/// The most members of `metadata`: it is for finding threads, not for carrying data.
const MAX_METADATA_MEMBERS: usize = 64;
/// The longest `metadata`, in bytes of JSON: every item of every list contains it.
const MAX_METADATA_BYTES: usize = 16 * 1024;
/// The longest name of a queue, in bytes.
const MAX_QUEUE: usize = 128;
/// The highest priority; the lowest is its negative.
const MAX_PRIORITY: i64 = 100;

/// A request to start a thread, or to go on with one.
#[derive(Debug, Default, ToSchema)]
#[schema(as = InvokeRequest)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::api) struct InvokeBody {
    /// What to run: a workflow, or the name of a stored one (`name` or `name@version`). May be
    /// left out when `threadId` names a thread that exists.
    #[schema(value_type = Option<WorkflowOrName>)]
    workflow: Option<WorkflowSource>,
    /// The input; any JSON value. Absent reads as `null`.
    #[schema(value_type = Option<serde_json::Value>)]
    input: Option<Json>,
    /// The thread's id; made by the server if absent.
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]
    thread_id: Option<ThreadId>,
    /// What to attach to the thread: at most 64 members and 16 KiB.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Json>,
    /// A named queue, recorded with the thread.
    #[schema(min_length = 1, max_length = 128)]
    queue: Option<String>,
    /// A thread that waits for a replica is served as if it had waited that many seconds longer.
    #[schema(minimum = -100, maximum = 100)]
    priority: Option<i32>,
}

impl InvokeBody {
    /// Returns the request in the form that the runtime takes.
    pub(super) fn into_invoke(
        self,
        caller: &Caller,
        headers: &HeaderMap,
    ) -> Result<Invoke, Problem> {
        Ok(Invoke {
            namespace: caller.namespace().clone(),
            workflow: self.workflow,
            input: self.input,
            thread_id: self.thread_id,
            metadata: self.metadata,
            queue: self.queue,
            priority: self.priority,
            idempotency_key: idempotency_key(headers)?,
            by: caller.name(),
            role: caller.role(),
            traceparent: traceparent(headers),
        })
    }
}

impl FromBody for InvokeBody {
    const MEMBERS: &'static [&'static str] =
        &["workflow", "input", "threadId", "metadata", "queue", "priority"];

    fn read(fields: &mut Fields<'_>) -> Self {
        let given = fields.value("workflow");
        let missing = given.is_none();
        let thread_id = fields.string("threadId").and_then(|text| match ThreadId::parse(&text) {
            Ok(id) => Some(id),
            Err(fault) => {
                fields.fault("threadId", fault.to_string());
                None
            }
        });
        if missing && thread_id.is_none() {
            fields.fault("workflow", "is needed unless threadId names a thread that exists");
        }
        Self {
            workflow: given.and_then(|json| source(json, fields)),
            input: fields.json("input"),
            thread_id,
            metadata: metadata(fields),
            queue: queue(fields),
            priority: priority(fields),
        }
    }

    async fn faults_within(&self, api: &Api, namespace: &Namespace) -> Vec<Fault> {
        let Some(WorkflowSource::Inline(workflow)) = &self.workflow else { return Vec::new() };
        let at = Pointer::root().key("workflow");
        match api.handle.validate(namespace, workflow, self.input.as_ref(), &at).await {
            Err(RuntimeError::Invalid(faults)) => faults,
            _ => Vec::new(),
        }
    }
}

fn source(json: Json, fields: &mut Fields<'_>) -> Option<WorkflowSource> {
    match json.as_str().as_bytes().first() {
        Some(b'{') => Some(WorkflowSource::Inline(json)),
        Some(b'"') => {
            let (name, version) = split_name(&json.decode::<String>().unwrap_or_default());
            if name.is_empty() {
                fields.fault("workflow", "must not be empty");
                return None;
            }
            Some(WorkflowSource::Stored { name, version })
        }
        Some(_) | None => {
            fields.fault("workflow", "must be a workflow or the name of a stored one");
            None
        }
    }
}

/// Splits `name@3`; a text that does not end in a version is a name as a whole.
pub(super) fn split_name(text: &str) -> (String, Option<u32>) {
    let parts = text.rsplit_once('@').and_then(|(name, digits)| {
        let number = digits.bytes().all(|byte| byte.is_ascii_digit());
        Some((name.to_owned(), digits.parse().ok().filter(|_| number)?))
    });
    parts.map_or_else(|| (text.to_owned(), None), |(name, version)| (name, Some(version)))
}

fn metadata(fields: &mut Fields<'_>) -> Option<Json> {
    let json = fields.value("metadata")?;
    match count_members(&json) {
        None => fields.fault("metadata", "must be an object"),
        Some(count) if count > MAX_METADATA_MEMBERS => {
            fields.fault(
                "metadata",
                format!("has {count} members; {MAX_METADATA_MEMBERS} are allowed"),
            );
        }
        Some(_) if json.as_str().len() > MAX_METADATA_BYTES => {
            fields.fault("metadata", format!("is longer than {MAX_METADATA_BYTES} bytes"));
        }
        Some(_) => return Some(json),
    }
    None
}

fn queue(fields: &mut Fields<'_>) -> Option<String> {
    let queue = fields.string("queue")?;
    if queue.is_empty() || queue.len() > MAX_QUEUE || queue.chars().any(char::is_control) {
        let rule = format!("must be 1 to {MAX_QUEUE} bytes without control characters");
        fields.fault("queue", rule);
        return None;
    }
    Some(queue)
}

fn priority(fields: &mut Fields<'_>) -> Option<i32> {
    let priority = fields.integer("priority")?;
    if (-MAX_PRIORITY..=MAX_PRIORITY).contains(&priority) {
        return i32::try_from(priority).ok();
    }
    fields.fault("priority", format!("must be from -{MAX_PRIORITY} to {MAX_PRIORITY}"));
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Fault;

    fn read(text: &str) -> Result<InvokeBody, Vec<Fault>> {
        let json = Json::parse(text).unwrap_or_else(|_| Json::null());
        let mut fields = Fields::open(&json)?;
        let body = InvokeBody::read(&mut fields);
        fields.finish(InvokeBody::MEMBERS).map(|()| body)
    }

    #[test]
    fn workflow_and_input_stay_as_they_were_written() {
        let body = read(r#"{"workflow":{"name":"w","x":1.0},"input":{"n":1e3},"priority":-100}"#);
        let body = body.unwrap();
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
            assert_eq!(split_name(text), (name.to_owned(), version), "{text}");
        }
    }

    #[test]
    fn every_fault_is_named_at_once_with_its_pointer() {
        let faults = read(
            r#"{"workflow":7,"threadId":"-x","metadata":[],"queue":"","priority":101,"inptu":1}"#,
        );
        let faults = faults.unwrap_err();
        let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(
            pointers,
            ["/threadId", "/workflow", "/metadata", "/queue", "/priority", "/inptu"]
        );
    }

    #[test]
    fn a_workflow_may_be_left_out_only_beside_a_thread_id() {
        assert!(read(r#"{"threadId":"t1"}"#).is_ok());
        assert_eq!(read("{}").unwrap_err()[0].pointer, "/workflow");
    }

    #[test]
    fn metadata_is_bounded() {
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
