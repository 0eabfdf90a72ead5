//! Reads of threads: status, events, lists.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::patience::{listed, patiently, persistently, shown};
use crate::contract::{Page, Progress, StatusDocument, ThreadItem, ThreadQuery, WorkflowName};
use crate::model::{Event, EventBody, Fault, Namespace, Seq, ThreadId, Timestamp};
use crate::observe::Reservation;
use crate::runtime::core::Core;
use crate::runtime::drive::load::load_to_show;
use crate::runtime::feed::heads::raw_events;
use crate::runtime::types::{EventPage, RuntimeError};
use crate::store::{FORK_LABEL, StoreError, ThreadFilter, ThreadRow};

/// Returns the status document of a thread, and the memory that it was counted with.
pub(in crate::runtime) async fn status(
    core: &Core,
    thread: &ThreadId,
    at: Option<Seq>,
) -> Result<(StatusDocument, Reservation), RuntimeError> {
    persistently(core, || async {
        let loaded = load_to_show(core, thread, at).await?;
        let state = &loaded.state;
        if at.is_some_and(|at| at > state.last_seq) {
            return Err(RuntimeError::SeqOutOfRange { last_seq: state.last_seq });
        }
        if at.is_some() {
            // The journal does not say who drove the thread then.
            return Ok((state.document(None), loaded.held.into_reservation()));
        }
        let owner = (!state.status.is_terminal() && core.driven.has(thread))
            .then(|| core.parts.settings.replica.clone());
        let owner = match owner {
            None if !state.status.is_terminal() => {
                let _place = core.shown.place(&thread.namespace()).await?;
                core.shown.store().owner(thread).await?
            }
            owner => owner,
        };
        Ok((state.document(owner), loaded.held.into_reservation()))
    })
    .await
}

/// Waits until the thread has ended; returns `false` if `limit` passes first.
pub(in crate::runtime) async fn wait_for_end(
    core: &Core,
    thread: &ThreadId,
    limit: Duration,
) -> Result<bool, RuntimeError> {
    let mut follow = core.follow(thread);
    let mut seen = 0;
    let mut told_by_driver = core.driven.has(thread);
    let wait = async {
        loop {
            // The driver here reports its next commit. If it has made its last one a moment ago,
            // the poll of followed heads reports that, and then the row is read after all.
            if std::mem::take(&mut told_by_driver) {
                let head = follow.wait(|head| head.seq > seen && head.ended != Some(false)).await;
                if head.ended == Some(true) {
                    return Ok(true);
                }
            }
            let look = || async { Ok(core.shown.store().thread(thread).await?) };
            let row = shown(core, &thread.namespace(), look).await?;
            let row = row.ok_or(RuntimeError::ThreadNotFound)?;
            if row.summary.status.is_terminal() {
                return Ok(true);
            }
            seen = seen.max(row.last_seq);
            // For a thread driven elsewhere only the number is known: its row tells the rest.
            let head = follow.wait(|head| head.seq > seen && head.ended != Some(false)).await;
            if head.ended == Some(true) {
                return Ok(true);
            }
            seen = head.seq;
        }
    };
    tokio::select! {
        biased;
        ended = wait => ended,
        () = tokio::time::sleep(limit) => Ok(false),
        // A waiting caller must not delay the shutdown.
        () = core.draining.cancelled() => Ok(false),
    }
}

/// Waits until a thread has an event of that number, has ended without it, or `limit` has passed.
pub(in crate::runtime) async fn wait_for_event(
    core: &Core,
    thread: &ThreadId,
    seq: Seq,
    limit: Duration,
) -> Result<(), RuntimeError> {
    let follow = core.follow(thread);
    let wait = async {
        loop {
            let look = || async { Ok(core.shown.store().thread(thread).await?) };
            let row = shown(core, &thread.namespace(), look).await?;
            let row = row.ok_or(RuntimeError::ThreadNotFound)?;
            if row.last_seq >= seq || row.summary.status.is_terminal() {
                return Ok(());
            }
            follow.beyond(row.last_seq).await;
        }
    };
    tokio::select! {
        biased;
        there = wait => there,
        () = tokio::time::sleep(limit) => Ok(()),
        // A waiting caller must not delay the shutdown.
        () = core.draining.cancelled() => Ok(()),
    }
}

/// Reads a stretch of a thread's journal.
pub(in crate::runtime) async fn events(
    core: &Core,
    thread: &ThreadId,
    after: Seq,
    limit: usize,
) -> Result<EventPage, RuntimeError> {
    shown(core, &thread.namespace(), || async {
        loop {
            let page = core.shown.store().read(thread, after, limit).await;
            let page = page.inspect_err(|error| {
                if matches!(error, StoreError::Corrupt { .. }) {
                    core.parts.metrics.integrity.violations.inc();
                }
            })?;
            let events: Vec<_> = page.iter().flat_map(raw_events).collect();
            // If a driver here committed the last event, its head tells whether the thread ended
            // with it.
            if let Some(last) = events.last()
                && let Some(head) = core.feed.head(thread)
                && let (true, Some(ended)) = (head.seq == last.seq, head.ended)
            {
                return Ok(EventPage { head: head.seq, ended, events });
            }
            let row =
                core.shown.store().thread(thread).await?.ok_or(RuntimeError::ThreadNotFound)?;
            // Events were written after the read: a reader must not take "none" for "none until the
            // end".
            if events.is_empty() && row.last_seq > after && limit > 0 {
                continue;
            }
            let ended = row.summary.status.is_terminal();
            return Ok(EventPage { events, head: row.last_seq, ended });
        }
    })
    .await
}

/// Returns one thread.
pub(in crate::runtime) async fn thread(
    core: &Core,
    thread: &ThreadId,
) -> Result<ThreadItem, RuntimeError> {
    let look = || async { Ok(core.shown.store().thread(thread).await?) };
    shown(core, &thread.namespace(), look).await?.map(item).ok_or(RuntimeError::ThreadNotFound)
}

/// Returns who started a thread, or forked it if it is a fork: its first event says so for ever.
pub(in crate::runtime) async fn started_by(
    core: &Core,
    thread: &ThreadId,
) -> Result<String, RuntimeError> {
    shown(core, &thread.namespace(), || async {
        let records = core.shown.store().read(thread, 0, 1).await?;
        let first = records.iter().flat_map(raw_events).next();
        let first = first.ok_or(RuntimeError::ThreadNotFound)?;
        match Event::decode(first.json.as_str()).map(|event| event.body) {
            Ok(EventBody::WorkflowStart(start)) => {
                Ok(start.forked_from.map_or(start.by, |from| from.by))
            }
            Ok(_) | Err(_) => Err(RuntimeError::Corrupt),
        }
    })
    .await
}

/// Lists threads, newest first.
pub(in crate::runtime) async fn threads(
    core: &Core,
    namespace: &Namespace,
    query: ThreadQuery,
) -> Result<Page<ThreadItem>, RuntimeError> {
    let before = query.cursor.as_deref().map(|cursor| {
        let (created_at, id) = read_cursor(cursor)?;
        let id = ThreadId::within(namespace, &id);
        id.map(|id| (created_at, id)).map_err(|_| bad_cursor())
    });
    let before = before.transpose()?;
    let mut metadata = query.metadata;
    let origin = query.forked_from.map(|origin| origin.text().to_owned());
    metadata.extend(origin.map(|origin| (FORK_LABEL.to_owned(), origin)));
    let filter = ThreadFilter {
        namespace: namespace.clone(),
        status: query.status,
        workflow: query.workflow,
        metadata,
        before,
    };
    let look = || async { Ok(core.store().threads(&filter, query.limit + 1).await?) };
    let rows = listed(core, namespace, look).await?;
    let page =
        Page::cut(rows, query.limit, |last| write_cursor(last.created_at, last.thread_id.text()));
    Ok(page.map(item))
}

/// Encodes the cursor of a list that is ordered by time and id, from those of the page's last item.
pub(in crate::runtime) fn write_cursor(at: Timestamp, id: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}:{id}", at.millis()))
}

/// Decodes the time and the id that [`write_cursor`] was given.
pub(in crate::runtime) fn read_cursor(cursor: &str) -> Result<(Timestamp, String), RuntimeError> {
    let read = || {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
        let (millis, id) = text.split_once(':')?;
        Some((Timestamp::from_millis(millis.parse().ok()?), id.to_owned()))
    };
    read().ok_or_else(bad_cursor)
}

/// Returns the error for a cursor that no list of ours gave.
fn bad_cursor() -> RuntimeError {
    RuntimeError::Invalid(vec![Fault {
        pointer: "/cursor".to_owned(),
        detail: "not a cursor of this list".to_owned(),
    }])
}

/// Converts a row for lists.
pub(in crate::runtime) fn item(row: ThreadRow) -> ThreadItem {
    ThreadItem {
        thread_id: row.thread_id,
        workflow: WorkflowName { name: row.workflow, version: row.workflow_version },
        status: row.summary.status,
        current_steps: row.summary.current_steps,
        progress: Progress { completed: row.summary.completed, total: row.summary.total },
        metadata: row.metadata,
        recoveries: row.summary.recoveries,
        error_code: row.summary.error_code,
        last_seq: row.last_seq,
        created_at: row.created_at,
        updated_at: row.updated_at,
        completed_at: row.summary.completed_at,
        forked_from: row.summary.forked_from,
    }
}

/// The name under which the store keeps the key of stream tokens and cookies.
const TOKEN_KEY: &str = "stream_token_key";

/// Returns the key that signs stream tokens and cookies.
pub(in crate::runtime) async fn token_key(core: &Core) -> Result<[u8; 32], RuntimeError> {
    let random = || {
        let now = core.parts.clock.now();
        let mut digest = Sha256::new();
        // Four version-7 ids hold 296 random bits: more than the key has.
        for _ in 0..4 {
            digest.update(core.parts.entropy.uuid(now).as_bytes());
        }
        digest.finalize().into()
    };
    let offer = |candidate| {
        persistently(core, move || async move {
            Ok(core.store().shared_secret(TOKEN_KEY, candidate).await?)
        })
    };
    patiently(core.token_key.of(core.parts.clock.monotonic(), random, offer)).await
}
