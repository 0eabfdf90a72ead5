//! Rebuilds a thread from its journal.

use std::sync::Arc;

use super::core::Core;
use super::settings::LOAD_PAGE;
use crate::definition::Plan;
use crate::machine::ThreadState;
use crate::model::{Event, EventBody, EventFault, Json, Pointer, RecoveryStrategy, Seq, ThreadId};
use crate::store::StoreError;

/// Why a thread could not be rebuilt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum LoadError {
    /// There is no such thread.
    #[error("no such thread")]
    NotFound,
    /// The store failed, or a record is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record cannot be read as an event.
    #[error(transparent)]
    Event(#[from] EventFault),
    /// The definition is missing or does not pass this version's checks.
    #[error("definition {0} cannot be used: {1}")]
    Definition(String, String),
}

impl LoadError {
    /// Whether what is stored does not fit together, as opposed to what this version cannot read.
    pub(super) const fn is_damage(&self) -> bool {
        match self {
            Self::Store(error) => matches!(error, StoreError::Corrupt { .. }),
            Self::Event(fault) => matches!(fault, EventFault::Malformed(_)),
            Self::NotFound | Self::Definition(..) => false,
        }
    }
}

/// A rebuilt thread.
#[derive(Debug)]
pub(super) struct Loaded {
    /// Its state.
    pub(super) state: ThreadState,
    /// What it was rebuilt from.
    pub(super) strategy: RecoveryStrategy,
}

/// The state of a thread now, or as it was after event `until`.
pub(super) async fn load(
    core: &Core,
    thread: &ThreadId,
    until: Option<Seq>,
) -> Result<Loaded, LoadError> {
    let began = core.parts.clock.monotonic();
    let loaded = fold(core, thread, until).await;
    let took = core.parts.clock.monotonic().saturating_sub(began);
    let found = !matches!(loaded, Err(LoadError::Store(_) | LoadError::Event(_)));
    core.parts.metrics.loaded(took, found);
    loaded
}

async fn fold(core: &Core, thread: &ThreadId, until: Option<Seq>) -> Result<Loaded, LoadError> {
    let mut state: Option<ThreadState> = None;
    let mut after = 0;
    'pages: loop {
        let page = core.store().read(thread, after, LOAD_PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.last();
        for text in page.iter().flat_map(|records| &records.events) {
            let event = Event::decode(text)?;
            if until.is_some_and(|until| event.seq > until) {
                break 'pages;
            }
            match &mut state {
                Some(state) => state.apply(&event),
                none => *none = Some(first(core, thread, &event).await?),
            }
        }
    }
    let state = state.ok_or(LoadError::NotFound)?;
    Ok(Loaded { state, strategy: RecoveryStrategy::FullRebuild })
}

async fn first(core: &Core, thread: &ThreadId, event: &Event) -> Result<ThreadState, LoadError> {
    let not_a_start = || EventFault::Malformed("the first event is no workflow_start".to_owned());
    let EventBody::WorkflowStart(start) = &event.body else { return Err(not_a_start().into()) };
    let plan = plan(core, &start.workflow.hash).await?;
    ThreadState::first(thread.clone(), plan, event).ok_or_else(|| not_a_start().into())
}

/// The plan of a stored definition.
pub(super) async fn plan(core: &Core, hash: &str) -> Result<Arc<Plan>, LoadError> {
    if let Some(plan) = core.plans.get(hash) {
        return Ok(plan);
    }
    let unusable = |detail: String| LoadError::Definition(hash.to_owned(), detail);
    let text = core.store().definition(hash).await?;
    let text = text.ok_or_else(|| unusable("it is not in the store".to_owned()))?;
    let json = Json::trusted(text).map_err(|fault| unusable(fault.to_string()))?;
    let plan = Plan::parse(&json, &Pointer::root()).map_err(|faults| {
        let named = faults.iter().map(|fault| format!("{} {}", fault.pointer, fault.detail));
        unusable(named.collect::<Vec<_>>().join("; "))
    })?;
    let plan = Arc::new(plan);
    core.plans.put_stored(Arc::clone(&plan));
    Ok(plan)
}
