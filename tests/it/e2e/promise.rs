//! Holds a finished thread against what is promised of every thread.

use std::collections::{BTreeMap, HashSet};

use serde_json::json;

use super::support::flows::gapless;
use super::support::{Client, Recorder};

/// Holds the promise against the journal: one completion a step, no attempt made twice, no request
/// of a step behind its completion, every takeover counted.
pub(super) async fn kept_its_promise(client: &Client, recorder: &Recorder, thread: &str) {
    let status = client.completed(thread).await;
    let events = gapless(client, thread).await;
    let mut completions: BTreeMap<String, u64> = BTreeMap::new();
    let mut starts: HashSet<(String, u64)> = HashSet::new();
    let mut recoveries = 0;
    for event in &events {
        let step = || event["stepId"].as_str().unwrap().to_owned();
        match event["type"].as_str().unwrap() {
            "step_start" => {
                assert!(starts.insert((step(), event["attempt"].as_u64().unwrap())), "{event}");
            }
            "step_complete" => {
                let attempt = event["attempt"].as_u64().unwrap();
                assert_eq!(completions.insert(step(), attempt), None, "{event}");
            }
            "workflow_recovered" if event["data"]["cause"] != "handover" => recoveries += 1,
            _ => {}
        }
    }
    assert_eq!(status["recoveries"], json!(recoveries), "{thread}");
    assert_eq!(completions.len(), status["steps"].as_array().unwrap().len(), "{thread}");
    for (step, completed) in completions {
        let key = format!("{thread}/{step}");
        let hits: Vec<_> = recorder.hits().into_iter().filter(|hit| hit.key == key).collect();
        let attempts: HashSet<_> = hits.iter().map(|hit| u64::from(hit.attempt)).collect();
        assert_eq!(attempts.len(), hits.len(), "{key}: an attempt was made twice");
        assert!(attempts.contains(&completed), "{key}");
        assert!(
            attempts.iter().all(|attempt| *attempt <= completed),
            "{key} ran again: {attempts:?}"
        );
        assert!(attempts.iter().all(|n| starts.contains(&(step.clone(), *n))), "{key}");
    }
}
