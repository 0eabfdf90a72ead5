//! What a client sends is what everybody sees, byte for byte, on every store.

use serde_json::json;

use super::support::{Client, Home, Recorder, on_stores};

on_stores!([memory, sqlite, postgres] [
    payloads_come_back_byte_for_byte,
    the_deepest_and_the_longest_payloads_come_back,
    lone_surrogates_are_refused_and_nothing_is_written,
]);

/// Payloads that careless handling changes.
const PAYLOADS: &[&str] = &[
    r#""a\u0000b""#,
    "12345678901234567890",
    "-12345678901234567890123456789",
    "-0",
    "-0.0",
    "1.10",
    "1e5",
    "1E+05",
    "0.1e-7",
    "1e400",
    "123456789012345678.123456789012345678",
    r#"{"z":1,"a":2,"m":{"9":1,"10":2,"":3}}"#,
    "\"line\u{2028}paragraph\u{2029}\u{85}\u{feff}\"",
    "\"🧵 \u{1F469}\u{200D}\u{1F680} ü 漢字\"",
    "\"e\u{301} \u{e9}\"",
    r#""data: x\n\nid: 9\r\nevent: y""#,
    r#""</script><!-- {input} {{braces}} ${x}""#,
    r#"[null,true,false,[],{},"",[[]],[{}]]"#,
    "null",
    r#"{"__proto__":{"a":1},"constructor":null}"#,
];

/// Payloads that a step may write in another way, as the values it works with have no such
/// difference: they are handed on without one.
const UNFILTERED: &[&str] = &[
    r#"{"dup":1,"dup":2}"#,
    r#""\ud83e\uddf5 \u00fc \/ \" \\ \b\f\n\r\t""#,
    r#"{"\u0061":1,"a":2}"#,
];

fn payloads() -> impl Iterator<Item = (usize, &'static &'static str)> {
    PAYLOADS.iter().chain(UNFILTERED).enumerate()
}

/// A workflow that hands its input on in every way there is.
fn workflow(recorder: &Recorder, filtered: bool) -> String {
    let whole = json!({ "name": "echo", "steps": [
        { "id": "filter", "kind": "transform", "with": { "jq": ".", "from": "{input}" } },
        { "id": "nested", "kind": "transform", "dependsOn": ["filter"],
          "with": { "jq": ".[0]", "from": ["{filter.output}"] } },
        { "id": "sent", "kind": "http", "dependsOn": ["nested"],
          "with": { "method": "POST", "url": recorder.url("echo/e"), "json": "{nested.output}" } },
    ], "output": "{sent.output.body}" });
    let no_op = json!([{ "id": "none", "kind": "transform", "with": { "jq": "1" } }]);
    let short = json!({ "name": "hand-on", "steps": no_op, "output": "{input}" });
    if filtered { whole.to_string() } else { short.to_string() }
}

fn invoke(recorder: &Recorder, thread: &str, payload: &str) -> String {
    let workflow = workflow(recorder, !UNFILTERED.contains(&payload));
    format!("{{\"threadId\":\"{thread}\",\"workflow\":{workflow},\"input\":{payload}}}")
}

/// Sees the payload everywhere it should be.
async fn is_everywhere(client: &Client, recorder: &Recorder, thread: &str, payload: &str) {
    let waited = client.get(&format!("/status/{thread}?wait=20s")).await.expect(200);
    let status = waited.text();
    let short = |text: &str| text.chars().take(3_000).collect::<String>();
    assert!(status.contains("\"status\":\"completed\",\"currentSteps\":[]"), "{}", short(status));
    let part = format!("\"input\":{payload},\"output\":{payload},\"error\"");
    assert!(status.contains(&part), "{} in {}", short(&part), short(status));
    // The outputs of the filters, and that of the thread.
    let times = if UNFILTERED.contains(&payload) { 1 } else { 3 };
    let part = format!("\"output\":{payload},\"error\":null");
    assert_eq!(status.matches(&part).count(), times, "{}", short(status));
    let sent = recorder.hits().into_iter().filter(|hit| hit.key == format!("{thread}/sent"));
    for hit in sent {
        assert_eq!(hit.body, payload.as_bytes());
    }
    let events = client.events(thread).await;
    let input = format!("\"input\":{payload},\"metadata\"");
    assert!(events[0].contains(&input), "{}", short(&events[0]));
    let output = format!("\"data\":{{\"output\":{payload},\"durationMs\"");
    assert_eq!(events.iter().filter(|event| event.contains(&output)).count(), times);
    let frames = client.stream(&format!("/stream/{thread}"), &[]).await.rest().await;
    let data: Vec<_> = frames.into_iter().map(|frame| frame.data).collect();
    assert_eq!(data, events);
}

async fn payloads_come_back_byte_for_byte(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    for (index, payload) in payloads() {
        let body = invoke(&recorder, &format!("t{index}"), payload);
        client.post_text("/invoke/async", body).await.expect(202);
    }
    for (index, payload) in payloads() {
        is_everywhere(&client, &recorder, &format!("t{index}"), payload).await;
    }
    if home.store() == "memory" {
        return;
    }
    server.kill9().await;
    let server = home.start().await;
    for (index, payload) in payloads() {
        is_everywhere(&server.client(), &recorder, &format!("t{index}"), payload).await;
    }
}

async fn the_deepest_and_the_longest_payloads_come_back(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    // The body's own object is one level.
    client.post_text("/invoke/async", invoke(&recorder, "deep", &deep(126))).await.expect(202);
    is_everywhere(&client, &recorder, "deep", &deep(126)).await;
    for levels in [127, 1_000, 100_000] {
        let answer =
            client.post_text("/invoke/async", invoke(&recorder, "no", &deep(levels))).await;
        assert_eq!(answer.expect(400).json()["code"], "malformed_json");
    }
    let long = format!("\"{}\"", "ü🧵x".repeat(900 * 1024 / 7));
    client.post_text("/invoke/async", invoke(&recorder, "long", &long)).await.expect(202);
    is_everywhere(&client, &recorder, "long", &long).await;
    client.get("/status/no").await.expect(404);
}

async fn lone_surrogates_are_refused_and_nothing_is_written(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    for bad in
        [r#""\ud800""#, r#""\udc00x""#, r#""\ud83e\ud83e""#, r#"{"\ud800":1}"#, r#"["a","\uDfff"]"#]
    {
        let answer = client.post_text("/invoke/async", invoke(&recorder, "t1", bad)).await;
        assert_eq!(answer.expect(400).json()["code"], "malformed_json", "{bad}");
    }
    assert_eq!(client.get("/threads").await.json()["items"], json!([]));
}
