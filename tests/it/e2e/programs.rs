//! Programs of `exec` steps take no more than they were given, and leave nothing behind.

use serde_json::{Value, json};

use super::support::Home;
use super::support::flows::{flow, step};

#[tokio::test]
async fn a_variable_that_loads_other_code_is_refused_where_it_stands() {
    let home = Home::memory().await;
    let server = home.launch().set("RETHREAD_EXEC_ALLOW", "env").start().await;
    let client = server.client();
    let give =
        |name: &str| json!({ "kind": "exec", "with": { "program": "env", "env": { name: "x" } } });
    for name in
        ["BASH_ENV", "LD_AUDIT", "PYTHONHOME", "GIT_SSH_COMMAND", "PATH", "A-B", "{input.n}"]
    {
        let mut steps = json!([give("MINE"), give(name)]);
        (steps[0]["id"], steps[1]["id"]) = (json!("a"), json!("b"));
        steps[0]["fallback"] = give(name);
        let answer = client.post("/invoke/async", &json!({ "workflow": flow(&steps) })).await;
        let pointers = [
            format!("/workflow/steps/0/fallback/with/env/{name}"),
            format!("/workflow/steps/1/with/env/{name}"),
        ];
        assert_eq!(answer.expect(400).pointers(), pointers, "{name}");
    }
    assert_eq!(client.get("/threads").await.json()["items"], json!([]));
}

#[tokio::test]
async fn a_variable_that_came_as_data_is_refused_as_well() {
    let home = Home::memory().await;
    let launch = home.launch().set("RETHREAD_EXEC_ALLOW", "env");
    let server = launch.set("RETHREAD_EXEC_ENV", "HOME,GIT_AUTHOR_*").start().await;
    let client = server.client();
    let steps = json!([{ "id": "s", "kind": "exec",
        "with": { "program": "env", "env": "{input}", "parse": "lines" } }]);
    for (name, passes) in [
        ("NODE_OPTIONS", false),
        ("IFS", false),
        ("MINE", true),
        ("HOME", true),
        ("GIT_AUTHOR_NAME", true),
    ] {
        let status = client.run(&json!({ "workflow": flow(&steps), "input": { name: "x" } })).await;
        let lines = step(&status, "s")["output"]["stdout"].as_array().cloned().unwrap_or_default();
        assert_eq!(lines.contains(&json!(format!("{name}=x"))), passes, "{name}: {status:#}");
        let code = if passes { Value::Null } else { json!("invalid_configuration") };
        assert_eq!(status["error"]["code"], code, "{name}");
    }
}
