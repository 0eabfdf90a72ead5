//! Pauses a thread without loading it: loading it is what ends its process.
//!
//! The events follow from the thread's row alone, so that nothing of it is read or evaluated.

use std::sync::Arc;
use std::time::Duration;

use crate::machine;
use crate::model::{Event, EventBody, ThreadStatus};
use crate::runtime::calls::interventions;
use crate::runtime::core::Core;
use crate::runtime::drive::commit::records;
use crate::runtime::drive::release::release;
use crate::runtime::lease::authority::Authority;
use crate::runtime::write::writer::Committed;
use crate::store::{Append, Claimed, Disposition, Side, Summary, Write, WriteOutcome};

/// The time until such a thread is looked at again, without being loaded: a message wakes it before.
const REST: Duration = Duration::from_hours(1);

/// Pauses the thread and asks a person; one that is paused already rests until its next message.
pub(super) async fn pause(
    core: &Core,
    authority: &Arc<Authority>,
    (claimed, reason): (&Claimed, String),
) {
    let thread = &claimed.thread_id;
    let now = core.parts.clock.now();
    let later = now.plus(REST);
    let row = match core.store().thread(thread).await {
        Ok(Some(row)) if row.owner == authority.incarnation && row.epoch == claimed.epoch => row,
        Ok(_) => return,
        Err(error) => {
            core.doubt.store(true, std::sync::atomic::Ordering::Release);
            return core.availability.failed("the pause of a thread", &error);
        }
    };
    if row.summary.status == ThreadStatus::Paused || row.summary.status.is_terminal() {
        return release(core, authority, (thread, claimed.epoch), later).await;
    }
    tracing::error!(%thread, reason, "paused without being loaded, a person is asked");
    let (paused, opened) = machine::pause_unread(thread, row.last_seq, reason);
    let asked = interventions::opened((thread, &row.workflow), &opened, now);
    let event = |seq, body| Event { seq, at: now, body };
    let events = [
        event(row.last_seq + 1, EventBody::WorkflowPaused(paused)),
        event(row.last_seq + 2, EventBody::InterventionOpened(opened)),
    ];
    let workflow: Arc<str> = Arc::from(row.workflow.as_str());
    let mut sides = vec![Side::Index(asked)];
    sides.extend(core.notices.wanted((thread, &workflow), &events));
    let disposition = if claimed.mail > 0 {
        // Its messages can only be taken by whoever loads it.
        Disposition::SetAside { until: later }
    } else {
        Disposition::Release { wake_at: None }
    };
    let append = Append {
        thread_id: thread.clone(),
        epoch: claimed.epoch,
        prev: row.last_seq,
        records: records(thread, &events),
        summary: Summary { status: ThreadStatus::Paused, ..row.summary },
        progress: false,
        disposition,
        sides,
    };
    let write = Write::Append(Box::new(append));
    let committed = core.writer.commit(write, workflow, Arc::clone(authority)).await;
    match committed {
        Committed::Answered(WriteOutcome::Written { .. }) => core.notices.written(),
        Committed::Refused(_) | Committed::Answered(WriteOutcome::Refused) => {
            release(core, authority, (thread, claimed.epoch), later).await;
        }
        Committed::Answered(_) | Committed::Lost | Committed::DefinitionMissing(_) => {}
    }
}
