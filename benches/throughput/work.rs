//! The workflows that are measured.

use serde_json::{Value, json};

/// About 100 bytes that travel through every step.
pub(crate) const PAYLOAD: &str =
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789";

/// `steps` chained transforms that hand their input on.
pub(crate) fn chain(steps: usize) -> Value {
    let step = |number: usize| {
        let from =
            if number == 0 { "{input}".to_owned() } else { format!("{{s{}.output}}", number - 1) };
        let mut step = json!({
            "id": format!("s{number}"),
            "kind": "transform",
            "with": { "jq": ".", "from": from },
        });
        if number > 0 {
            step["dependsOn"] = json!([format!("s{}", number - 1)]);
        }
        step
    };
    json!({
        "workflow": { "name": format!("chain-{steps}"), "steps": (0..steps).map(step).collect::<Vec<_>>() },
        "input": { "payload": PAYLOAD },
    })
}

/// A step that hangs in a request to `url`: what a killed server leaves behind.
pub(crate) fn hanging(url: &str) -> Value {
    json!({
        "workflow": { "name": "hanging", "steps": [
            { "id": "first", "kind": "transform", "with": { "jq": ".", "from": "{input}" } },
            { "id": "hang", "kind": "http", "dependsOn": ["first"], "with": { "url": url } },
        ] },
        "input": { "payload": PAYLOAD },
    })
}
