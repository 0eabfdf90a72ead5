//! The points a thread can go on from, newest first, read from the head of its journal backwards:
//! the newest ten of a long thread cost what the newest ten of a short one do.

use sha2::{Digest, Sha256};

use super::core::Core;
use super::handle::{Checkpoint, CheckpointQuery, Page, RuntimeError};
use super::query::persistently;
use super::settings::LOAD_PAGE;
use crate::model::{Event, EventBody, Seq, ThreadId, hex};
use crate::store::StoreError;

/// Events in the first stretch for each checkpoint wanted: a step that ends well is one in two,
/// and the ends of a few retries fit.
const STRETCH: usize = 4;

/// Events that a thread can go on from: something was completed, decided or ended.
pub(super) fn is_checkpoint(body: &EventBody) -> bool {
    match body {
        EventBody::WorkflowStart(_)
        | EventBody::StepComplete(_)
        | EventBody::StepFailed(_)
        | EventBody::StepSkipped(_)
        | EventBody::StepEdited(_)
        | EventBody::CompensationComplete(_)
        | EventBody::SignalReceived(_)
        | EventBody::InterventionOpened(_)
        | EventBody::InterventionResolved(_)
        | EventBody::WorkflowPaused(_)
        | EventBody::WorkflowForked(_)
        | EventBody::WorkflowResumed(_)
        | EventBody::WorkflowRecovered(_)
        | EventBody::WorkflowComplete(_)
        | EventBody::WorkflowFailed(_)
        | EventBody::WorkflowAborted(_) => true,
        EventBody::StepStart(_)
        | EventBody::StepWaiting(_)
        | EventBody::InterventionEscalated(_)
        | EventBody::StepRetry(_)
        | EventBody::StepTimeoutWarning(_)
        | EventBody::StepStale(_)
        | EventBody::CompensationStart(_)
        | EventBody::CompensationFailed(_) => false,
    }
}

/// The checkpoints of a thread, newest first. Records that cannot be read are left out.
pub(super) async fn checkpoints(
    core: &Core,
    thread: &ThreadId,
    query: CheckpointQuery,
) -> Result<Page<Checkpoint>, RuntimeError> {
    let found = persistently(core, || async {
        let mut found = Vec::new();
        let row = core.store().thread(thread).await?.ok_or(RuntimeError::ThreadNotFound)?;
        // Everything in the stretches after this was looked at.
        let mut top =
            query.before.map_or(row.last_seq, |before| row.last_seq.min(before.saturating_sub(1)));
        let mut length = query.limit.saturating_mul(STRETCH).clamp(1, LOAD_PAGE);
        // One more than wanted tells whether there is a next page.
        while top > 0 && found.len() <= query.limit {
            let bottom = top.saturating_sub(Seq::try_from(length).unwrap_or(Seq::MAX));
            let mut stretch = stretch(core, thread, (bottom, top), &query).await?;
            stretch.reverse();
            found.append(&mut stretch);
            top = bottom;
            length = length.saturating_mul(2).min(LOAD_PAGE);
        }
        Ok(found)
    })
    .await?;
    Ok(Page::cut(found, query.limit, |last| last.seq.to_string()))
}

/// The checkpoints among the events after `bottom` and up to `top`, oldest first.
async fn stretch(
    core: &Core,
    thread: &ThreadId,
    (bottom, top): (Seq, Seq),
    query: &CheckpointQuery,
) -> Result<Vec<Checkpoint>, StoreError> {
    let wanted = |operation: &str| {
        query.operation.as_deref().is_none_or(|prefix| operation.starts_with(prefix))
    };
    let mut found = Vec::new();
    let mut after = bottom;
    while after < top {
        // Fewer come back where they are large.
        let limit = usize::try_from(top - after).unwrap_or(LOAD_PAGE);
        let page = core.store().read(thread, after, limit).await?;
        let Some(last) = page.last() else { break };
        after = last.last();
        for text in page.iter().flat_map(|records| &records.events) {
            if !wanted(Event::kind_of(text)) {
                continue;
            }
            let Ok(event) = Event::decode(text) else { continue };
            if is_checkpoint(&event.body) {
                found.push(checkpoint(&event, text));
            }
        }
    }
    Ok(found)
}

/// The checkpoint that an encoded event is, if it is one.
pub(super) fn checkpoint_of(text: &str) -> Option<Checkpoint> {
    let event = Event::decode(text).ok().filter(|event| is_checkpoint(&event.body))?;
    Some(checkpoint(&event, text))
}

fn checkpoint(event: &Event, text: &str) -> Checkpoint {
    let operation = event.body.kind();
    Checkpoint {
        id: format!("{operation}-{}-{}", event.at.millis(), event.seq),
        seq: event.seq,
        operation: operation.to_owned(),
        step_id: event.body.step().cloned(),
        at: event.at,
        checksum: hex(&Sha256::digest(text.as_bytes())),
    }
}
