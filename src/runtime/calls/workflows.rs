//! Stored, versioned workflows, and plans for workflows given in a request.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::patience::{listed, patiently, persistently};
use super::storage::takes_new;
use crate::contract::{Page, StoredName, StoredWorkflow, WorkflowCheck, WorkflowSource};
use crate::definition::{Plan, TakesLong};
use crate::model::{Faults, Json, Namespace, Pointer, hex};
use crate::observe::Pool;
use crate::runtime::core::Core;
use crate::runtime::drive::aside::Refused;
use crate::runtime::drive::load;
use crate::runtime::settings::RETRY_AFTER;
use crate::runtime::types::RuntimeError;
use crate::store::{Store, WorkflowRow};

/// About how many bytes of memory one byte of a workflow's text takes while it is checked.
const CHECK_WEIGHT: usize = 16;

/// The workflow that an invoke is to run.
#[derive(Debug)]
pub(in crate::runtime) struct Source {
    pub(in crate::runtime) plan: Arc<Plan>,
    /// The version of a stored workflow.
    pub(in crate::runtime) version: Option<u32>,
}

/// Returns the checked plan of the workflow that a request of a namespace names or contains.
pub(in crate::runtime) async fn resolve(
    core: &Core,
    namespace: &Namespace,
    source: &WorkflowSource,
) -> Result<Source, RuntimeError> {
    match source {
        WorkflowSource::Inline(json) => {
            let at = Pointer::root().key("workflow");
            let plan = plan_of(core, namespace, json, &at).await?;
            allowed(core, &plan, &at)?;
            Ok(Source { plan, version: None })
        }
        WorkflowSource::Stored(named) => {
            let row = find((core, core.store()), namespace, named).await?;
            let plan = persistently(core, || async {
                Ok(load::plan(core, namespace, &row.definition).await?)
            });
            let plan = plan.await?;
            allowed(core, &plan, &Pointer::root().key("workflow"))?;
            Ok(Source { plan, version: Some(row.version) })
        }
    }
}

/// Parses a workflow, or finds its plan in the cache, and keeps it for the next time.
async fn plan_of(
    core: &Core,
    namespace: &Namespace,
    json: &Json,
    at: &Pointer,
) -> Result<Arc<Plan>, RuntimeError> {
    let plan = looked_at(core, namespace, json, at).await?;
    core.plans.put(Arc::clone(&plan));
    Ok(plan)
}

/// Parses a workflow, or finds its plan in the cache. A new plan is not kept: nothing says that
/// anybody will run it. A plan heavier than the cache keeps is refused: it would be parsed anew
/// each time that anybody looks at a thread of it.
async fn looked_at(
    core: &Core,
    namespace: &Namespace,
    json: &Json,
    at: &Pointer,
) -> Result<Arc<Plan>, RuntimeError> {
    let hash = hex(&Sha256::digest(json.as_str().as_bytes()));
    if let Some(plan) = core.plans.get(&hash) {
        return Ok(plan);
    }
    let most = core.plans.largest();
    let check = || {
        let about = json.as_str().len().saturating_mul(CHECK_WEIGHT).min(most);
        let _held = core.parts.memory.note(Pool::Requests, about);
        Plan::check(json, at, most)
    };
    let parsed = core.aside.try_run(namespace, check).await.map_err(not_now)?;
    Ok(Arc::new(parsed.map_err(RuntimeError::Invalid)?))
}

fn not_now(refused: Refused) -> RuntimeError {
    match refused {
        Refused::Crowded => RuntimeError::QueueFull { retry_after: RETRY_AFTER },
        Refused::NoThread(why) => {
            tracing::warn!(%why, "a request is refused");
            RuntimeError::Overloaded { retry_after: RETRY_AFTER }
        }
    }
}

/// Refuses programs that are not on the allow-list, and variables that are not passed on.
fn allowed(core: &Core, plan: &Plan, at: &Pointer) -> Result<(), RuntimeError> {
    let mut faults = Faults::default();
    for (place, program) in plan.programs(at) {
        if !core.parts.settings.exec_allow.iter().any(|allowed| allowed == program) {
            let detail =
                format!("{program:?} is not on this server's allow-list (RETHREAD_EXEC_ALLOW)");
            faults.add(&place, detail);
        }
    }
    if !faults.is_empty() {
        return Err(RuntimeError::ExecNotAllowed(faults.into_vec()));
    }
    for (place, program, name) in plan.variables(at) {
        if let Some(detail) = core.parts.settings.exec_env.refusal(program, name) {
            faults.add(&place, detail);
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(RuntimeError::Invalid(faults.into_vec())) }
}

/// Checks an input's size, and the input against the workflow's schema.
pub(in crate::runtime) async fn check_input(
    core: &Core,
    namespace: &Namespace,
    (plan, input): (&Plan, &Json),
) -> Result<(), RuntimeError> {
    let at = Pointer::root().key("input");
    let (size, limit) = (input.as_str().len(), core.parts.settings.max_event);
    if size > limit {
        return Err(RuntimeError::TooLarge { size, limit });
    }
    let Some(schema) = &plan.input_schema else { return Ok(()) };
    let mut faults = Faults::default();
    if let Err(TakesLong) = schema.check_inline(input, &at, &mut faults) {
        let checked = core.aside.try_run(namespace, || schema.check(input, &at, &mut faults)).await;
        checked.map_err(not_now)?;
    }
    if faults.is_empty() { Ok(()) } else { Err(RuntimeError::Invalid(faults.into_vec())) }
}

/// Checks without storing; see `Handle::validate`.
pub(in crate::runtime) async fn validate(
    core: &Core,
    namespace: &Namespace,
    check: &WorkflowCheck,
) -> Result<Arc<Plan>, RuntimeError> {
    let WorkflowCheck { workflow, input, at } = check;
    let plan = looked_at(core, namespace, workflow, at).await?;
    let mut faults = Faults::default();
    if let Err(RuntimeError::ExecNotAllowed(found) | RuntimeError::Invalid(found)) =
        allowed(core, &plan, at)
    {
        faults.extend(found);
    }
    let checked = match input {
        Some(input) => check_input(core, namespace, (&plan, input)).await,
        None => Ok(()),
    };
    match checked {
        Err(RuntimeError::Invalid(more)) => faults.extend(more),
        Err(too_large @ RuntimeError::TooLarge { .. }) => {
            faults.add(&Pointer::root().key("input"), too_large.to_string());
        }
        Err(error) => return Err(error),
        Ok(()) => {}
    }
    if faults.is_empty() { Ok(plan) } else { Err(RuntimeError::Invalid(faults.into_vec())) }
}

/// Stores a workflow; the body of the request is the workflow itself.
pub(in crate::runtime) async fn save(
    core: &Core,
    namespace: &Namespace,
    workflow: &Json,
) -> Result<(StoredWorkflow, bool), RuntimeError> {
    let at = Pointer::root();
    let plan = plan_of(core, namespace, workflow, &at).await?;
    allowed(core, &plan, &at)?;
    takes_new(core)?;
    let now = core.parts.clock.now();
    let name = namespace.key(&plan.name);
    let saved = persistently(core, || async {
        Ok(core.store().save_workflow(&name, &plan.hash, &plan.text, now).await?)
    });
    let (row, created) = saved.await?;
    core.plans.put_stored(Arc::clone(&plan));
    Ok((shown(row, Some(workflow.clone())), created))
}

/// Returns a stored workflow with its definition.
pub(in crate::runtime) async fn get(
    core: &Core,
    namespace: &Namespace,
    named: &StoredName,
) -> Result<StoredWorkflow, RuntimeError> {
    let (row, text) = patiently(async {
        let _place = core.shown.place(namespace).await?;
        let store = core.shown.store();
        let row = find((core, store), namespace, named).await?;
        let text = persistently(core, || async { Ok(store.definition(&row.definition).await?) });
        let text = text.await?;
        Ok((row, text))
    })
    .await?;
    let text = text.ok_or(RuntimeError::Internal)?;
    let json = Json::trusted(text).map_err(|_| RuntimeError::Internal)?;
    Ok(shown(row, Some(json)))
}

async fn find(
    (core, store): (&Core, &dyn Store),
    namespace: &Namespace,
    named: &StoredName,
) -> Result<WorkflowRow, RuntimeError> {
    let StoredName { name, version } = named;
    // A name has no slash; with one it might be the key of another namespace's workflow.
    if name.contains('/') {
        return Err(RuntimeError::WorkflowNotFound);
    }
    let key = namespace.key(name);
    let row = persistently(core, || async { Ok(store.workflow(&key, *version).await?) }).await?;
    row.ok_or(RuntimeError::WorkflowNotFound)
}

/// Lists stored workflows by name.
pub(in crate::runtime) async fn list(
    core: &Core,
    namespace: &Namespace,
    cursor: Option<&str>,
    limit: usize,
) -> Result<Page<StoredWorkflow>, RuntimeError> {
    let after = cursor.map(|cursor| namespace.key(cursor));
    let look =
        || async { Ok(core.store().workflows(namespace, after.as_deref(), limit + 1).await?) };
    let rows = listed(core, namespace, look).await?;
    let page = Page::cut(rows, limit, |last| Namespace::split(&last.name).1.to_owned());
    Ok(page.map(|row| shown(row, None)))
}

fn shown(row: WorkflowRow, workflow: Option<Json>) -> StoredWorkflow {
    StoredWorkflow {
        name: Namespace::split(&row.name).1.to_owned(),
        version: row.version,
        hash: row.definition,
        workflow,
        created_at: row.created_at,
    }
}
