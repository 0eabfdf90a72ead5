//! What clients wrote cannot take more of a server than it was given.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::support::flows::flow;
use super::support::{Home, Server};

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
