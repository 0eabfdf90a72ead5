//! The form of snapshots, and the handling of bad ones.

use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::theatre::{Stage, broken, http, http_with, plan, thread};
use crate::machine::{EncodedSnapshot, SnapshotFault, ThreadState, snapshot};
use crate::model::{Json, RecoveryCause, StepStatus, ThreadId, hex};

/// A thread with a bit of everything: an output, a retry under way, an open intervention.
fn lived() -> Stage {
    let mut stage = Stage::new(json!([
        http("a", &[]),
        http_with("b", &[], json!({ "retry": { "maxAttempts": 3, "jitter": false } })),
        http("c", &["a", "b"]),
    ]));
    stage.advance();
    stage.pass(5).complete("a", json!({ "n": 1 }));
    stage.pass(5).fail("b", broken());
    stage.recover(RecoveryCause::Crashed);
    let takeover = super::theatre::takeover(RecoveryCause::Frozen, 9);
    stage.decide(crate::machine::Command::Quarantine { takeover, losses: 6 }).unwrap();
    stage
}

fn read(text: &str, stage: &Stage) -> Result<ThreadState, SnapshotFault> {
    EncodedSnapshot::open(text, &digest(text))?.restore(&thread(), Arc::clone(&stage.state.plan))
}

fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

#[test]
fn version_7_is_this_text() {
    let mut stage = lived();
    stage.state.workflow.hash = "HASH".to_owned();
    let (text, sha256) = snapshot::encode(&stage.state);
    assert_eq!(sha256, digest(&text));
    // A change of this text needs another version: stored snapshots are read by it.
    assert_eq!(snapshot::SNAPSHOT_VERSION, 7);
    assert_eq!(
        text,
        concat!(
            r#"{"ids":["a","b","c"],"state":{"createdAt":"2023-11-14T22:13:20.000Z","input":"{}","interrupted":0,"#,
            r#""interventions":[{"at":"2023-11-14T22:13:20.010Z","opened":{"choices":["resume","abort"],"#,
            r#""id":"t~9","kind":"poison","prompt":"6 replicas were lost while they drove this thread and "#,
            r#"no step completed in between; under way at the last one: none","steps":[]}}],"#,
            r#""lastSeq":9,"metadata":"{}","pausedBy":{"actor":{"by":"rethread","#,
            r#""reason":"6 replicas were lost while they drove this thread and "#,
            r#"no step completed in between; under way at the last one: none"},"#,
            r#""at":"2023-11-14T22:13:20.010Z"},"recoveries":2,"signals":[],"starters":["tests"],"status":"paused","#,
            r#""steps":[{"admitted":true,"#,
            r#""compensation":{"attempts":0,"failures":0,"phase":"idle"},"compensationEpoch":0,"#,
            r#""completedAt":"2023-11-14T22:13:20.005Z","#,
            r#""fallback":false,"output":"{\"n\":1}","own":{"attemptAt":"2023-11-14T22:13:20.000Z","#,
            r#""attempts":1,"failures":0,"phase":{"done":{"seq":4}}},"#,
            r#""startedAt":"2023-11-14T22:13:20.000Z"},"#,
            r#"{"admitted":true,"#,
            r#""compensation":{"attempts":0,"failures":0,"phase":"idle"},"compensationEpoch":0,"#,
            r#""failedAt":"2023-11-14T22:13:20.010Z","#,
            r#""fallback":false,"own":{"attemptAt":"2023-11-14T22:13:20.000Z","attempts":1,"#,
            r#""error":{"attempt":1,"category":"external","code":"connection_failed","#,
            r#""message":"refused","recoverable":true,"stepId":"b"},"failures":1,"#,
            r#""phase":{"backoff":"2023-11-14T22:13:21.010Z"}},"#,
            r#""startedAt":"2023-11-14T22:13:20.000Z"},"#,
            r#"{"admitted":false,"#,
            r#""compensation":{"attempts":0,"failures":0,"phase":"idle"},"compensationEpoch":0,"fallback":false,"#,
            r#""own":{"attempts":0,"failures":0,"phase":"idle"}}],"#,
            r#""threadId":"t","updatedAt":"2023-11-14T22:13:20.010Z","#,
            r#""workflow":{"hash":"HASH","name":"w"}},"version":7}"#
        )
    );
}

#[test]
fn members_stand_in_the_order_of_their_names_at_every_level() {
    fn walk(value: &Value) {
        match value {
            Value::Object(members) => {
                let names: Vec<_> = members.keys().collect();
                assert!(names.is_sorted(), "{names:?}");
                members.values().for_each(walk);
            }
            Value::Array(items) => items.iter().for_each(walk),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let (text, _) = snapshot::encode(&lived().state);
    let value: Value = serde_json::from_str(&text).unwrap();
    walk(&value);
    assert_eq!(value.to_string(), text, "no white space, and no other escapes");
}

#[test]
fn what_users_sent_comes_back_byte_for_byte() {
    let texts = [
        "{\"b\":12345678901234567890123,\"a\":-0,\"a\":1.10,\"n\":\"\\u0000\u{2028}\\/\"}",
        "[1e400,\"\\ud83d\\ude00\",null]",
        "\"\\\\\\\"\"",
    ];
    for text in texts {
        let mut stage = lived();
        let json = Json::parse(text).unwrap();
        stage.state.input = json.clone();
        stage.state.metadata = json.clone();
        stage.state.steps[0].output = Some(json.clone());
        let read = read(&snapshot::encode(&stage.state).0, &stage).unwrap();
        assert_eq!((&read.input, &read.metadata), (&json, &json));
        assert_eq!(read.steps[0].output.as_ref(), Some(&json));
    }
}

#[test]
fn another_byte_is_told_by_the_checksum() {
    let stage = lived();
    let (text, sha256) = snapshot::encode(&stage.state);
    let flipped = text.replacen("refused", "refusee", 1);
    assert_eq!(EncodedSnapshot::open(&flipped, &sha256).unwrap_err(), SnapshotFault::Checksum);
    assert_eq!(EncodedSnapshot::open(&text, "").unwrap_err(), SnapshotFault::Checksum);
}

#[test]
fn another_version_is_told_from_what_cannot_be_read() {
    let stage = lived();
    let (text, _) = snapshot::encode(&stage.state);
    let own = format!("\"version\":{}", snapshot::SNAPSHOT_VERSION);
    for other in [1, snapshot::SNAPSHOT_VERSION + 1] {
        let other_version = text.replacen(&own, &format!("\"version\":{other}"), 1);
        assert_eq!(read(&other_version, &stage).unwrap_err(), SnapshotFault::Version(other));
    }
    let other_members = "{\"version\":8,\"wholly\":\"different\"}";
    assert_eq!(read(other_members, &stage).unwrap_err(), SnapshotFault::Version(8));
    let cut = &text[..text.len() - 9];
    let more = text.replacen(&own, &format!("\"versio\":true,{own}"), 1);
    // A member of one of the model's types, whose events may have members that are not known.
    let deeper = text.replacen("\"recoverable\":true", "\"recover\":1,\"recoverable\":true", 1);
    let fewer = text.replacen("\"recoveries\":2,", "", 1);
    let null = text.replacen("\"recoveries\":2,", "\"output\":null,\"recoveries\":2,", 1);
    let spaced = text.replacen(':', ": ", 1);
    for broken in ["", "{}", cut, &more, &deeper, &fewer, &null, &spaced] {
        let fault = read(broken, &stage).unwrap_err();
        assert!(matches!(fault, SnapshotFault::Unreadable(_)), "{fault:?} for {broken}");
    }
}

#[test]
fn what_is_of_another_thread_or_plan_does_not_fit() {
    let stage = lived();
    let (text, sha256) = snapshot::encode(&stage.state);
    let thaw = |thread: &ThreadId, steps: Value| {
        let plan = plan(&json!({ "name": "w", "steps": steps }));
        let text = text.replace(&stage.state.plan.hash, &plan.hash);
        EncodedSnapshot::open(&text, &digest(&text)).unwrap().restore(thread, plan).unwrap_err()
    };
    let other = ThreadId::parse("other").unwrap();
    let same = json!([http("a", &[]), http("b", &[]), http("c", &["a", "b"])]);
    let renamed = json!([http("a", &[]), http("b", &[]), http("d", &["a", "b"])]);
    let fewer = json!([http("a", &[]), http("b", &[])]);
    for (fault, named) in [
        (thaw(&other, same), "of thread t"),
        (thaw(&thread(), renamed), "step c stands where the plan has d"),
        (thaw(&thread(), fewer), "it has 3 steps, the plan 2"),
    ] {
        assert!(matches!(&fault, SnapshotFault::Misfit(why) if why.contains(named)), "{fault:?}");
    }
    let elsewhere = plan(&json!({ "name": "w", "steps": [http("a", &[])] }));
    let fault =
        EncodedSnapshot::open(&text, &sha256).unwrap().restore(&thread(), elsewhere).unwrap_err();
    assert!(
        matches!(&fault, SnapshotFault::Misfit(why) if why.contains("definition")),
        "{fault:?}"
    );
}

#[test]
fn a_state_that_cannot_be_is_not_brought_back() {
    let mut stage = lived();
    stage.state.steps[1].own.error = None;
    let text = snapshot::encode(&stage.state).0;
    assert_eq!(stage.status("b"), StepStatus::Retrying);
    assert!(matches!(read(&text, &stage), Err(SnapshotFault::Misfit(_))));
}

#[test]
fn the_estimate_is_near_the_size() {
    let mut stage = lived();
    for bytes in [0, 10_000, 1_000_000] {
        stage.state.steps[0].output = Some(Json::string(&"x".repeat(bytes)));
        let (written, guessed) =
            (snapshot::encode(&stage.state).0.len(), snapshot::estimate(&stage.state));
        assert!(guessed > written / 2 && guessed < written * 2, "{guessed} for {written}");
    }
}
