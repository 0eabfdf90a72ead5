//! Gathers everything that is known of one thread into one bundle, for `GET …/diagnostics`.
//!
//! It is requested when something is wrong, so a part that cannot be read is named in the bundle
//! instead of failing all of it. No part may be a secret: the journal holds none, and of the
//! settings only limits are shown.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::checkpoint::checkpoint_of;
use super::monitor::stuck;
use super::patience::{patiently, persistently, shown};
use super::query::status;
use super::{health, storage};
use crate::contract::{
    Checkpoint, DiagnosedReplica, DiagnosedWorkflow, Diagnostics, EffectiveLimits, PastFailure,
    ThreadFacts, WorkflowName,
};
use crate::model::{EventType, Failure, Json, Namespace, Seq, ThreadId, Timestamp, millis};
use crate::runtime::core::Core;
use crate::runtime::feed::heads::raw_events;
use crate::runtime::settings::LOAD_PAGE;
use crate::runtime::types::{RawEvent, RuntimeError};
use crate::store::{StoreError, ThreadRow};

/// The number of newest events shown: questions are about the latest ones.
const MAX_EVENTS: usize = 200;
/// The size of the largest event shown whole, in bytes: with [`MAX_EVENTS`] it bounds the bundle.
const MAX_EVENT_BYTES: usize = 16 << 10;
/// The number of newest checkpoints shown, as in their list.
const MAX_CHECKPOINTS: usize = 10;
/// The number of newest failures shown: attempts of one step mostly fail for the same reason.
const MAX_FAILURES: usize = 20;

/// Gathers the bundle of one thread.
pub(in crate::runtime) async fn diagnostics(
    core: &Core,
    thread: &ThreadId,
) -> Result<Diagnostics, RuntimeError> {
    let namespace = thread.namespace();
    let look = || async { Ok(core.shown.store().thread(thread).await?) };
    let row = shown(core, &namespace, look).await?.ok_or(RuntimeError::ThreadNotFound)?;
    let now = core.parts.clock.now();
    let mut problems = Vec::new();
    let (document, facts, definition, (journal, read), replica) = tokio::join!(
        status(core, thread, None),
        facts(core, &row, now),
        persistently(core, || async { Ok(core.shown.store().definition(&row.definition).await?) }),
        journal(core, thread),
        replica(core, &namespace),
    );
    let document = note(document, "status", &mut problems);
    let definition = note(definition, "definition", &mut problems);
    if definition == Some(None) {
        problems.push("definition: it is not in the store".to_owned());
    }
    note(read, "journal", &mut problems);
    Ok(Diagnostics {
        thread_id: thread.clone(),
        generated_at: now,
        status: document.map(|(document, _held)| document.without_outputs()),
        thread: facts?,
        workflow: DiagnosedWorkflow {
            name: WorkflowName { name: row.workflow, version: row.workflow_version },
            hash: row.definition,
            definition: definition.flatten().and_then(|text| Json::trusted(text).ok()),
        },
        earlier_events: journal.earlier,
        events: journal.events.into(),
        checkpoints: journal.checkpoints.into_iter().rev().collect(),
        failures: journal.failures.into_iter().rev().collect(),
        replica,
        problems,
    })
}

/// Returns the part if it could be read, and notes the problem otherwise.
fn note<T>(result: Result<T, RuntimeError>, what: &str, problems: &mut Vec<String>) -> Option<T> {
    result.map_err(|error| problems.push(format!("{what}: {error}"))).ok()
}

async fn facts(core: &Core, row: &ThreadRow, now: Timestamp) -> Result<ThreadFacts, RuntimeError> {
    let look = || async { Ok(core.shown.store().owner(&row.thread_id).await?) };
    let owner = shown(core, &row.thread_id.namespace(), look).await?;
    Ok(ThreadFacts {
        owner_incarnation: row.owner,
        owner,
        driven_here: core.driven.has(&row.thread_id),
        epoch: row.epoch,
        claims: row.claims,
        last_seq: row.last_seq,
        wake_at: row.wake_at,
        idle_ms: millis(now.since(row.updated_at)),
        stuck: stuck(core, row, now).await?,
    })
}

async fn replica(core: &Core, namespace: &Namespace) -> DiagnosedReplica {
    let (health, store) = tokio::join!(health::report(core, namespace), storage::health(core));
    let settings = &core.parts.settings;
    DiagnosedReplica {
        name: settings.replica.clone(),
        health,
        store,
        limits: EffectiveLimits {
            lease_ms: millis(settings.lease),
            max_running: settings.max_running,
            max_queued: settings.max_queued,
            stale_after_ms: millis(settings.stale_after),
            retention_ms: millis(settings.retention),
            shutdown_grace_ms: millis(settings.shutdown_grace),
            max_event_bytes: settings.max_event,
        },
    }
}

/// The parts of a journal that are shown: the newest of each kind, oldest first.
#[derive(Debug, Default)]
struct Journal {
    events: VecDeque<Json>,
    earlier: u64,
    checkpoints: VecDeque<Checkpoint>,
    failures: VecDeque<PastFailure>,
}

/// Reads a journal up to the first damaged record, which it approaches with ever fewer events at a
/// time.
async fn journal(core: &Core, thread: &ThreadId) -> (Journal, Result<(), RuntimeError>) {
    let mut journal = Journal::default();
    let read = patiently(async {
        let _place = core.shown.place(&thread.namespace()).await?;
        let (mut after, mut limit) = (0, LOAD_PAGE);
        loop {
            let page = match core.shown.store().read(thread, after, limit).await {
                Err(StoreError::Corrupt { .. }) if limit > 1 => {
                    limit = (limit / 10).max(1);
                    continue;
                }
                read => read?,
            };
            let Some(last) = page.last() else { return Ok(()) };
            after = last.last();
            for event in page.iter().flat_map(raw_events) {
                journal.take(&event);
            }
        }
    });
    let read = read.await;
    (journal, read)
}

impl Journal {
    fn take(&mut self, event: &RawEvent) {
        let text = event.json.as_str();
        if let Some(checkpoint) = checkpoint_of(text) {
            keep(&mut self.checkpoints, checkpoint, MAX_CHECKPOINTS);
        }
        if EventType::find(event.kind).is_some_and(|kind| kind.failure)
            && let Some(failure) = failure_of(event)
        {
            keep(&mut self.failures, failure, MAX_FAILURES);
        }
        let shown = if text.len() > MAX_EVENT_BYTES { cut(text) } else { Some(event.json.clone()) };
        if keep(&mut self.events, shown.unwrap_or_else(Json::null), MAX_EVENTS) {
            self.earlier += 1;
        }
    }
}

/// Adds the newest item; returns whether the oldest had to make room.
fn keep<T>(queue: &mut VecDeque<T>, newest: T, most: usize) -> bool {
    queue.push_back(newest);
    queue.len() > most && queue.pop_front().is_some()
}

/// An event without its data.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cut<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    thread_id: &'a str,
    seq: Seq,
    step_id: Option<&'a str>,
    attempt: Option<u32>,
    at: Timestamp,
    #[serde(borrow, skip_serializing)]
    data: Option<&'a RawValue>,
    #[serde(skip_deserializing)]
    data_bytes: usize,
}

fn cut(text: &str) -> Option<Json> {
    let mut cut: Cut<'_> = serde_json::from_str(text).ok()?;
    cut.data_bytes = cut.data.map_or(0, |data| data.get().len());
    Json::of(&cut).ok()
}

fn failure_of(event: &RawEvent) -> Option<PastFailure> {
    #[derive(Deserialize)]
    struct Frame {
        at: Timestamp,
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        error: Failure,
    }
    let Frame { at, data } = event.json.decode().ok()?;
    Some(PastFailure { seq: event.seq, at, operation: event.kind.to_owned(), error: data.error })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: Seq, kind: &'static str, data: &str) -> RawEvent {
        let text = format!(
            r#"{{"type":"{kind}","threadId":"t","seq":{seq},"stepId":"s","attempt":2,"at":"2026-01-01T00:00:00.000Z","data":{data}}}"#
        );
        RawEvent { seq, kind, json: Json::parse(&text).unwrap() }
    }

    const FAILURE: &str = r#"{"error":{"code":"c","category":"step","message":"m","recoverable":true,"stepId":"s","attempt":2},"retryAt":"2026-01-01T00:00:01.000Z","delayMs":1000}"#;

    #[test]
    fn the_newest_events_checkpoints_and_failures_are_kept() {
        let mut journal = Journal::default();
        for seq in 1..=500 {
            match seq % 2 {
                0 => journal.take(&event(seq, "step_retry", FAILURE)),
                _ => journal.take(&event(seq, "step_skipped", r#"{"reason":"condition"}"#)),
            }
        }
        assert_eq!((journal.events.len(), journal.earlier), (200, 300));
        assert!(journal.events[0].as_str().contains("\"seq\":301,"));
        assert_eq!(journal.checkpoints.len(), 10);
        assert_eq!(journal.checkpoints[9].seq, 499);
        assert_eq!(journal.failures.len(), 20);
        let last = &journal.failures[19];
        assert_eq!((last.seq, last.operation.as_str()), (500, "step_retry"));
        assert_eq!((last.error.code.as_str(), last.error.attempt), ("c", Some(2)));
    }

    #[test]
    fn a_large_event_is_shown_without_its_data() {
        let data = format!("{{\"output\":\"{}\"}}", "x".repeat(MAX_EVENT_BYTES));
        let mut journal = Journal::default();
        journal.take(&event(7, "step_complete", &data));
        journal.take(&event(8, "of_a_newer_version", "{\"small\":1}"));
        let expected = format!(
            r#"{{"type":"step_complete","threadId":"t","seq":7,"stepId":"s","attempt":2,"at":"2026-01-01T00:00:00.000Z","dataBytes":{}}}"#,
            data.len()
        );
        assert_eq!(journal.events[0].as_str(), expected);
        assert!(journal.events[1].as_str().ends_with("\"data\":{\"small\":1}}"));
    }
}
