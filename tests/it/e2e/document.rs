//! The API's document and the server name the same parameters and members.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::support::{Client, Home};

/// A name that nothing takes.
const STRANGER: &str = "zzz";

#[tokio::test]
async fn every_documented_query_parameter_is_taken_and_no_other() {
    let home = Home::memory().await;
    let server = home.start().await;
    let client = server.client();
    let document = client.get("/openapi.json").await.expect(200).json();
    let mut seen = 0;
    for (path, method, operation) in operations(&document) {
        let route = path.replace(['{', '}'], "");
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let queried = parameters.iter().filter(|one| one["in"] == "query");
        let names = queried.map(|one| one["name"].as_str().unwrap()).chain([STRANGER]);
        // A credential is read before all else.
        for name in names.filter(|name| *name != "token") {
            let detail =
                refusal(&client, &method, &format!("{route}?{name}=%21&x{STRANGER}=1")).await;
            let strange = detail.contains(&format!("{name}: is not a parameter"));
            assert_eq!(strange, name == STRANGER, "{method} {path}?{name}: {detail}");
            let other = format!("x{STRANGER}: is not a parameter");
            assert!(detail.contains(&other), "{method} {path}?{name}: {detail}");
            seen += 1;
        }
    }
    assert!(seen > 70, "{seen} parameters");
}

async fn refusal(client: &Client, method: &str, path: &str) -> String {
    let answer = client.send(&method.to_uppercase(), path, &[], "").await;
    assert_eq!(answer.status, 400, "{method} {path}: {}", answer.text());
    answer.json()["detail"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_document_names_the_members_of_bodies_that_the_server_takes() {
    let home = Home::memory().await;
    let server = home.start().await;
    let client = server.client();
    let document = client.get("/openapi.json").await.expect(200).json();
    let mut seen = 0;
    for (path, method, operation) in operations(&document) {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let Some(members) = members(&document, schema) else {
            // A signal's payload is any JSON, and what is validated is a workflow or holds one.
            let free = ["sendSignal", "validateWorkflow"].map(|id| operation["operationId"] == id);
            assert!(schema.is_null() || free.contains(&true), "{method} {path}");
            continue;
        };
        let route = path.replace(['{', '}'], "");
        let sent = json!({ STRANGER: 1 }).to_string();
        let headers = [("content-type", "application/json")];
        let answer = client.send(&method.to_uppercase(), &route, &headers, sent).await;
        let known = known(&answer.expect(400).json());
        assert_eq!(Some(members), known, "{method} {path}");
        seen += 1;
    }
    assert!(seen >= 14, "{seen} bodies");
}

/// The operations of the document: path, method, and what is said of it.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let methods = paths.iter().flat_map(|(path, item)| {
        item.as_object().unwrap().iter().map(move |(method, operation)| (path, method, operation))
    });
    methods
        .map(|(path, method, operation)| (path.clone(), method.clone(), operation.clone()))
        .collect()
}

#[tokio::test]
async fn the_document_names_the_members_of_a_workflow_that_the_server_takes() {
    let home = Home::memory().await;
    let server = home.start().await;
    let client = server.client();
    let document = client.get("/openapi.json").await.expect(200).json();
    let stranger = || json!({ STRANGER: 1 });
    let step = |member: &str, value: Value| json!({ "name": "w", "steps": [{ "id": "a", "kind": "transform", "with": {}, member: value }] });
    let table = [
        ("Workflow", json!({ "name": "w", "steps": [], STRANGER: 1 })),
        ("StepDefaults", json!({ "name": "w", "steps": [], "defaults": stranger() })),
        ("StepDefinition", step(STRANGER, json!(1))),
        ("RetryPolicy", step("retry", stranger())),
        ("CircuitBreaker", step("breaker", stranger())),
        ("FallbackStep", step("fallback", json!({ "kind": "transform", STRANGER: 1 }))),
        ("FallbackOutput", step("fallback", json!({ "output": 1, STRANGER: 1 }))),
        ("CompensationStep", step("compensate", json!({ "kind": "transform", STRANGER: 1 }))),
    ];
    for (schema, workflow) in table {
        let answer = client.post("/workflows/validate", &workflow).await.expect(400).json();
        let known = known(&answer).unwrap_or_else(|| panic!("{schema}: {answer}"));
        let reference = json!({ "$ref": format!("#/components/schemas/{schema}") });
        assert_eq!(members(&document, &reference).unwrap(), known, "{schema}");
    }
}

/// The members that the server names when it meets a stranger.
fn known(problem: &Value) -> Option<BTreeSet<String>> {
    let faults = problem["errors"].as_array()?;
    let detail = faults.iter().find_map(|fault| {
        let detail = fault["detail"].as_str()?;
        detail.contains(STRANGER).then(|| detail.split_once("known are "))?
    });
    Some(detail?.1.split(", ").map(str::to_owned).collect())
}

/// The members that the document names; `None` for what is no object of named members.
fn members(document: &Value, schema: &Value) -> Option<BTreeSet<String>> {
    // A body that may be left out is one of `null` and an object.
    let object = schema["oneOf"].as_array().and_then(|either| {
        let object = either.iter().find(|one| one["type"] != "null")?;
        (either.len() == 2 && either.iter().any(|one| one["type"] == "null")).then_some(object)
    });
    let schema = object.unwrap_or(schema);
    let schema = match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.strip_prefix('#')?)?,
        None => schema,
    };
    Some(schema["properties"].as_object()?.keys().cloned().collect())
}
