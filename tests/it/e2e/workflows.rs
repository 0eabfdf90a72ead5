//! What workflows mean: templates, conditions, branches, the input's schema.

use serde_json::{Value, json};

use super::support::flows::{bench, flow, step};

#[tokio::test]
async fn a_lone_reference_keeps_its_type_and_text_around_it_makes_text() {
    let (_server, client, _) = bench().await;
    let from = json!({
        "object": "{input.o}", "number": "{input.n}", "text": "{input.t}", "null": "{input.z}",
        "within": "n={input.n} o={input.o} t={input.t} z={input.z}", "item": "{input.o.a[1].b}",
        "braces": "{{input.n}}", "code": "{ not: 'a reference' } {title}", "id": "{thread.id}",
        "step-status": "{one.status}", "{input.t}": 1
    });
    let steps = json!([
        { "id": "one", "kind": "transform", "with": { "jq": "1" } },
        { "id": "two", "kind": "transform", "dependsOn": ["one"],
          "with": { "jq": ".", "from": from } },
    ]);
    let input =
        json!({ "o": { "a": [0, { "b": [true] }] }, "n": 1.50, "t": "{input.n}", "z": null });
    let body = json!({ "workflow": flow(&steps), "input": input, "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    let status = client.completed("t1").await;
    let output = &step(&status, "two")["output"];
    assert_eq!(output["object"], input["o"]);
    assert_eq!((&output["number"], &output["null"]), (&json!(1.5), &Value::Null));
    // What is put in is never read again as a template.
    assert_eq!(output["text"], "{input.n}");
    let within = r#"n=1.5 o={"a":[0,{"b":[true]}]} t={input.n} z=null"#;
    assert_eq!(output["within"], within);
    assert_eq!(output["item"], json!([true]));
    assert_eq!(output["braces"], "{input.n}");
    assert_eq!(output["code"], "{ not: 'a reference' } {title}");
    assert_eq!(output["id"], "t1");
    assert_eq!(output["step-status"], "completed");
}

#[tokio::test]
async fn a_reference_to_something_absent_fails_the_step_at_once() {
    let (_server, client, _) = bench().await;
    let steps = json!([{ "id": "s", "kind": "transform", "with": { "jq": ".", "from": "{input.no.such}" } }]);
    let status = client.run(&json!({ "workflow": flow(&steps), "input": {} })).await;
    assert_eq!(status["status"], "failed");
    assert_eq!(status["error"]["code"], "template_unresolved");
    assert_eq!(status["error"]["recoverable"], json!(false));
    assert_eq!(step(&status, "s")["attempts"], json!(1));
}

#[tokio::test]
async fn skipping_spreads_to_those_that_depend_on_it_alone() {
    let (_server, client, _) = bench().await;
    let no_op = json!({ "jq": "1" });
    let steps = json!([
        { "id": "off", "kind": "transform", "with": no_op, "when": "input.on" },
        { "id": "on", "kind": "transform", "with": no_op, "when": "!input.on && thread.id == 't1'" },
        { "id": "after-off", "kind": "transform", "with": no_op, "dependsOn": ["off"] },
        { "id": "join", "kind": "transform", "dependsOn": ["after-off", "on"],
          "when": "steps['after-off'].status == 'skipped' && on.output == 1",
          "with": { "jq": ".", "from": ["{off.output}", "{after-off.output}", "{on.output}"] } },
    ]);
    let mut workflow = flow(&steps);
    workflow["steps"][3]["dependsOn"] = json!(["off", "after-off", "on"]);
    let body = json!({ "workflow": workflow, "input": { "on": false }, "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    let status = client.completed("t1").await;
    assert_eq!(step(&status, "off")["status"], "skipped");
    assert_eq!(step(&status, "after-off")["status"], "skipped");
    assert_eq!(status["output"], json!({ "join": [null, null, 1] }));
    assert_eq!(status["progress"], json!({ "completed": 4, "total": 4 }));
}

#[tokio::test]
async fn a_condition_that_cannot_be_answered_fails_the_step() {
    let (_server, client, _) = bench().await;
    let steps =
        json!([{ "id": "s", "kind": "transform", "with": { "jq": "1" }, "when": "input.a.b > 1" }]);
    let status = client.run(&json!({ "workflow": flow(&steps), "input": {} })).await;
    assert_eq!(
        (&status["status"], &status["error"]["code"]),
        (&json!("failed"), &json!("condition_failed"))
    );
}

#[tokio::test]
async fn branches_run_side_by_side() {
    let (_server, client, recorder) = bench().await;
    let branch = |id: &str| {
        let url = recorder.url(&format!("wait/{id}"));
        json!({ "id": id, "kind": "http", "with": { "url": url } })
    };
    let mut steps = vec![branch("a"), branch("b"), branch("c")];
    steps.push(json!({ "id": "join", "kind": "transform", "dependsOn": ["a", "b", "c"],
                       "with": { "jq": "[.steps[].output.body.name? // empty]" } }));
    let body = json!({ "workflow": flow(&json!(steps)), "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    for name in ["a", "b", "c"] {
        // All three are there before any was let go.
        recorder.reached(name, 1).await;
    }
    let status = client.status("t1").await;
    assert_eq!(status["currentSteps"], json!(["a", "b", "c"]));
    for name in ["c", "a", "b"] {
        recorder.release(name);
    }
    assert_eq!(client.completed("t1").await["output"]["join"], json!(["a", "b", "c"]));
}

#[tokio::test]
async fn an_input_that_does_not_fit_its_schema_is_refused_with_every_fault() {
    let (_server, client, _) = bench().await;
    let mut workflow = flow(&json!([{ "id": "s", "kind": "transform", "with": { "jq": "1" } }]));
    workflow["inputSchema"] = json!({
        "type": "object", "required": ["repo"],
        "properties": { "repo": { "type": "string" }, "limit": { "type": "integer", "minimum": 1 } }
    });
    let body = json!({ "workflow": workflow, "input": { "repo": 1, "limit": 0 } });
    let answer = client.post("/invoke/async", &body).await.expect(400);
    assert_eq!(answer.pointers(), ["/input/limit", "/input/repo"]);
    let body = json!({ "workflow": workflow, "input": { "repo": "r" } });
    client.post("/invoke/async", &body).await.expect(202);
}
