//! The checkpoints of a thread, newest first, read from the head of its journal backwards: the
//! newest ten cost the same in a long thread as in a short one.

use super::checkpoint::checkpoint;
use super::patience::shown;
use crate::contract::{Checkpoint, CheckpointQuery, Page};
use crate::model::{Event, Seq, ThreadId};
use crate::runtime::core::Core;
use crate::runtime::settings::LOAD_PAGE;
use crate::runtime::types::RuntimeError;
use crate::store::StoreError;

/// The number of events read first for each checkpoint wanted: if steps end well one event in two
/// is a checkpoint, and this leaves room for the events of a few retries.
const STRETCH: usize = 4;

/// Lists the checkpoints of a thread, newest first. Unreadable records are left out.
pub(in crate::runtime) async fn checkpoints(
    core: &Core,
    thread: &ThreadId,
    query: CheckpointQuery,
) -> Result<Page<Checkpoint>, RuntimeError> {
    let found = shown(core, &thread.namespace(), || async {
        let mut found = Vec::new();
        let row = core.shown.store().thread(thread).await?.ok_or(RuntimeError::ThreadNotFound)?;
        // All events after this one have been looked at.
        let mut top =
            query.cursor.map_or(row.last_seq, |before| row.last_seq.min(before.saturating_sub(1)));
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

/// Returns the checkpoints among the events after `bottom` and up to `top`, oldest first.
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
        // The store returns fewer events where they are large.
        let limit = usize::try_from(top - after).unwrap_or(LOAD_PAGE);
        let page = core.shown.store().read(thread, after, limit).await?;
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
