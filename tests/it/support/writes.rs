//! Writes with everything filled in that a test does not care about.

use std::time::Duration;

use rethread::model::{Epoch, Json, Seq, ThreadId, ThreadStatus, Timestamp};
use rethread::store::{
    Append, Disposition, IdempotencyKey, InterventionRow, Records, Side, Start, Summary, Write,
};

/// When the events of these writes were decided.
pub(crate) const AT: Timestamp = Timestamp::from_millis(1_767_225_601_000);
/// A time that is long past on every clock.
pub(crate) const PAST: Timestamp = Timestamp::from_millis(1_000);
/// A time that no clock reaches here: the year 2200.
pub(crate) const FUTURE: Timestamp = Timestamp::from_millis(7_258_118_400_000);

/// Released, due at once.
pub(crate) const DUE: Disposition = Disposition::Release { wake_at: Some(PAST) };
/// Released, asleep until a message comes.
pub(crate) const ASLEEP: Disposition = Disposition::Release { wake_at: None };

/// A thread's id as it is stored: `t`, or `team/t` in the namespace `team`.
#[track_caller]
pub(crate) fn id(key: &str) -> ThreadId {
    ThreadId::from_key(key).unwrap()
}

/// Derived state.
pub(crate) fn summary(status: ThreadStatus) -> Summary {
    Summary {
        status,
        completed: 1,
        total: 3,
        current_steps: Vec::new(),
        stale_steps: Vec::new(),
        recoveries: 0,
        error_code: None,
        completed_at: status.is_terminal().then_some(AT),
        forked_from: None,
    }
}

/// Events `first..=last`, each its number in an object.
pub(crate) fn records(first: Seq, last: Seq) -> Records {
    let events = (first..=last).map(|seq| format!("{{\"seq\":{seq}}}")).collect();
    Records { first, events, at: AT }
}

/// A thread with one event.
pub(crate) fn start(thread: &str, disposition: Disposition) -> Start {
    Start {
        thread_id: id(thread),
        workflow: "w".to_owned(),
        workflow_version: None,
        definition: "hash".to_owned(),
        definition_text: Some("{\"name\":\"w\"}".to_owned()),
        request_hash: format!("request-{thread}"),
        metadata: Json::trusted("{\"a\":1}".to_owned()).unwrap(),
        labels: vec![("a".to_owned(), "1".to_owned())],
        idempotency: None,
        records: records(1, 1),
        more: Vec::new(),
        summary: summary(ThreadStatus::Queued),
        disposition,
        sides: Vec::new(),
    }
}

/// The same with an idempotency key.
pub(crate) fn keyed(thread: &str, key: &str) -> Start {
    let key = IdempotencyKey { key: key.to_owned(), request_hash: format!("hash-{thread}") };
    Start { idempotency: Some(key), ..start(thread, DUE) }
}

/// One more event, and the thread is kept.
pub(crate) fn append(thread: &str, epoch: Epoch, prev: Seq) -> Append {
    Append {
        thread_id: id(thread),
        epoch,
        prev,
        records: Some(records(prev + 1, prev + 1)),
        summary: summary(ThreadStatus::Running),
        progress: false,
        disposition: Disposition::Keep,
        sides: Vec::new(),
    }
}

/// No event; the thread is released.
pub(crate) fn release(thread: &str, epoch: Epoch, prev: Seq, disposition: Disposition) -> Append {
    Append { records: None, disposition, ..append(thread, epoch, prev) }
}

/// One more event that ends the thread.
pub(crate) fn end(thread: &str, epoch: Epoch, prev: Seq, status: ThreadStatus) -> Append {
    Append { summary: summary(status), disposition: ASLEEP, ..append(thread, epoch, prev) }
}

/// An open intervention.
pub(crate) fn intervention(thread: &str, name: &str, millis: u64) -> InterventionRow {
    InterventionRow {
        id: name.to_owned(),
        thread_id: id(thread),
        opened_at: AT.plus(Duration::from_millis(millis)),
        resolved_at: None,
        body: Json::trusted(format!("{{\"about\":\"{thread}\"}}")).unwrap(),
    }
}

/// Takes messages, each with its answer.
pub(crate) fn takes(answers: impl IntoIterator<Item = (String, Json)>) -> Vec<Side> {
    answers.into_iter().map(|(key, answer)| Side::Take { key, answer }).collect()
}

/// Indexes interventions.
pub(crate) fn indexes(rows: impl IntoIterator<Item = InterventionRow>) -> Vec<Side> {
    rows.into_iter().map(Side::Index).collect()
}

/// Tells subscriptions.
pub(crate) fn tells(names: &[&str]) -> Vec<Side> {
    names.iter().map(|name| Side::Notify { subscription: (*name).to_owned() }).collect()
}

/// A batch of starts.
pub(crate) fn starts(starts: impl IntoIterator<Item = Start>) -> Vec<Write> {
    starts.into_iter().map(|start| Write::Start(Box::new(start))).collect()
}

/// A batch of appends.
pub(crate) fn appends(appends: impl IntoIterator<Item = Append>) -> Vec<Write> {
    appends.into_iter().map(|append| Write::Append(Box::new(append))).collect()
}
