//! The points a thread can go on from, newest first, read from the head of its journal backwards:
//! the newest ten of a long thread cost what the newest ten of a short one do.

use super::checkpoint::checkpoint;
use super::query::persistently;
use crate::model::{Event, Seq, ThreadId};
use crate::runtime::core::Core;
use crate::runtime::settings::LOAD_PAGE;
use crate::runtime::types::{Checkpoint, CheckpointQuery, Page, RuntimeError};
use crate::store::StoreError;

/// Events in the first stretch for each checkpoint wanted: a step that ends well is one in two,
/// and the ends of a few retries fit.
const STRETCH: usize = 4;

/// The checkpoints of a thread, newest first. Records that cannot be read are left out.
pub(in crate::runtime) async fn checkpoints(
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
            if event.body.event_type().checkpoint {
                found.push(checkpoint(&event, text));
            }
        }
    }
    Ok(found)
}
