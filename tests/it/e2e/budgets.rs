//! What clients wrote cannot take more of a server than it was given.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::support::flows::flow;
use super::support::{Home, Server, beside};

/// Longest that anybody else waits for an answer meanwhile.
const OTHERS_WAIT: Duration = Duration::from_millis(1_500);

/// Looks again and again whether the server answers, until the work beside it is done.
async fn meanwhile<T>(server: &Server, work: impl Future<Output = T>) -> T {
    let client = server.client();
    let watch = async {
        loop {
            let asked = Instant::now();
            client.get("/health/live").await.expect(200);
            assert!(asked.elapsed() < OTHERS_WAIT, "others waited for {:?}", asked.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        done = work => done,
        () = watch => unreachable!(),
    }
}

#[tokio::test]
async fn a_template_that_explodes_fails_its_step_wherever_it_stands() {
    let home = Home::sqlite().await;
    let server = home.launch().start().await;
    let many = "{input}".repeat(5_000);
    let once = json!({ "maxAttempts": 1 });
    let places: [Value; 6] = [
        json!({ "kind": "http", "with": { "url": "http://127.0.0.1:1", "json": many }, "retry": once }),
        json!({ "kind": "http", "with": { "url": "http://127.0.0.1:1",
            "headers": { "x": many } }, "retry": once }),
        json!({ "kind": "transform", "with": { "jq": "1", "from": { "a": [many] } } }),
        json!({ "kind": "approval", "with": { "prompt": many } }),
        json!({ "kind": "signal", "with": { "name": many } }),
        json!({ "kind": "http", "with": { "url": "http://127.0.0.1:1" }, "retry": once,
            "fallback": { "output": many } }),
    ];
    for mut step in places {
        step["id"] = json!("a");
        let body = json!({ "workflow": flow(&json!([step])), "input": ["y".repeat(900_000)] });
        let client = server.client();
        let status = meanwhile(&server, client.run(&body)).await;
        assert_eq!(status["error"]["code"], "payload_too_large", "{}", status["error"]);
    }
    let steps = json!([{ "id": "a", "kind": "sleep", "with": { "for": 1 } }]);
    let mut workflow = flow(&steps);
    workflow["output"] = json!(many);
    let body = json!({ "workflow": workflow, "input": ["y".repeat(900_000)] });
    let client = server.client();
    let status = meanwhile(&server, client.run(&body)).await;
    assert_eq!(status["error"]["code"], "payload_too_large", "{}", status["error"]);
}

#[tokio::test]
async fn filters_that_explode_fail_their_steps_and_leave_the_memory_to_others() {
    let home = Home::sqlite().await;
    let server = home.launch().set("RETHREAD_MEMORY_LIMIT", "512MiB").start().await;
    for jq in [
        r#"("x"*60000000)|[match("";"g")]|length"#,
        r#"("x"*60000000)|split("";null)|length"#,
        r#"("'"*60000000)|@sh|length"#,
        r#"("\u0001"*60000000)|tojson|length"#,
        r#"("1,"*30000000)|"["+.+"1]"|fromjson|length"#,
        r#"("x"*9000)|test("()"*4900)"#,
        "reduce range(1e9) as $i (0; ., .)",
        "def f: 1 + f; f",
    ] {
        let step = json!({ "id": "a", "kind": "transform", "with": { "jq": jq, "from": 1 } });
        let body = json!({ "workflow": flow(&json!([step])) });
        let client = server.client();
        let status = meanwhile(&server, client.run(&body)).await;
        assert_eq!(status["status"], "failed", "{jq}: {status}");
        assert!(server.most_memory() < 320 << 20, "{jq}: {} MiB", server.most_memory() >> 20);
    }
}

/// Steps with one program each, told apart by `note`.
fn with_programs(steps: usize, program: &str, note: &str) -> Value {
    let step = |at| json!({ "id": format!("s{at}"), "kind": "transform", "with": { "jq": program, "from": 1 } });
    let steps: Vec<Value> = (0..steps).map(step).collect();
    json!({ "name": "programs", "description": note, "steps": steps })
}

#[tokio::test]
async fn workflows_that_are_long_to_check_are_refused_and_hold_nobody_up() {
    let home = Home::memory().await;
    let server = home.launch().start().await;
    let client = server.client();
    for program in [
        format!("{}1", "-".repeat(15_999)),
        vec![".a"; 5_300].join(","),
        vec![".a"; 5_300].join("|"),
    ] {
        let workflow = with_programs(240, &program, "");
        let answer = meanwhile(&server, client.post("/workflows/validate", &workflow)).await;
        let fault = answer.expect(400).json()["errors"][0].clone();
        let pointer = fault["pointer"].as_str().unwrap();
        assert!(pointer.starts_with("/steps/") && pointer.ends_with("/with/jq"), "{fault}");
    }
    assert!(server.most_memory() < 400 << 20, "{} MiB", server.most_memory() >> 20);
    let ended = server.sigterm_and_wait().await;
    assert!(ended.success(), "{ended}");
}

#[tokio::test]
async fn a_crowd_of_one_namespace_does_not_keep_another_from_starting_threads() {
    const CROWD: usize = 24;
    let (one, two) = ("0123456789abcdef-one", "0123456789abcdef-two");
    let keys = format!("one:{one}:invoker:one,two:{two}:invoker:two");
    let home = Home::memory().await;
    let server = home.launch().set("RETHREAD_API_KEYS", &keys).start().await;
    let crowd: Vec<_> = (0..CROWD)
        .map(|at| {
            let client = server.client().with_key(one);
            let program = vec![".a"; 1_000].join(",");
            beside(async move {
                for round in 0_usize.. {
                    let workflow = with_programs(20, &program, &format!("{at}-{round}"));
                    let text = workflow.to_string();
                    let headers = [("content-type", "application/json")];
                    let told = client.attempt("POST", "/workflows/validate", &headers, text).await;
                    assert!(told.is_ok_and(|told| [200, 503].contains(&told.status)));
                }
            })
        })
        .collect();
    let client = server.client().with_key(two);
    for at in 0..10 {
        let mut workflow = under("true");
        workflow["description"] = json!(format!("never seen before: {at}"));
        let body = json!({ "workflow": workflow });
        let asked = Instant::now();
        client.post("/invoke/async", &body).await.expect(202);
        assert!(asked.elapsed() < OTHERS_WAIT * 2, "it waited for {:?}", asked.elapsed());
    }
    crowd.iter().for_each(tokio::task::JoinHandle::abort);
}

/// A step that does nothing, under a condition.
fn under(condition: &str) -> Value {
    let step = json!({ "id": "a", "kind": "sleep", "with": { "for": 1 }, "when": condition });
    flow(&json!([step]))
}

#[tokio::test]
async fn conditions_that_never_end_fail_and_hold_nobody_up() {
    let home = Home::sqlite().await;
    let server = home.launch().start().await;
    let ones = |many: usize| vec![1; many];
    let input = json!({ "xs": ones(100_000), "ys": ones(120_000), "zs": ones(120_000),
        "text": "y".repeat(200_000), "o": { "a": ones(1_000) } });
    for condition in [
        "input.xs.all(x, input.ys == input.zs)",
        "input.xs.all(x, input.ys.all(y, input.zs.all(z, true)))",
        "input.xs.all(x, !(2 in input.ys))",
        "size(input.xs.map(x, input.text + input.text)) > 0",
        "input.xs.all(x, input.text == input.text && input.o == input.o)",
        "input.xs.exists(x, input.text.contains('yyyyyyyyyyz'))",
    ] {
        let body = json!({ "workflow": under(condition), "input": input });
        let client = server.client();
        let status = meanwhile(&server, client.run(&body)).await;
        let error = &status["error"];
        assert_eq!(error["code"], "condition_failed", "{condition}: {error}");
        assert!(error["message"].as_str().unwrap().contains("budget"), "{condition}: {error}");
    }
    let honest = under("input.xs.all(x, x == 1) && size(input.text) == 200000");
    let status = server.client().run(&json!({ "workflow": honest, "input": input })).await;
    assert_eq!(status["status"], "completed", "{}", status["error"]);
}

/// A workflow with a schema of definitions that each lead to the next one as `step` says.
fn with_chain(length: usize, step: impl Fn(&str) -> Value) -> Value {
    let mut schema = json!({ "$defs": {}, "$ref": "#/$defs/d0" });
    for at in 0..length {
        schema["$defs"][format!("d{at}")] = step(&format!("#/$defs/d{}", at + 1));
    }
    schema["$defs"][format!("d{length}")] = json!({ "type": "integer" });
    let mut workflow = under("true");
    workflow["inputSchema"] = schema;
    workflow
}

#[tokio::test]
async fn schemas_that_explode_are_refused_and_hold_nobody_up() {
    let home = Home::memory().await;
    let server = home.launch().start().await;
    let client = server.client();
    let doubling = with_chain(40, |next| json!({ "allOf": [{ "$ref": next }, { "$ref": next }] }));
    let deep = (0..60).fold(json!("x"), |inner, _| json!({ "a": inner }));
    let deepening = with_chain(60, |next| {
        let inner = json!({ "properties": { "a": { "$ref": next } } });
        json!({ "allOf": [inner, inner] })
    });
    for (workflow, input) in [(doubling, json!(1)), (deepening, deep)] {
        let body = json!({ "workflow": workflow, "input": input });
        for path in ["/workflows/validate", "/invoke/async", "/invoke?wait=1s"] {
            let answer = meanwhile(&server, client.post(path, &body)).await;
            assert_eq!(answer.status, 400, "{path}: {}", answer.text());
        }
    }
    let ended = server.sigterm_and_wait().await;
    assert!(ended.success(), "{ended}");
}

/// A workflow whose schema has so many definitions, and as many members that refer to them.
fn with_names(count: usize, named: impl Fn(usize) -> Value, to: impl Fn(usize) -> Value) -> Value {
    let all = |of: &dyn Fn(usize) -> Value| -> serde_json::Map<String, Value> {
        (0..count).map(|at| (at.to_string(), of(at))).collect()
    };
    let mut workflow = under("true");
    workflow["inputSchema"] = json!({ "$defs": all(&named), "properties": all(&to) });
    workflow
}

/// Memory that a server takes at the most while it looks at one schema, over what it took before.
const ONE_SCHEMA: usize = 256 << 20;

#[tokio::test]
async fn schemas_of_many_names_and_references_take_bounded_memory_and_hold_nobody_up() {
    let home = Home::memory().await;
    let server = home.launch().start().await;
    let client = server.client();
    let before = server.most_memory();
    for count in [1_000, 5_000, 30_000] {
        let id = |at: usize| json!({ "$id": format!("r{at}") });
        let recursive = |at: usize| json!({ "$id": format!("r{at}"), "$recursiveRef": "#" });
        let anchor = |at: usize| json!({ "$anchor": format!("a{at}") });
        let dynamic = |_| json!({ "$dynamicAnchor": "a" });
        let workflows = [
            ("recursive", with_names(count, recursive, |_| json!(true))),
            ("ids", with_names(count, id, |at| json!({ "$ref": format!("r{at}") }))),
            ("anchors", with_names(count, anchor, |at| json!({ "$ref": format!("#a{at}") }))),
            ("dynamic", with_names(count, dynamic, |_| json!({ "$dynamicRef": "#a" }))),
        ];
        for (name, workflow) in workflows {
            let answer = meanwhile(&server, client.post("/workflows/validate", &workflow)).await;
            let (status, most) = (answer.status, server.most_memory());
            assert!(status == 200 || status == 400, "{name} {count}: {}", answer.text());
            assert!(most < before + ONE_SCHEMA, "{name} {count}: {} MiB", (most - before) >> 20);
        }
    }
    // The place of each word holds the long name above it.
    let words: serde_json::Map<String, Value> =
        (0..20_000).map(|at| (at.to_string(), json!({}))).collect();
    let mut below = under("true");
    below["inputSchema"] =
        json!({ "properties": { "k".repeat(250_000): { "properties": words } } });
    let answer = meanwhile(&server, client.post("/workflows/validate", &below)).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(server.most_memory() < before + ONE_SCHEMA);
    let ended = server.sigterm_and_wait().await;
    assert!(ended.success(), "{ended}");
}

#[tokio::test]
async fn a_thousand_waits_on_a_megabyte_of_list_end_nothing() {
    let home = Home::sqlite().await;
    let server = home.launch().start().await;
    let with = [
        ("sleep", json!({ "for": "{l.output.list}" })),
        ("signal", json!({ "name": "{l.output.list}" })),
        ("approval", json!({ "prompt": "?", "choices": "{l.output.list}" })),
    ];
    for (kind, with) in with {
        let list =
            json!({ "id": "l", "kind": "transform", "with": { "jq": "{list:[range(400000)|0]}" } });
        let waits = (0..999).map(|at| {
            json!({ "id": format!("s{at}"), "kind": kind, "dependsOn": ["l"], "with": with,
                "continueOnError": true })
        });
        let steps: Vec<Value> = [list].into_iter().chain(waits).collect();
        let body = json!({ "workflow": flow(&json!(steps)), "threadId": kind });
        let client = server.client();
        client.invoke(&body).await;
        let status = meanwhile(&server, client.completed(kind)).await;
        let failed = &status["steps"][999];
        assert_eq!(
            (&failed["status"], &failed["error"]["code"]),
            (&json!("failed"), &json!("payload_too_large"))
        );
    }
}
