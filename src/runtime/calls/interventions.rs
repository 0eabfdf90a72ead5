//! Interventions: the index that is written beside the journal, and its lists.
//!
//! The index is a view of the journal: each row is made from the folded state, by the append that
//! changes it (`append`), and by `verify` to compare. Nothing is decided here or from the index.

use std::collections::BTreeSet;

use super::patience::listed;
use super::query::{read_cursor, write_cursor};
use crate::contract::{Intervention, InterventionQuery, InterventionStatus, Page};
use crate::machine::{self, ThreadState};
use crate::model::{Event, EventBody, InterventionOpened, Json, Namespace, ThreadId, Timestamp};
use crate::runtime::core::Core;
use crate::runtime::types::RuntimeError;
use crate::store::{InterventionFilter, InterventionRow};

/// The bytes after which a list is cut: an intervention may be as large as an event.
const PAGE_BYTES: usize = 1 << 20;
/// The number of rows that are read first, while nothing is known of their size.
const FIRST_ROWS: usize = 16;

/// Returns the index's rows of the interventions that these events open, escalate or resolve.
pub(in crate::runtime) fn rows(state: &ThreadState, events: &[Event]) -> Vec<InterventionRow> {
    let touched = events.iter().filter_map(|event| match &event.body {
        EventBody::InterventionOpened(data) => Some(data.id.as_str()),
        EventBody::InterventionEscalated(data) => Some(data.id.as_str()),
        EventBody::InterventionResolved(data) => Some(data.id.as_str()),
        EventBody::WorkflowStart(_)
        | EventBody::StepStart(_)
        | EventBody::StepWaiting(_)
        | EventBody::StepRetry(_)
        | EventBody::StepTimeoutWarning(_)
        | EventBody::StepStale(_)
        | EventBody::StepComplete(_)
        | EventBody::StepFailed(_)
        | EventBody::StepSkipped(_)
        | EventBody::StepEdited(_)
        | EventBody::CompensationStart(_)
        | EventBody::CompensationComplete(_)
        | EventBody::CompensationFailed(_)
        | EventBody::SignalReceived(_)
        | EventBody::WorkflowPaused(_)
        | EventBody::WorkflowForked(_)
        | EventBody::WorkflowResumed(_)
        | EventBody::WorkflowRecovered(_)
        | EventBody::WorkflowComplete(_)
        | EventBody::WorkflowFailed(_)
        | EventBody::WorkflowAborted(_) => None,
    });
    let touched: BTreeSet<&str> = touched.collect();
    let all = state.interventions.iter();
    all.filter(|one| touched.contains(one.opened.id.as_str()))
        .map(|one| row((&state.thread_id, &state.workflow.name), one))
        .collect()
}

/// Returns the index's rows of all interventions of a thread.
pub(in crate::runtime) fn all(state: &ThreadState) -> impl Iterator<Item = InterventionRow> {
    state.interventions.iter().map(|one| row((&state.thread_id, &state.workflow.name), one))
}

/// Returns the index's row of an intervention that is opened without the thread's state.
pub(in crate::runtime) fn opened(
    (thread, workflow): (&ThreadId, &str),
    opened: &InterventionOpened,
    at: Timestamp,
) -> InterventionRow {
    let one = machine::Intervention { opened: opened.clone(), at, escalated: None, resolved: None };
    row((thread, workflow), &one)
}

fn row((thread, workflow): (&ThreadId, &str), one: &machine::Intervention) -> InterventionRow {
    let resolved = one.resolved.as_ref();
    let shown = Intervention {
        id: one.opened.id.clone(),
        thread_id: thread.clone(),
        workflow: workflow.to_owned(),
        kind: one.opened.kind,
        status: if resolved.is_some() {
            InterventionStatus::Resolved
        } else {
            InterventionStatus::Open
        },
        steps: one.opened.steps.clone(),
        prompt: one.opened.prompt.clone(),
        choices: one.opened.choices.clone(),
        digest: one.opened.digest.clone(),
        expires_at: one.opened.expires_at,
        escalates_at: one.opened.escalates_at,
        escalated_at: one.escalated,
        opened_at: one.at,
        resolved_at: resolved.map(|(_, at)| *at),
        choice: resolved.map(|(data, _)| data.choice.clone()),
        comment: resolved.and_then(|(data, _)| data.comment.clone()),
        by: resolved.map(|(data, _)| data.by.clone()),
        on_behalf_of: resolved.and_then(|(data, _)| data.on_behalf_of.clone()),
        approvers: one.opened.approvers.clone(),
        not_by: one.opened.not_by.clone(),
    };
    InterventionRow {
        id: thread.namespace().key(&shown.id).into_owned(),
        thread_id: shown.thread_id.clone(),
        opened_at: shown.opened_at,
        resolved_at: shown.resolved_at,
        // Plain members of strings and times, so this cannot fail.
        body: Json::of(&shown).unwrap_or_else(|_| Json::null()),
    }
}

/// Lists interventions, newest first.
pub(in crate::runtime) async fn list(
    core: &Core,
    namespace: &Namespace,
    query: InterventionQuery,
) -> Result<Page<Intervention>, RuntimeError> {
    let before = query.cursor.as_deref().map(read_cursor).transpose()?;
    let mut filter = InterventionFilter {
        open: query.status.map(|status| status == InterventionStatus::Open),
        thread: query.thread_id.map(|thread| thread.moved_to(namespace)),
        before: before.map(|(at, id)| (at, namespace.key(&id).into_owned())),
        namespace: namespace.clone(),
    };
    let (mut rows, mut bytes): (Vec<InterventionRow>, usize) = (Vec::new(), 0);
    let mut limit = query.limit;
    while let Some(left @ 1..) = (limit + 1).checked_sub(rows.len()) {
        // As many rows as fit if they are as large as those before.
        let each = bytes.checked_div(rows.len()).unwrap_or(PAGE_BYTES / FIRST_ROWS).max(1);
        let part = (PAGE_BYTES.saturating_sub(bytes) / each).clamp(1, left);
        let look = || async { Ok(core.store().interventions(&filter, part).await?) };
        let more = listed(core, namespace, look).await?;
        let is_last = more.len() < part;
        filter.before = more.last().map(|last| (last.opened_at, last.id.clone()));
        bytes = more.iter().map(|row| row.body.as_str().len()).fold(bytes, usize::saturating_add);
        rows.extend(more);
        if is_last {
            break;
        }
        if bytes >= PAGE_BYTES && rows.len() > 1 {
            limit = limit.min(rows.len() - 1);
        }
    }
    let page =
        Page::cut(rows, limit, |last| write_cursor(last.opened_at, Namespace::split(&last.id).1));
    let shown = page.items.iter().map(|row| row.body.decode().map_err(|_| RuntimeError::Corrupt));
    Ok(Page { items: shown.collect::<Result<_, _>>()?, next_cursor: page.next_cursor })
}
