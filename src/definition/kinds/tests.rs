use serde_json::{Value, json};

use crate::definition::Plan;
use crate::definition::testing::json as text;
use crate::model::Pointer;

#[test]
fn the_with_of_each_kind_is_checked() {
    for (kind, given, places) in [
        ("http", json!({"url": "http://h/"}), vec![]),
        (
            "http",
            json!({"url": "{input}", "method": "{input.m}", "headers": "{input.h}", "query": {"a": [1, "b"], "c": true},
            "body": "x", "expectStatus": [200, "300-399", "{input.s}"]}),
            vec![],
        ),
        (
            "http",
            json!({"url": "http://h/{input.x}?a={secrets.KEY}", "headers": {"X-A": 1}, "json": null}),
            vec![],
        ),
        ("http", json!({}), vec![""]),
        ("http", json!({"url": "host/x"}), vec!["/url"]),
        ("http", json!({"url": "ftp://host/x"}), vec!["/url"]),
        ("http", json!({"url": 1}), vec!["/url"]),
        (
            "http",
            json!({"url": "http://h", "method": "get", "headers": {"a b": "x", "c": [], "d": "x\ny"}, "query": {"a": {}, "b": [null]}}),
            vec!["/method", "/headers/a b", "/headers/c", "/headers/d", "/query/a", "/query/b/0"],
        ),
        ("http", json!({"url": "http://h", "json": 1, "body": {}}), vec!["/body", "/body"]),
        ("http", json!({"url": "http://h", "expectStatus": 99}), vec!["/expectStatus"]),
        ("http", json!({"url": "http://h", "expectStatus": "ok"}), vec!["/expectStatus"]),
        ("http", json!({"url": "http://h", "expectStatus": []}), vec!["/expectStatus"]),
        (
            "http",
            json!({"url": "http://h", "expectStatus": [200, "299-200", "x", {}]}),
            vec!["/expectStatus/1", "/expectStatus/2", "/expectStatus/3"],
        ),
        ("http", json!({"url": "http://h", "timeout": 1}), vec!["/timeout"]),
        ("exec", json!({"program": "ls"}), vec![]),
        (
            "exec",
            json!({"program": "ls", "args": "{input}", "env": {"A": "{secrets.A}", "B": 1}, "stdin": "x", "cwd": "/", "parse": "json"}),
            vec![],
        ),
        ("exec", json!({}), vec![""]),
        ("exec", json!({"program": "{input.p}"}), vec!["/program"]),
        ("exec", json!({"program": ["ls"]}), vec!["/program"]),
        (
            "exec",
            json!({"program": "", "args": "x", "env": {"A=B": "x", "C": null}, "stdin": 1, "cwd": 1, "parse": "yaml"}),
            vec!["/args", "/env/A=B", "/env/C", "/stdin", "/cwd", "/parse", "/program"],
        ),
        ("exec", json!({"program": "ls", "args": ["a", null, {}]}), vec!["/args/1", "/args/2"]),
        ("transform", json!({"jq": "."}), vec![]),
        ("transform", json!({"jq": "{a: .input}", "from": [1, "{input}"]}), vec![]),
        ("transform", json!({}), vec![""]),
        ("transform", json!({"jq": 1}), vec!["/jq"]),
        ("transform", json!({"jq": ".["}), vec!["/jq"]),
        ("sleep", json!({"for": 10}), vec![]),
        ("sleep", json!({"for": "{input.t}"}), vec![]),
        ("sleep", json!({"until": "2030-01-31T08:00:00Z"}), vec![]),
        ("sleep", json!({"until": "{input.t}"}), vec![]),
        ("sleep", json!({}), vec![""]),
        ("sleep", json!({"for": 1, "until": "2030-01-31T08:00:00Z"}), vec![""]),
        ("sleep", json!({"for": "soon"}), vec!["/for"]),
        ("sleep", json!({"for": -1}), vec!["/for"]),
        ("sleep", json!({"until": "tomorrow"}), vec!["/until"]),
        ("sleep", json!({"until": 1}), vec!["/until"]),
        ("sleep", json!([]), vec![""]),
    ] {
        let workflow = text(&with(kind, &given).to_string());
        let faults = Plan::parse(&workflow, &Pointer::root()).err().unwrap_or_default();
        let found: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        let places: Vec<_> = places.iter().map(|at| format!("/steps/0/with{at}")).collect();
        assert_eq!(found, places, "{kind} {given}: {faults:?}");
    }
}

fn with(kind: &str, with: &Value) -> Value {
    json!({"name": "w", "steps": [{"id": "s", "kind": kind, "with": with}]})
}
