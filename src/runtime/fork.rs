//! Forks: a new thread that begins with the history of another, up to an event of it.
//!
//! The other thread is only read; nothing is ever written to its journal. The fork gets all of its
//! history in one start, under its own id, and is then claimed like any thread that waits: nobody
//! was lost, so it is no recovery.

use std::sync::Arc;

use super::core::Core;
use super::estimate::estimate;
use super::existing;
use super::handle::{Control, ForkHow, Invoked, RuntimeError};
use super::interventions;
use super::invoke::{Made, enqueue, generated, has_room, hash, labels, other_start};
use super::load::{follow, plan};
use super::query::{patiently, persistently};
use super::settings::{LOAD_PAGE, RETRY_AFTER};
use super::workflows::check_input;
use crate::definition::Plan;
use crate::machine::{Fork, ForkRejection, Moment, ThreadState, Who, fork as decide_fork};
use crate::model::{
    Event, EventBody, EventFault, Fault, ForkedFrom, Json, Pointer, Seq, StepId, ThreadId,
    ThreadStatus, Timestamp,
};
use crate::store::{Disposition, FORK_LABEL, IdempotencyKey, Records, Start, ThreadRow};

/// Histories taken over side by side: each is in memory some times over while it is written.
pub(super) const FORKS_AT_ONCE: usize = 2;
/// The longest history that a fork takes over, in bytes of events. It goes in with one statement,
/// which has to be through within the 10 s that a statement may take, also on a slow disk.
const MAX_HISTORY_BYTES: usize = 64 << 20;
/// About how large the journal rows of a history are, in bytes: a read of the journal takes whole
/// rows, and is not to cost much more than it asks for.
const ROW_BYTES: usize = 1 << 20;

/// Makes the fork, or answers for the one that the same request has made already.
pub(super) async fn fork(
    core: &Arc<Core>,
    origin: &ThreadId,
    how: ForkHow,
    control: Control,
) -> Result<Invoked, RuntimeError> {
    let request = request_hash(origin, &how);
    if let Some(made) = made_before(core, &how, &control, &request).await? {
        return Ok(made);
    }
    // Never closed: there is always a permit to wait for.
    let permit = patiently(async { Ok(core.forks.acquire().await) }).await?;
    let made = make(core, origin, (how, &request), control).await;
    drop(permit);
    made
}

/// Tells a repeat from another request.
fn request_hash(origin: &ThreadId, how: &ForkHow) -> String {
    let seq = how.at_seq.to_string();
    let input = how.input.as_ref().map_or("", Json::as_str);
    let mut parts = vec!["fork", origin.as_str(), &seq, input];
    let mut edits: Vec<_> = how.edits.iter().collect();
    edits.sort_by(|one, other| one.0.cmp(&other.0));
    parts.extend(edits.iter().flat_map(|(step, output)| [step.as_str(), output.as_str()]));
    hash(&parts)
}

/// The answer to a request that was made before: by its thread id, or by its key.
async fn made_before(
    core: &Arc<Core>,
    how: &ForkHow,
    control: &Control,
    request: &String,
) -> Result<Option<Invoked>, RuntimeError> {
    if let Some(thread) = &how.thread_id {
        let row = persistently(core, || async { Ok(core.store().thread(thread).await?) }).await?;
        let Some(row) = row else { return Ok(None) };
        return same(core, row, request).await.map(Some);
    }
    let Some(key) = &control.idempotency_key else { return Ok(None) };
    let known =
        persistently(core, || async { Ok(core.store().by_idempotency_key(key).await?) }).await?;
    match known {
        None => Ok(None),
        Some(_) => existing::replay(core, key, Some(request)).await.map(Some),
    }
}

/// Reports a thread, if it was made by the same request.
async fn same(core: &Core, row: ThreadRow, request: &str) -> Result<Invoked, RuntimeError> {
    if row.request_hash != request {
        return Err(RuntimeError::ThreadConflict);
    }
    Ok(Invoked {
        thread_id: row.thread_id,
        status: row.summary.status,
        created: false,
        resumed: false,
        replayed: false,
        estimated_duration: estimate(core, &row.workflow).await,
        last_seq: row.last_seq,
    })
}

async fn make(
    core: &Arc<Core>,
    origin: &ThreadId,
    (how, request): (ForkHow, &String),
    control: Control,
) -> Result<Invoked, RuntimeError> {
    let row = persistently(core, || async { Ok(core.store().thread(origin).await?) }).await?;
    let row = row.ok_or(RuntimeError::ThreadNotFound)?;
    let last_seq = row.last_seq;
    if control.if_match.is_some_and(|seen| seen != last_seq) {
        return Err(RuntimeError::PreconditionFailed { last_seq });
    }
    if how.at_seq < 1 || how.at_seq > last_seq {
        return Err(RuntimeError::SeqOutOfRange { last_seq });
    }
    // Whether it may wait in the queue: it is not driven from here.
    has_room(core)?;
    let chosen = how.thread_id.clone();
    let thread = match &chosen {
        Some(chosen) => chosen.clone(),
        None => generated(core)?,
    };
    let Some(place) = core.begin_start(&thread) else {
        other_start(core, &thread).await?;
        return exists(core, &thread, request).await;
    };
    let moment = core.moment();
    // Times of a journal do not step back, even if the clock has.
    let moment = Moment { now: moment.now.max(row.updated_at), ..moment };
    let (by, reason) = (control.by, control.reason);
    let from = ForkedFrom {
        thread_id: origin.clone(),
        seq: how.at_seq,
        at: moment.now,
        by: by.clone(),
        reason: reason.clone(),
    };
    let mut history = History::read(core, &thread, from).await?;
    let how = checked(core, &history.state.plan, how, Who { by, reason })?;
    let events = decide_fork(&mut history.state, how, moment).map_err(|fault| refused(&fault))?;
    history.add_own(&events);
    let key = control.idempotency_key.filter(|_| chosen.is_none());
    let named = key.clone().map(|key| (key, request.clone()));
    let plan = Arc::clone(&history.state.plan);
    let status = history.state.status;
    let write = history.into_start(core, (origin, row.workflow_version), request, named)?;
    let made = enqueue(core, write, &plan).await?;
    drop(place);
    match made {
        Made::Started { last_seq, .. } => Ok(Invoked {
            thread_id: thread,
            status,
            created: true,
            resumed: false,
            replayed: false,
            estimated_duration: estimate(core, &plan.name).await,
            last_seq,
        }),
        Made::ThreadExists => exists(core, &thread, request).await,
        Made::KeyExists => existing::replay(core, &key.unwrap_or_default(), Some(request)).await,
    }
}

/// Somebody else made a thread of that id meanwhile.
async fn exists(core: &Core, thread: &ThreadId, request: &str) -> Result<Invoked, RuntimeError> {
    let row = persistently(core, || async { Ok(core.store().thread(thread).await?) }).await?;
    // Deleted in between, or never written: the client may try again.
    let row = row.ok_or(RuntimeError::Unavailable { retry_after: RETRY_AFTER })?;
    same(core, row, request).await
}

/// What a fork is to do otherwise, held against the plan, its schema and the limits.
fn checked(core: &Core, plan: &Plan, how: ForkHow, who: Who) -> Result<Fork, RuntimeError> {
    if let Some(input) = &how.input {
        check_input(core, plan, input)?;
    }
    let limit = core.parts.settings.max_event;
    let too_large = how.edits.iter().filter(|(_, output)| output.as_str().len() > limit);
    let faults: Vec<Fault> = too_large
        .map(|(step, output)| {
            let size = output.as_str().len();
            fault(step, format!("the output has {size} bytes; at most {limit} are kept"))
        })
        .collect();
    if !faults.is_empty() {
        return Err(RuntimeError::Invalid(faults));
    }
    let place = |(step, output): (StepId, Json)| match plan.position(step.as_str()) {
        Some(at) => Ok((at, output)),
        None => Err(RuntimeError::StepNotFound { step }),
    };
    let mut edits = how.edits.into_iter().map(place).collect::<Result<Vec<_>, _>>()?;
    edits.sort_by_key(|(at, _)| *at);
    Ok(Fork { edits, input: how.input, who })
}

fn fault(step: &StepId, detail: String) -> Fault {
    let pointer = Pointer::root().key("edits").key(step.as_str()).as_str().to_owned();
    Fault { pointer, detail }
}

fn refused(rejection: &ForkRejection) -> RuntimeError {
    match rejection {
        ForkRejection::WrongState(status @ ThreadStatus::Completed) => {
            let action = "forked at its end without edits or an input";
            RuntimeError::WrongState { status: *status, action }
        }
        ForkRejection::WrongState(status) => {
            RuntimeError::WrongState { status: *status, action: "forked there" }
        }
        ForkRejection::NotCompleted(step, status) => {
            RuntimeError::WrongStep { step: step.clone(), status: *status, action: "edited" }
        }
        ForkRejection::Undone(again, edited) => {
            let detail =
                format!("{again}, which it depends on, would run again: edit that as well");
            RuntimeError::Invalid(vec![fault(edited, detail)])
        }
    }
}

/// The history of another thread, as that of a new one.
struct History {
    state: ThreadState,
    rows: Vec<Records>,
    /// The next row, and its bytes so far.
    open: (Vec<String>, usize),
    first: Seq,
    bytes: usize,
}

impl History {
    /// Reads the events up to the fork's point and folds them.
    async fn read(core: &Core, thread: &ThreadId, from: ForkedFrom) -> Result<Self, RuntimeError> {
        let (origin, until) = (from.thread_id.clone(), from.seq);
        let mut from = Some(from);
        let mut history: Option<Self> = None;
        let mut after = 0;
        while after < until {
            let left = usize::try_from(until - after).unwrap_or(LOAD_PAGE).min(LOAD_PAGE);
            let look = || async { Ok(core.store().read(&origin, after, left).await?) };
            let page = persistently(core, look).await?;
            // Deleted meanwhile.
            after = page.last().ok_or(RuntimeError::ThreadNotFound)?.last();
            for text in page.iter().flat_map(|records| &records.events) {
                let event = Event::decode(text).map_err(super::load::LoadError::from)?;
                let body = event.body.moved(&origin, thread.as_str());
                let event = Event { body, ..event };
                match &mut history {
                    Some(history) => history.take(&event)?,
                    none => *none = Some(Self::begin(core, thread, event, from.take()).await?),
                }
            }
        }
        let mut history = history.ok_or(RuntimeError::ThreadNotFound)?;
        history.state.validate().map_err(super::load::LoadError::from)?;
        history.close();
        Ok(history)
    }

    async fn begin(
        core: &Core,
        thread: &ThreadId,
        event: Event,
        from: Option<ForkedFrom>,
    ) -> Result<Self, RuntimeError> {
        let fault = || EventFault::Malformed("the first event is no workflow_start".to_owned());
        let fault = || RuntimeError::from(super::load::LoadError::from(fault()));
        let EventBody::WorkflowStart(mut start) = event.body else { return Err(fault()) };
        start.forked_from = from;
        let hash = start.workflow.hash.clone();
        let plan = persistently(core, || async { Ok(plan(core, &hash).await?) }).await?;
        let event = Event { body: EventBody::WorkflowStart(start), ..event };
        let state = ThreadState::first(thread.clone(), plan, &event).ok_or_else(fault)?;
        let mut history =
            Self { state, rows: Vec::new(), open: (Vec::new(), 0), first: 1, bytes: 0 };
        history.keep(&event)?;
        Ok(history)
    }

    /// Folds the next event in.
    fn take(&mut self, event: &Event) -> Result<(), RuntimeError> {
        follow(&mut self.state, event)?;
        self.keep(event)
    }

    fn keep(&mut self, event: &Event) -> Result<(), RuntimeError> {
        let text = event.encode(&self.state.thread_id);
        self.bytes = self.bytes.saturating_add(text.len());
        if self.bytes > MAX_HISTORY_BYTES {
            return Err(RuntimeError::HistoryTooLarge { limit: MAX_HISTORY_BYTES });
        }
        self.open.1 = self.open.1.saturating_add(text.len());
        self.open.0.push(text);
        if self.open.1 >= ROW_BYTES || self.open.0.len() >= LOAD_PAGE {
            self.close();
        }
        Ok(())
    }

    /// Ends a row with the last event that was folded in.
    fn close(&mut self) {
        let (events, _) = std::mem::take(&mut self.open);
        if !events.is_empty() {
            self.rows.push(Records { first: self.first, events, at: self.state.updated_at });
            self.first = self.state.last_seq + 1;
        }
    }

    /// What the fork adds is a row of its own: the last one, by whose time it counts as made.
    fn add_own(&mut self, events: &[Event]) {
        self.rows.extend(super::commit::records(&self.state.thread_id, events));
    }

    fn into_start(
        self,
        core: &Core,
        (origin, workflow_version): (&ThreadId, Option<u32>),
        request: &str,
        key: Option<(String, String)>,
    ) -> Result<Start, RuntimeError> {
        let Self { state, rows, .. } = self;
        let plan = &state.plan;
        let mut rows = rows.into_iter();
        let mut labels = labels(&state.metadata);
        labels.push((FORK_LABEL.to_owned(), origin.to_string()));
        let wake_at: Option<Timestamp> =
            (state.status != ThreadStatus::Paused).then(|| core.parts.clock.now());
        Ok(Start {
            thread_id: state.thread_id.clone(),
            workflow: plan.name.clone(),
            workflow_version,
            definition: plan.hash.clone(),
            definition_text: (!core.plans.is_stored(&plan.hash)).then(|| plan.text.clone()),
            request_hash: request.to_owned(),
            metadata: state.metadata.clone(),
            labels,
            idempotency: key.map(|(key, request_hash)| IdempotencyKey { key, request_hash }),
            records: rows.next().ok_or(RuntimeError::Internal)?,
            more: rows.collect(),
            interventions: interventions::all(&state).collect(),
            summary: super::commit::summary(&state),
            disposition: Disposition::Release { wake_at },
        })
    }
}
