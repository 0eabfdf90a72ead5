//! Accepts invokes: starts a thread, or continues or reports an existing one.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::existing;
use super::patience::{patiently, unavailable};
use super::request_hash::{thread_hash, whole_hash};
use super::storage::takes_new;
use super::workflows::{Source, check_input, resolve};
use crate::contract::Invoked;
use crate::definition::Plan;
use crate::machine::{Command, Decided, ThreadState, start};
use crate::model::{Event, Json, Namespace, ThreadId, ThreadStatus, WorkflowRef, WorkflowStart};
use crate::runtime::core::Core;
use crate::runtime::drive::commit::{labels, records, summary};
use crate::runtime::drive::driver::Driver;
use crate::runtime::drive::release::supervise;
use crate::runtime::lease::authority::Authority;
use crate::runtime::lease::roster::Activity;
use crate::runtime::settings::RETRY_AFTER;
use crate::runtime::types::{Invoke, RuntimeError};
use crate::runtime::write::writer::Committed;
use crate::store::{Disposition, IdempotencyKey, Side, Start, Write, WriteOutcome};

/// The number of tries to start a thread whose id is taken while no thread of it is found. The second
/// fails like that only where a deleted thread is being removed in parts.
const START_TRIES: u32 = 2;
/// The wait that a client is told while a deleted thread is removed: most take some seconds.
pub(in crate::runtime) const DELETED_RETRY: std::time::Duration = std::time::Duration::from_secs(5);

/// The interval of checks whether a start of the same thread has become durable.
const OTHER_START_CHECK: std::time::Duration = std::time::Duration::from_millis(5);

/// Starts a thread, or continues or reports the one of that id or key. The calls of the store have
/// timeouts of their own; all together have no more time than one.
pub(in crate::runtime) async fn invoke(
    core: &Arc<Core>,
    invoke: Invoke,
) -> Result<Invoked, RuntimeError> {
    patiently(accept(core, invoke)).await
}

async fn accept(core: &Arc<Core>, mut invoke: Invoke) -> Result<Invoked, RuntimeError> {
    let chosen = invoke.request.thread_id.take();
    invoke.request.thread_id = chosen.map(|id| id.moved_to(&invoke.namespace));
    let Some(workflow) = &invoke.request.workflow else {
        return existing::alone(core, &invoke).await;
    };
    let source = resolve(core, &invoke.namespace, workflow).await?;
    let input = invoke.request.input.clone().unwrap_or_else(Json::null);
    check_input(core, &invoke.namespace, (&source.plan, &input)).await?;
    let fingerprint = Fingerprint {
        thread_hash: thread_hash(&source.plan.meaning, &input),
        key_hash: invoke
            .idempotency_key
            .as_ref()
            .filter(|_| invoke.request.thread_id.is_none())
            .map(|_| whole_hash(workflow, &source, &input, &invoke)),
    };
    // Read before the thread runs, so that its own duration does not count.
    let estimated_duration = core.estimate(&invoke.namespace, &source.plan.name).await;
    for _ in 0..START_TRIES {
        let (thread, made) = create(core, &invoke, &source, (input.clone(), &fingerprint)).await?;
        match made {
            Made::Started { status, last_seq } => {
                return Ok(Invoked {
                    estimated_duration,
                    thread_id: thread,
                    status,
                    created: true,
                    resumed: false,
                    replayed: false,
                    last_seq,
                });
            }
            Made::ThreadExists => {
                match existing::existing(core, &thread, &invoke, Some(&fingerprint.thread_hash))
                    .await
                {
                    // It was removed meanwhile, or its other start failed, or it is being removed.
                    Err(RuntimeError::ThreadNotFound) => {}
                    answer => return answer,
                }
            }
            Made::KeyExists => {
                let key = invoke.idempotency_key.as_deref().unwrap_or_default();
                let key = IdempotencyKey::scoped(&invoke.namespace, key);
                return existing::replay(core, &key, fingerprint.key_hash.as_ref()).await;
            }
        }
    }
    Err(RuntimeError::ThreadDeleting { retry_after: DELETED_RETRY })
}

/// The hashes that tell a repeat from a conflict.
struct Fingerprint {
    thread_hash: String,
    key_hash: Option<String>,
}

/// The result of a start.
pub(in crate::runtime) enum Made {
    Started { status: ThreadStatus, last_seq: u64 },
    ThreadExists,
    KeyExists,
}

/// Writes the first events of a thread; they are durable when this returns.
async fn create(
    core: &Arc<Core>,
    invoke: &Invoke,
    source: &Source,
    (input, fingerprint): (Json, &Fingerprint),
) -> Result<(ThreadId, Made), RuntimeError> {
    let context = core.context();
    let thread = match &invoke.request.thread_id {
        Some(chosen) => chosen.clone(),
        None => generated(core, &invoke.namespace)?,
    };
    let place = core.driven.begin_start(&thread);
    if place.is_none() {
        let made = other_start(core, &thread).await?;
        return Ok((thread, made));
    }
    let body = WorkflowStart {
        workflow: WorkflowRef {
            name: source.plan.name.clone(),
            version: source.version,
            hash: source.plan.hash.clone(),
        },
        input,
        metadata: invoke.request.metadata.clone().unwrap_or_else(empty_object),
        by: invoke.by.clone(),
        queue: None,
        priority: invoke.request.priority,
        traceparent: invoke.traceparent.clone(),
        deadline: None,
        forked_from: None,
    };
    let made = start(thread.clone(), Arc::clone(&source.plan), body, context);
    let (mut state, first) = made.ok_or(RuntimeError::Internal)?;
    let mut begun = Decided { events: vec![first], ..Decided::default() };
    // `first_write` indexes no interventions, so a thread that may ask people is queued.
    if has_room(core, &invoke.namespace)? && !source.plan.may_ask() {
        let advanced = core.decide(&mut state, Command::Advance).await;
        let advanced = advanced.map_err(|_rejected| RuntimeError::Internal)?;
        begun.events.extend(advanced.events);
        begun.effects = advanced.effects;
        begun.unfinished = advanced.unfinished;
    }
    let write = first_write(core, invoke, source, (&state, &begun.events), fingerprint)?;
    let notifies = write.sides.iter().any(|side| matches!(side, Side::Notify { .. }));
    // A shutdown may have begun since the look at the room: then nothing starts.
    let made = if state.status == ThreadStatus::Queued {
        enqueue(core, write, &source.plan).await?
    } else {
        launch(core, state, begun, write).await?
    };
    if notifies {
        core.notices.written();
    }
    Ok((thread, made))
}

/// Returns whether this replica has room for another thread of the namespace; fails if it may not
/// even be queued.
pub(in crate::runtime) fn has_room(
    core: &Core,
    namespace: &Namespace,
) -> Result<bool, RuntimeError> {
    takes_new(core)?;
    if core.parts.memory.is_short() {
        return Err(RuntimeError::Overloaded { retry_after: RETRY_AFTER });
    }
    let draining = core.draining.is_cancelled();
    let queued = core.queued.load(Ordering::Relaxed);
    // Waiting threads go first.
    if core.room_for(namespace) > 0 && queued == 0 && !draining {
        return Ok(true);
    }
    if queued >= core.parts.settings.max_queued {
        return Err(RuntimeError::QueueFull { retry_after: RETRY_AFTER });
    }
    Ok(false)
}

fn first_write(
    core: &Core,
    invoke: &Invoke,
    source: &Source,
    (state, events): (&ThreadState, &[Event]),
    fingerprint: &Fingerprint,
) -> Result<Start, RuntimeError> {
    let plan = &source.plan;
    let labels = labels(&state.metadata);
    let ahead = i64::from(invoke.request.priority.unwrap_or(0).max(0)) * 1_000;
    let due = crate::model::Timestamp::from_millis(state.created_at.millis() - ahead);
    Ok(Start {
        thread_id: state.thread_id.clone(),
        workflow: plan.name.clone(),
        workflow_version: source.version,
        definition: plan.hash.clone(),
        definition_text: (!core.plans.is_stored(&plan.hash)).then(|| plan.text.clone()),
        request_hash: fingerprint.thread_hash.clone(),
        metadata: state.metadata.clone(),
        labels,
        idempotency: invoke.idempotency_key.clone().zip(fingerprint.key_hash.clone()).map(
            |(key, request_hash)| IdempotencyKey {
                key: IdempotencyKey::scoped(&invoke.namespace, &key),
                request_hash,
            },
        ),
        records: records(&state.thread_id, events).ok_or(RuntimeError::Internal)?,
        more: Vec::new(),
        summary: summary(state),
        disposition: if state.status == ThreadStatus::Queued {
            // A priority above 0 counts as seconds of waiting: no thread starves, with a single
            // queue.
            Disposition::Release { wake_at: Some(due) }
        } else {
            Disposition::Keep
        },
        sides: core.notices.wanted((&state.thread_id, &plan.name), events),
    })
}

/// Writes and drives in a task of its own, so that a durable thread has its driver even if the
/// caller goes away.
async fn launch(
    core: &Arc<Core>,
    state: ThreadState,
    begun: Decided,
    write: Start,
) -> Result<Made, RuntimeError> {
    let (reply, answer) = oneshot::channel();
    let authority = core.authority();
    let (status, last_seq) = (state.status, state.last_seq);
    let thread = state.thread_id.clone();
    let plan = Arc::clone(&state.plan);
    let Some(mut driver) = Driver::new(Arc::clone(core), Arc::clone(&authority), state, 1) else {
        return other_start(core, &thread).await;
    };
    driver.unfinished = begun.unfinished;
    let task_core = Arc::clone(core);
    core.tasks.spawn(async move {
        let core = task_core;
        let committed = write_start(&core, write, &driver.state.plan, authority).await;
        let started = matches!(committed, Committed::Answered(WriteOutcome::Written { .. }));
        if matches!(committed, Committed::Refused(_)) {
            // An earlier try whose answer was lost may have written it.
            core.doubt.store(true, Ordering::Release);
        }
        if started {
            crate::runtime::drive::count::count(&core.parts.metrics, &driver.state, &begun.events);
        }
        // The caller may have gone away; the thread runs all the same.
        drop(reply.send(committed));
        if started {
            let driver = driver.run(begun.effects, None);
            supervise(&core, (thread, Activity::Drive), driver).await;
        }
    });
    let committed = patiently(async { Ok(answer.await.unwrap_or(Committed::Lost)) }).await?;
    match made(committed)? {
        None => {
            core.plans.put_stored(plan);
            Ok(Made::Started { status, last_seq })
        }
        Some(other) => Ok(other),
    }
}

/// Waits until another start of this thread on this replica is durable or has failed.
pub(in crate::runtime) async fn other_start(
    core: &Core,
    thread: &ThreadId,
) -> Result<Made, RuntimeError> {
    patiently(async {
        while core.driven.is_at_work(thread) && core.store().thread(thread).await?.is_none() {
            tokio::time::sleep(OTHER_START_CHECK).await;
        }
        Ok(Made::ThreadExists)
    })
    .await
}

/// Writes a new thread to the queue of due threads.
pub(in crate::runtime) async fn enqueue(
    core: &Arc<Core>,
    write: Start,
    plan: &Arc<Plan>,
) -> Result<Made, RuntimeError> {
    let last_seq = write.newest().last();
    let committed = patiently(async { Ok(write_start(core, write, plan, core.authority()).await) });
    match made(committed.await?)? {
        None => {
            core.plans.put_stored(Arc::clone(plan));
            core.count_queued();
            core.parts.metrics.threads_started.inc();
            core.nudge.notify_one();
            core.feed.hints.work();
            Ok(Made::Started { status: ThreadStatus::Queued, last_seq })
        }
        Some(other) => Ok(other),
    }
}

/// Writes a start. If the store has lost a definition that it had (a database restored from a
/// backup, a failover), the start is sent again with the text.
async fn write_start(
    core: &Core,
    write: Start,
    plan: &Plan,
    authority: Arc<Authority>,
) -> Committed {
    let name: Arc<str> = Arc::from(plan.name.as_str());
    let write = Write::Start(Box::new(write));
    let committed = core.writer.commit(write, Arc::clone(&name), Arc::clone(&authority)).await;
    let Committed::DefinitionMissing(mut start) = committed else { return committed };
    tracing::warn!(definition = plan.hash, "the store has lost a definition; it is sent again");
    core.plans.forget_stored(&plan.hash);
    start.definition_text = Some(plan.text.clone());
    core.writer.commit(Write::Start(start), name, authority).await
}

fn made(committed: Committed) -> Result<Option<Made>, RuntimeError> {
    match committed {
        Committed::Answered(WriteOutcome::Written { .. }) => Ok(None),
        Committed::Answered(WriteOutcome::ThreadExists) => Ok(Some(Made::ThreadExists)),
        Committed::Answered(WriteOutcome::KeyExists) => Ok(Some(Made::KeyExists)),
        Committed::Answered(WriteOutcome::Fenced | WriteOutcome::Busy) | Committed::Lost => {
            Err(unavailable("this replica has lost its lease before the start was durable"))
        }
        // A start that brings the text cannot lack the definition.
        Committed::DefinitionMissing(_)
        | Committed::Answered(WriteOutcome::DefinitionMissing | WriteOutcome::Refused) => {
            Err(RuntimeError::Internal)
        }
        Committed::Refused(error) => Err(error.into()),
    }
}

pub(in crate::runtime) fn generated(
    core: &Core,
    namespace: &Namespace,
) -> Result<ThreadId, RuntimeError> {
    let id = core.parts.entropy.uuid(core.parts.clock.now());
    ThreadId::within(namespace, &id.to_string()).map_err(|_| RuntimeError::Internal)
}

fn empty_object() -> Json {
    Json::trusted("{}".to_owned()).unwrap_or_else(|_| Json::null())
}
