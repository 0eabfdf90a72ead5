//! Rebuilds a thread: from its newest good snapshot and the journal after it, or from the whole
//! journal.
//!
//! A bad snapshot costs a log line, a count and a longer read; it never fails a load. The rebuilt
//! state has been checked for consistency, also with its plan.

use std::sync::Arc;

use super::plans::named;
use super::tail::Tail;
use crate::definition::Plan;
use crate::definition::stack::on_large_stack;
use crate::machine::{
    EncodedSnapshot, Inconsistency, SNAPSHOT_VERSION, SnapshotFault, ThreadState,
};
use crate::model::{
    Event, EventBody, EventFault, Json, Namespace, Pointer, RecoveryStrategy, Seq, ThreadId,
};
use crate::observe::{Overloaded, Pool, Reservation};
use crate::runtime::core::Core;
use crate::runtime::settings::LOAD_PAGE;
use crate::store::{SNAPSHOTS_KEPT, Snapshot, Store, StoreError};

/// The reason why a load failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::runtime) enum LoadError {
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
    /// There is no memory or no place left for the load now.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// The records can be read, but contradict each other or the plan.
    #[error("the thread is corrupted: {0}")]
    Corrupted(String),
}

impl From<Inconsistency> for LoadError {
    fn from(found: Inconsistency) -> Self {
        Self::Corrupted(found.to_string())
    }
}

impl LoadError {
    /// Returns whether the stored records are damaged, as opposed to unreadable for this version.
    pub(in crate::runtime) const fn is_damage(&self) -> bool {
        match self {
            Self::Store(error) => matches!(error, StoreError::Corrupt { .. }),
            Self::Event(fault) => matches!(fault, EventFault::Malformed(_)),
            Self::Corrupted(_) => true,
            Self::NotFound | Self::Definition(..) | Self::Overloaded(_) => false,
        }
    }
}

/// A rebuilt thread.
#[derive(Debug)]
pub(in crate::runtime) struct Loaded {
    /// The state of the thread.
    pub(in crate::runtime) state: ThreadState,
    /// The source that it was rebuilt from.
    pub(in crate::runtime) strategy: RecoveryStrategy,
    /// The part of the journal that was read.
    pub(in crate::runtime) tail: Tail,
    /// The memory that it takes.
    pub(in crate::runtime) held: Held,
}

/// The memory that a load takes.
#[derive(Debug)]
pub(in crate::runtime) struct Held {
    reservation: Reservation,
    /// Set for a thread that is to be driven: it is loaded however little memory is left.
    must: bool,
}

impl Held {
    /// Returns the memory that was counted, to be held for what was made of the thread.
    pub(in crate::runtime) fn into_reservation(self) -> Reservation {
        self.reservation
    }

    /// Returns the store that the thread is read from.
    fn store<'a>(&self, core: &'a Core) -> &'a dyn Store {
        if self.must { core.store() } else { core.shown.store() }
    }

    /// Counts bytes that were read, and their share of the state.
    fn read(&mut self, bytes: usize) -> Result<(), Overloaded> {
        let more = bytes.saturating_mul(READ_WEIGHT);
        if self.must {
            self.reservation.set(self.reservation.bytes().saturating_add(more));
            return Ok(());
        }
        self.reservation.grow(more)
    }
}

/// The bytes of memory per byte read from a journal: its text, and its part of the state.
const READ_WEIGHT: usize = 2;

/// Reasons to skip a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Bad {
    #[error(transparent)]
    Fault(#[from] SnapshotFault),
    #[error("its plan cannot be had: {0}")]
    Plan(String),
    #[error("the journal's event {0} is not the one it was made after")]
    OtherHistory(Seq),
    #[error("the journal after it does not go on from it: {0}")]
    Discontinued(String),
    #[error("the store cannot read it: {0}")]
    Stored(String),
}

/// Every reason for which a snapshot is counted as bad.
pub(in crate::runtime) const BAD_REASONS: [&str; 8] = [
    "checksum",
    "version",
    "unreadable",
    "misfit",
    "plan",
    "other_history",
    "discontinued",
    "stored",
];

impl Bad {
    const fn reason(&self) -> &'static str {
        match self {
            Self::Fault(fault) => fault.reason(),
            Self::Plan(_) => "plan",
            Self::OtherHistory(_) => "other_history",
            Self::Discontinued(_) => "discontinued",
            Self::Stored(_) => "stored",
        }
    }

    /// Returns whether this server never writes such a snapshot, as opposed to one of another version.
    const fn is_violation(&self) -> bool {
        !matches!(self, Self::Fault(SnapshotFault::Version(_)) | Self::Plan(_))
    }
}

/// The reason why a snapshot gave no state: it is bad, or the load fails with any snapshot.
enum Failed {
    Bad(Bad),
    Load(LoadError),
}

impl<E: Into<Bad>> From<E> for Failed {
    fn from(bad: E) -> Self {
        Self::Bad(bad.into())
    }
}

/// Loads the state of a thread to drive it, as of now or after event `until`.
pub(in crate::runtime) async fn load(
    core: &Core,
    thread: &ThreadId,
    until: Option<Seq>,
) -> Result<Loaded, LoadError> {
    let reservation = core.parts.memory.note(Pool::Loads, 0);
    timed(core, (thread, until), Held { reservation, must: true }).await
}

/// Loads a thread to show it: only if memory allows, and a limited number at once.
pub(in crate::runtime) async fn load_to_show(
    core: &Core,
    thread: &ThreadId,
    until: Option<Seq>,
) -> Result<Loaded, LoadError> {
    let _place = core.shown.place(&thread.namespace()).await?;
    let reservation = core.parts.memory.reserve(Pool::Loads, &thread.namespace(), 0)?;
    timed(core, (thread, until), Held { reservation, must: false }).await
}

async fn timed(
    core: &Core,
    (thread, until): (&ThreadId, Option<Seq>),
    held: Held,
) -> Result<Loaded, LoadError> {
    let began = core.parts.clock.monotonic();
    let loaded = rebuild(core, thread, until, held).await;
    let took = core.parts.clock.monotonic().saturating_sub(began);
    let found = match loaded {
        Ok(_) | Err(LoadError::NotFound | LoadError::Definition(..) | LoadError::Overloaded(_)) => {
            true
        }
        Err(LoadError::Store(_) | LoadError::Event(_) | LoadError::Corrupted(_)) => false,
    };
    core.parts.metrics.loaded(took, found);
    if loaded.as_ref().is_err_and(LoadError::is_damage) {
        core.parts.metrics.integrity.violations.inc();
    }
    loaded
}

async fn rebuild(
    core: &Core,
    thread: &ThreadId,
    until: Option<Seq>,
    mut held: Held,
) -> Result<Loaded, LoadError> {
    let mut below = until;
    for _ in 0..SNAPSHOTS_KEPT {
        let snapshot = match held.store(core).snapshot(thread, below).await {
            Ok(Some(snapshot)) => snapshot,
            Ok(None) => break,
            Err(error) if error.is_transient() => return Err(error.into()),
            Err(error) => {
                // The snapshot's number is unknown, so an older one cannot be asked for.
                report(core, thread, None, &Bad::Stored(error.to_string()));
                break;
            }
        };
        match restore((core, thread), &snapshot, until, &mut held).await {
            Ok((state, tail)) => {
                let strategy = RecoveryStrategy::CheckpointRestore;
                return Ok(Loaded { state, strategy, tail, held });
            }
            Err(Failed::Load(error)) => return Err(error),
            Err(Failed::Bad(bad)) => report(core, thread, Some(snapshot.seq), &bad),
        }
        let Some(older @ 1..) = snapshot.seq.checked_sub(1) else { break };
        below = Some(older);
    }
    let tail = Tail::after(0);
    let whole = Fold { core, thread, until, state: None, tail, after: 0, held: &mut held };
    let (state, tail) = whole.run().await?;
    Ok(Loaded { state, strategy: RecoveryStrategy::FullRebuild, tail, held })
}

fn report(core: &Core, thread: &ThreadId, seq: Option<Seq>, bad: &Bad) {
    let reason = bad.reason();
    tracing::warn!(%thread, seq, reason, detail = %bad, "a snapshot is skipped");
    core.parts.metrics.snapshots.bad(reason);
    if bad.is_violation() {
        core.parts.metrics.integrity.violations.inc();
    }
}

/// Restores the state from a snapshot and the journal after it.
async fn restore(
    (core, thread): (&Core, &ThreadId),
    snapshot: &Snapshot,
    until: Option<Seq>,
    held: &mut Held,
) -> Result<(ThreadState, Tail), Failed> {
    held.read(snapshot.state.len()).map_err(|refused| Failed::Load(refused.into()))?;
    if snapshot.version != SNAPSHOT_VERSION {
        return Err(SnapshotFault::Version(snapshot.version).into());
    }
    let encoded = EncodedSnapshot::open(&snapshot.state, &snapshot.sha256)?;
    let plan = plan_from((core, held.store(core)), &thread.namespace(), encoded.definition())
        .await
        .map_err(|error| match error {
            LoadError::Store(error) if error.is_transient() => Failed::Load(error.into()),
            error @ (LoadError::NotFound
            | LoadError::Store(_)
            | LoadError::Event(_)
            | LoadError::Definition(..)
            | LoadError::Overloaded(_)
            | LoadError::Corrupted(_)) => Bad::Plan(error.to_string()).into(),
        })?;
    let state = encoded.restore(thread, plan)?;
    if state.last_seq != snapshot.seq {
        let detail = format!("it is of event {}, stored as of {}", state.last_seq, snapshot.seq);
        return Err(SnapshotFault::Misfit(detail).into());
    }
    // Read the snapshot's last event again: if the journal lacks it (its tail was lost in a
    // failover) or has another event there, the snapshot was made from another history.
    let after = snapshot.seq - 1;
    let tail = Tail::after(snapshot.state.len());
    let rest = Fold { core, thread, until, state: Some(state), tail, after, held };
    rest.run().await.map_err(|error| match error {
        LoadError::NotFound => Bad::OtherHistory(snapshot.seq).into(),
        LoadError::Corrupted(detail) => Bad::Discontinued(detail).into(),
        error @ (LoadError::Store(_)
        | LoadError::Event(_)
        | LoadError::Overloaded(_)
        | LoadError::Definition(..)) => Failed::Load(error),
    })
}

/// A read of the journal that folds events as they come.
struct Fold<'a> {
    core: &'a Core,
    thread: &'a ThreadId,
    until: Option<Seq>,
    /// The state so far. A snapshot's state includes its last event, while `after` is still before
    /// it.
    state: Option<ThreadState>,
    tail: Tail,
    after: Seq,
    held: &'a mut Held,
}

impl Fold<'_> {
    /// Returns the final state, checked for consistency; [`LoadError::NotFound`] if the journal
    /// lacks the event to begin from.
    async fn run(mut self) -> Result<(ThreadState, Tail), LoadError> {
        let mut found = false;
        loop {
            let limit = self.until.map_or(LOAD_PAGE, |until| {
                let left = usize::try_from(until.saturating_sub(self.after));
                left.unwrap_or(LOAD_PAGE).min(LOAD_PAGE)
            });
            if limit == 0 {
                break;
            }
            let page = self.held.store(self.core).read(self.thread, self.after, limit).await?;
            let Some(last) = page.last() else { break };
            self.after = last.last();
            let bytes = page.iter().flat_map(|records| &records.events).map(String::len).sum();
            self.held.read(bytes)?;
            for text in page.iter().flat_map(|records| &records.events) {
                let event = Event::decode(text)?;
                if !found {
                    self.begin(&event).await?;
                    found = true;
                } else if let Some(state) = &mut self.state {
                    follow(state, &event)?;
                }
                self.tail.grow(1, text.len());
            }
        }
        let state = self.state.filter(|_| found).ok_or(LoadError::NotFound)?;
        state.validate()?;
        Ok((state, self.tail))
    }

    /// Makes the state from the first event, or checks that it is the last event of the snapshot.
    async fn begin(&mut self, event: &Event) -> Result<(), LoadError> {
        match &self.state {
            Some(state) if (event.seq, event.at) == (state.last_seq, state.updated_at) => {}
            Some(_) => return Err(LoadError::NotFound),
            None => {
                let state = first((self.core, self.held), self.thread, event).await?;
                self.tail = Tail::of(&state);
                self.state = Some(state);
            }
        }
        Ok(())
    }
}

/// Applies an event, if it is the next one and its step is in the plan.
pub(in crate::runtime) fn follow(state: &mut ThreadState, event: &Event) -> Result<(), LoadError> {
    if event.seq != state.last_seq + 1 {
        let (found, last) = (event.seq, state.last_seq);
        return Err(LoadError::Corrupted(format!("event {found} follows event {last}")));
    }
    if let Some(step) = event.body.step()
        && state.plan.find(step.as_str()).is_none()
    {
        let seq = event.seq;
        return Err(LoadError::Corrupted(format!("event {seq} is about {step}, not in the plan")));
    }
    state.apply(event);
    Ok(())
}

async fn first(
    (core, held): (&Core, &Held),
    thread: &ThreadId,
    event: &Event,
) -> Result<ThreadState, LoadError> {
    let not_a_start = || EventFault::Malformed("the first event is no workflow_start".to_owned());
    let EventBody::WorkflowStart(start) = &event.body else { return Err(not_a_start().into()) };
    let store = held.store(core);
    let plan = plan_from((core, store), &thread.namespace(), &start.workflow.hash).await?;
    ThreadState::first(thread.clone(), plan, event).ok_or_else(|| not_a_start().into())
}

/// Returns the plan of a stored definition; parsing it counts as work of the namespace.
pub(in crate::runtime) async fn plan(
    core: &Core,
    namespace: &Namespace,
    hash: &str,
) -> Result<Arc<Plan>, LoadError> {
    plan_from((core, core.store()), namespace, hash).await
}

async fn plan_from(
    (core, store): (&Core, &dyn Store),
    namespace: &Namespace,
    hash: &str,
) -> Result<Arc<Plan>, LoadError> {
    if let Some(plan) = core.plans.get(hash) {
        return Ok(plan);
    }
    let unusable = |detail: String| LoadError::Definition(hash.to_owned(), detail);
    let text = store.definition(hash).await?;
    let text = text.ok_or_else(|| unusable("it is not in the store".to_owned()))?;
    let json = Json::trusted(text).map_err(|fault| unusable(fault.to_string()))?;
    let parse = || on_large_stack(|| Plan::parse(&json, &Pointer::root()));
    let parsed = core.aside.run_for(namespace, parse).await.map_err(|_no_thread| Overloaded)?;
    let plan = parsed.map_err(|faults| unusable(named(&faults)))?;
    let plan = Arc::new(plan);
    core.plans.put_stored(Arc::clone(&plan));
    Ok(plan)
}
