//! The audit list: who was refused what, and who changed or deleted what.
//!
//! A change is written before its caller is answered. Entries that can come in any number
//! (refusals, reads, stream tokens) are counted for a minute and kept as one entry a minute for each caller,
//! action and route, so that nobody fills the disk by being refused.

use std::collections::hash_map::Entry as Slot;
use std::sync::Arc;
use std::time::Duration;

use super::audit_book::{Alike, Counted};
use super::patience::{listed, patiently};
use super::query::{read_cursor, write_cursor};
use crate::contract::{AuditItem, AuditQuery, Page};
use crate::model::{Json, Namespace, Timestamp, signed_millis};
use crate::runtime::core::Core;
use crate::runtime::types::{AuditEvent, RuntimeError};
use crate::store::{AuditFilter, AuditRow};

/// The interval at which counted entries are written.
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// How long an entry counts events like it.
const COUNTED_FOR: Duration = Duration::from_mins(1);
/// The most entries counted at once: events of further callers and routes are counted together.
const MOST_COUNTED: usize = 1_000;
/// The number of entries from which on callers without a key are counted together: they must not
/// hide the refusals of others.
const MOST_UNNAMED: usize = MOST_COUNTED / 2;
/// Old entries are looked for once in that many writes: retention is counted in days.
const EXPIRE_EVERY: u32 = 60;
/// The number of entries deleted with one statement.
const BATCH: usize = 500;
/// The caller and the object in an entry for events that there was no room to count apart.
const OTHERS: &str = "others";

/// Counts an event of a kind that may come in any number.
pub(in crate::runtime) fn note(core: &Core, event: AuditEvent) {
    let now = core.parts.clock.now();
    let alike = |event: &AuditEvent| {
        (event.namespace.clone(), event.by.clone(), event.action.clone(), event.about.clone())
    };
    core.audit.with(|book| {
        let most = if event.role.is_some() { MOST_COUNTED } else { MOST_UNNAMED };
        let full = book.len() >= most && !book.contains_key(&alike(&event));
        let event = if full {
            let (by, about) = (OTHERS.to_owned(), OTHERS.to_owned());
            AuditEvent { by, about, address: None, detail: None, ..event }
        } else {
            event
        };
        match book.entry(alike(&event)) {
            Slot::Occupied(mut slot) => {
                let counted = slot.get_mut();
                counted.times += 1;
                (counted.last, counted.written) = (now, false);
            }
            Slot::Vacant(slot) => {
                slot.insert(counted(core, event, now));
            }
        }
    });
}

/// Writes a change; if the store does not answer, it is written later.
pub(in crate::runtime) async fn record(core: &Core, event: AuditEvent) {
    let counted = counted(core, event, core.parts.clock.now());
    let row = row(&counted);
    let written =
        patiently(async { Ok(core.store().keep_audit(std::slice::from_ref(&row)).await?) });
    if let Err(error) = written.await {
        core.availability.failed_client(&error);
        tracing::debug!(%error, action = row.action, by = row.by, "an audit entry is written later");
        let alike = (row.namespace, row.by, row.action, counted.id.clone());
        core.audit.with(|book| book.insert(alike, counted));
    }
}

fn counted(core: &Core, event: AuditEvent, now: Timestamp) -> Counted {
    let id = core.parts.entropy.uuid(now).to_string();
    Counted { id, first: now, last: now, times: 1, event, written: false }
}

fn row(counted: &Counted) -> AuditRow {
    let Counted { id, first, last, times, event, .. } = counted;
    let item = AuditItem {
        id: id.clone(),
        at: *first,
        last_at: *last,
        times: *times,
        by: event.by.clone(),
        role: event.role,
        action: event.action.clone(),
        about: event.about.clone(),
        status: event.status,
        detail: event.detail.clone(),
        address: event.address.clone(),
    };
    AuditRow {
        id: id.clone(),
        at: *first,
        namespace: event.namespace.clone(),
        by: event.by.clone(),
        action: event.action.clone(),
        // Plain members of strings and times, so this cannot fail.
        body: Json::of(&item).unwrap_or_else(|_| Json::null()),
    }
}

/// Writes counted entries and deletes old ones until the server stops.
pub(in crate::runtime) async fn run(core: Arc<Core>) {
    let stop = core.draining.clone();
    let mut rounds = 0_u32;
    while stop.run_until_cancelled(tokio::time::sleep(WRITE_EVERY)).await.is_some() {
        write(&core).await;
        if rounds.is_multiple_of(EXPIRE_EVERY) {
            expire(&core).await;
        }
        rounds = rounds.wrapping_add(1);
    }
    write(&core).await;
}

async fn write(core: &Core) {
    let due: Vec<(Alike, Counted)> = core.audit.with(|book| {
        let due = book.iter().filter(|(_, counted)| !counted.written);
        due.map(|(alike, counted)| (alike.clone(), counted.clone())).collect()
    });
    let rows: Vec<AuditRow> = due.iter().map(|(_, counted)| row(counted)).collect();
    let written = if rows.is_empty() {
        Ok(())
    } else {
        patiently(async { Ok(core.store().keep_audit(&rows).await?) }).await
    };
    let now = core.parts.clock.now();
    core.audit.with(|book| {
        for (alike, counted) in due.iter().filter(|_| written.is_ok()) {
            if let Some(found) = book.get_mut(alike)
                && found.times == counted.times
            {
                found.written = true;
            }
        }
        book.retain(|_, counted| !counted.written || now.since(counted.first) < COUNTED_FOR);
    });
    if let Err(error) = written {
        core.availability.failed_client(&error);
        tracing::debug!(%error, "audit entries are written later");
    }
}

async fn expire(core: &Core) {
    let kept = signed_millis(core.parts.settings.audit_retention);
    let now = core.parts.clock.now().millis();
    let before = Timestamp::from_millis(now.saturating_sub(kept));
    loop {
        match core.store().expire_audit(before, BATCH).await {
            Ok(count) if count < BATCH || core.draining.is_cancelled() => break,
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => {
                core.availability.failed("the deletion of old audit entries", &error);
                break;
            }
        }
    }
}

/// Lists entries, newest first.
pub(in crate::runtime) async fn list(
    core: &Core,
    namespace: &Namespace,
    query: AuditQuery,
) -> Result<Page<AuditItem>, RuntimeError> {
    let filter = AuditFilter {
        namespace: namespace.to_string(),
        since: query.since,
        by: query.by,
        action: query.action,
        before: query.cursor.as_deref().map(read_cursor).transpose()?,
    };
    let look = || async { Ok(core.store().audit(&filter, query.limit + 1).await?) };
    let rows = listed(core, namespace, look).await?;
    let page = Page::cut(rows, query.limit, |last| write_cursor(last.at, &last.id));
    let shown = page.items.iter().map(|row| row.body.decode().map_err(|_| RuntimeError::Corrupt));
    Ok(Page { items: shown.collect::<Result<_, _>>()?, next_cursor: page.next_cursor })
}
