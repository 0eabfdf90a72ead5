//! Gives threads back that this replica cannot drive now, so that none stands still.
//!
//! Called by adoptions and drivers. It never touches a journal: only when the thread may be claimed
//! again is written.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;

use crate::model::{Epoch, ThreadId, Timestamp};
use crate::runtime::core::Core;
use crate::runtime::lease::authority::Authority;
use crate::runtime::lease::roster::Activity;
use crate::runtime::write::writer::Committed;
use crate::store::{Append, Disposition, Write, WriteOutcome};

/// How long a thread is left alone whose append the store refused, whose driver panicked, or which
/// nothing would move: what is wrong with it will not pass at once, and it must not keep us busy.
const MOMENT: Duration = Duration::from_secs(5);

/// Runs a driver; if it panics, its thread is claimed afresh instead of standing still.
pub(in crate::runtime) async fn supervise(
    core: &Core,
    thread: ThreadId,
    driver: impl Future<Output = ()>,
) {
    let driver = core.roster.watch(Activity::Drive(thread.clone()), driver);
    if AssertUnwindSafe(driver).catch_unwind().await.is_ok() {
        return;
    }
    tracing::error!(%thread, "the thread's driver panicked; it is claimed again");
    let authority = core.authority();
    match core.store().thread(&thread).await {
        Ok(Some(row)) if row.owner == authority.incarnation => {
            release_for_a_moment(core, &authority, (&thread, row.epoch)).await;
        }
        Ok(_) => {}
        Err(error) => {
            core.doubt.store(true, Ordering::Release);
            tracing::error!(%thread, %error, "cannot release the thread");
        }
    }
}

/// Gives a thread back that its driver cannot go on with: unless it is released it would stand still
/// for as long as this replica lives.
pub(in crate::runtime) async fn release_for_a_moment(
    core: &Core,
    authority: &Arc<Authority>,
    (thread, epoch): (&ThreadId, Epoch),
) {
    let later = core.parts.clock.now().plus(MOMENT);
    release(core, authority, (thread, epoch), later).await;
}

/// Releases a thread as it stands in the store, without touching its journal. Its messages stay where
/// they are until then: whoever gave it back cannot take them.
pub(in crate::runtime) async fn release(
    core: &Core,
    authority: &Arc<Authority>,
    (thread, epoch): (&ThreadId, Epoch),
    until: Timestamp,
) {
    let row = match core.store().thread(thread).await {
        Ok(Some(row)) => row,
        Ok(None) => return,
        Err(error) => {
            core.doubt.store(true, Ordering::Release);
            return tracing::error!(%thread, %error, "cannot release the thread");
        }
    };
    let append = Append {
        thread_id: thread.clone(),
        epoch,
        prev: row.last_seq,
        records: None,
        summary: row.summary,
        progress: false,
        disposition: Disposition::SetAside { until },
        taken: Vec::new(),
        interventions: Vec::new(),
        notices: Vec::new(),
    };
    let workflow = Arc::from(row.workflow.as_str());
    let write = Write::Append(Box::new(append));
    let committed = core.writer.commit(write, workflow, Arc::clone(authority)).await;
    if matches!(committed, Committed::Refused(_) | Committed::Answered(WriteOutcome::Refused)) {
        // The thread may still be ours: it is looked at again, though not at once.
        tokio::select! {
            biased;
            () = authority.lost() => {}
            () = core.stopped.cancelled() => {}
            () = tokio::time::sleep(MOMENT) => core.doubt.store(true, Ordering::Release),
        }
    }
}
