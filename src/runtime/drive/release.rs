//! Releases threads that this replica cannot drive now, so that none is stuck here.
//!
//! Adoptions and drivers call it. It never touches a journal, and writes nothing but the time from
//! which the thread may be claimed again.

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

/// How long a thread is set aside after the store refused its append, its driver panicked, or
/// nothing would move it: the cause will not pass at once, and the thread must not keep this
/// replica busy.
pub(in crate::runtime) const MOMENT: Duration = Duration::from_secs(5);

/// Does the work of a thread that this replica owns; if that panics, releases the thread so that it
/// is claimed again.
pub(in crate::runtime) async fn supervise(
    core: &Core,
    (thread, activity): (ThreadId, fn(ThreadId) -> Activity),
    work: impl Future<Output = ()>,
) {
    let work = core.roster.watch(activity(thread.clone()), work);
    if AssertUnwindSafe(work).catch_unwind().await.is_ok() {
        return;
    }
    tracing::error!(%thread, "the thread's task panicked; it is claimed again");
    let authority = core.authority();
    match core.store().thread(&thread).await {
        Ok(Some(row)) if row.owner == authority.incarnation => {
            release_for_a_moment(core, &authority, (&thread, row.epoch)).await;
        }
        Ok(_) => {}
        Err(error) => {
            core.doubt.store(true, Ordering::Release);
            core.availability.failed("the release of a thread", &error);
        }
    }
}

/// Releases a thread that its driver cannot go on with: otherwise it would be stuck for as long as
/// this replica lives.
pub(in crate::runtime) async fn release_for_a_moment(
    core: &Core,
    authority: &Arc<Authority>,
    (thread, epoch): (&ThreadId, Epoch),
) {
    let later = core.parts.clock.now().plus(MOMENT);
    release(core, authority, (thread, epoch), later).await;
}

/// Releases a thread as it is in the store, without touching its journal. Its messages do not wake
/// it before `until`, because the replica that released it cannot take them.
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
            return core.availability.failed("the release of a thread", &error);
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
        sides: Vec::new(),
    };
    let workflow = Arc::from(row.workflow.as_str());
    let write = Write::Append(Box::new(append));
    let committed = core.writer.commit(write, workflow, Arc::clone(authority)).await;
    if matches!(committed, Committed::Refused(_) | Committed::Answered(WriteOutcome::Refused)) {
        // The thread may still be ours: it is looked at again, but not at once.
        tokio::select! {
            biased;
            () = authority.lost() => {}
            () = core.stopped.cancelled() => {}
            () = tokio::time::sleep(MOMENT) => core.doubt.store(true, Ordering::Release),
        }
    }
}
