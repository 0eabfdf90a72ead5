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
    for (path, methods) in document["paths"].as_object().unwrap() {
        let Some(get) = methods.get("get") else { continue };
        let parameters = get["parameters"].as_array().cloned().unwrap_or_default();
        let route = path.replace(['{', '}'], "");
        for parameter in parameters.iter().filter(|one| one["in"] == "query") {
            let name = parameter["name"].as_str().unwrap();
            // A map is written as `name.key=value`; a credential is read before all else.
            if parameter["schema"]["type"] == "object" || ["token", "key"].contains(&name) {
                continue;
            }
            let detail = refusal(&client, &format!("{route}?{name}=%21&{STRANGER}=1")).await;
            let strange = format!("{name}: is not a parameter");
            assert!(!detail.contains(&strange), "{path}: {detail}");
            assert!(detail.contains(STRANGER), "{path}?{name}: {detail}");
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen} parameters");
}

async fn refusal(client: &Client, path: &str) -> String {
    let answer = client.get(path).await;
    assert_eq!(answer.status, 400, "{path}: {}", answer.text());
    answer.json()["detail"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_document_names_the_members_of_bodies_that_the_server_takes() {
    let home = Home::memory().await;
    let server = home.start().await;
    let client = server.client();
    let document = client.get("/openapi.json").await.expect(200).json();
    let mut seen = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let Some(members) = members(&document, schema) else { continue };
            let route = path.replace(['{', '}'], "");
            let sent = json!({ STRANGER: 1 }).to_string();
            let headers = [("content-type", "application/json")];
            let answer = client.send(&method.to_uppercase(), &route, &headers, sent).await;
            if !matches!(answer.status, 400) {
                continue;
            }
            let Some(known) = known(&answer.json()) else { continue };
            assert_eq!(members, known, "{method} {path}");
            seen += 1;
        }
    }
    assert!(seen > 8, "{seen} bodies");
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
    let schema = match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.strip_prefix('#')?)?,
        None => schema,
    };
    Some(schema["properties"].as_object()?.keys().cloned().collect())
}
