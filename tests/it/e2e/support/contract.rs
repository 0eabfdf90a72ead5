//! Holds what servers take and answer against the API's document, on every call of every test.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use axum::body::Bytes;
use jsonschema::Validator;
use serde_json::{Value, json};

use super::{Answer, Frame};

/// The document as this version of the server gives it.
static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::to_value(rethread::api::openapi()).unwrap());
/// The schemas that were compiled, by their place in the document.
static COMPILED: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);

/// Fails if an answer is not what the document promises, or if the server took what the document
/// says it refuses.
#[track_caller]
pub(super) fn hold(method: &str, path: &str, body: &Bytes, answer: &Answer) {
    let method = method.to_lowercase();
    let Some(route) = route(path.split('?').next().unwrap(), &method) else { return };
    let at = format!("/paths/{}/{method}", route.replace('~', "~0").replace('/', "~1"));
    let call = format!("{method} {path}: {}", answer.status);
    let response = response(&at, answer.status)
        .unwrap_or_else(|| panic!("{call} is not documented: {}", answer.text()));
    let media_type = answer.header("content-type").split(';').next().unwrap();
    let content = &DOCUMENT.pointer(&response).unwrap()["content"];
    match content[media_type].get("schema") {
        Some(_) if media_type.ends_with("json") => {
            let media_type = media_type.replace('/', "~1");
            let schema = format!("{response}/content/{media_type}/schema");
            match serde_json::from_slice(&answer.body) {
                Ok(answered) => conforms(&schema, &answered, &call),
                // Payloads come back as they were sent, also those that `Value` cannot hold.
                Err(fault) => assert!(is_beyond_value(&fault), "{call}: {fault}"),
            }
        }
        Some(_) => {}
        None => assert!(
            content.is_null() && answer.body.is_empty(),
            "{call}: {media_type} is not documented: {}",
            answer.text()
        ),
    }
    let request = format!("{at}/requestBody/content/application~1json/schema");
    if answer.status < 300
        && !body.is_empty()
        && DOCUMENT.pointer(&request).is_some()
        && let Ok(sent) = serde_json::from_slice(body)
    {
        conforms(&request, &sent, &format!("{call}, the request"));
    }
}

/// Fails if an event of the stream at this path is not what the document promises.
#[track_caller]
pub(super) fn hold_event(path: &str, frame: &Frame) {
    let path = path.split('?').next().unwrap();
    let route = route(path, "get").unwrap_or_else(|| panic!("{path} is not documented"));
    let operation = &DOCUMENT["paths"][route]["get"];
    let answer = &operation["responses"]["200"];
    assert!(answer["content"]["text/event-stream"].is_object(), "{path} is no documented stream");
    let says = |at: &Value, words| at["description"].as_str().unwrap().contains(words);
    let call = format!("{path}: {frame:?}");
    if frame.event == "reset" {
        let told = says(operation, "one `reset` event without an id");
        return assert!(told && frame.id.is_none(), "{call}");
    }
    let event: Value = match serde_json::from_str(&frame.data) {
        Ok(event) => event,
        Err(fault) => return assert!(is_beyond_value(&fault), "{call}: {fault}"),
    };
    conforms("/components/schemas/Event", &event, &call);
    let numbered = says(answer, "each with its number as `id`, its type as `event`");
    assert!(numbered || says(answer, "without ids"), "the frames of {route} are not documented");
    assert_eq!(frame.id, numbered.then(|| event["seq"].to_string()), "{call}");
    assert_eq!(event["type"], frame.event, "{call}");
    if route.ends_with("/{threadId}") {
        assert_eq!(event["threadId"].as_str(), path.rsplit('/').next(), "{call}");
    }
}

/// Whether JSON is refused for a number or a depth that `Value` cannot hold.
fn is_beyond_value(fault: &serde_json::Error) -> bool {
    let fault = fault.to_string();
    fault.starts_with("number out of range") || fault.starts_with("recursion limit exceeded")
}

/// The documented path that a request goes to: the one with the fewest parameters.
fn route(path: &str, method: &str) -> Option<&'static str> {
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |route: &str| {
        let names: Vec<&str> = route.split('/').collect();
        let pairs = || names.iter().zip(&parts);
        names.len() == parts.len() && pairs().all(|(name, part)| name == part || is_name(name))
    };
    let paths = DOCUMENT["paths"].as_object()?;
    let fitting = paths.iter().filter(|(route, item)| item.get(method).is_some() && fits(route));
    let fewest = fitting.min_by_key(|(route, _)| route.matches('{').count());
    fewest.map(|(route, _)| route.as_str())
}

fn is_name(part: &str) -> bool {
    part.starts_with('{')
}

/// Where the document describes an answer of this status.
fn response(operation: &str, status: u16) -> Option<String> {
    let at = format!("{operation}/responses/{status}");
    let response = DOCUMENT.pointer(&at)?;
    let reference = response["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    Some(reference.map_or(at, str::to_owned))
}

#[track_caller]
fn conforms(at: &str, value: &Value, call: &str) {
    let mut compiled = COMPILED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let validator = compiled.entry(at.to_owned()).or_insert_with(|| {
        let schema = json!({
            "components": DOCUMENT["components"], "allOf": [DOCUMENT.pointer(at).unwrap()],
        });
        Arc::new(jsonschema::draft202012::new(&schema).unwrap())
    });
    let validator = Arc::clone(validator);
    drop(compiled);
    let faults: Vec<String> = validator
        .iter_errors(value)
        .map(|fault| format!("{}: {fault}", fault.instance_path()))
        .collect();
    assert!(faults.is_empty(), "{call} is not as documented: {faults:#?}\n{value}");
}
