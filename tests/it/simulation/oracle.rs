//! The verdict on a world: checks the result of every client's thread.

use std::collections::BTreeMap;
use std::sync::Arc;

use rethread::definition::{Plan as CheckedPlan, StepIx};
use rethread::machine::ThreadState;
use rethread::model::{Event, EventBody, Json, Pointer, StepStatus, ThreadId, ThreadStatus};
use rethread::runtime::Handle;
use rethread::store::{Recoveries as _, Threads as _};
use serde_json::Value;

use super::client::Client;
use super::workflow::{Drawn, End, Fallback, Mood, Step, Work};
use super::world::World;

/// Reports each client: time is up, and a thread or a client has not ended.
pub(super) async fn stuck(world: &World, clients: &[Arc<Client>]) {
    for client in clients {
        let (thread, ended) = {
            let memory = client.memory();
            (memory.thread.clone(), memory.ended)
        };
        let mut row = None;
        if let Some(thread) = &thread {
            row = world.store.thread(thread).await.unwrap();
        }
        world.violated(format!("stuck? client {} {ended:?}: {row:#?}", client.number));
    }
}

/// Checks every promise against the result of every thread.
pub(super) async fn judge(world: &World, clients: &[Arc<Client>], handle: &Handle) {
    for client in clients {
        if let Err(fault) = judge_one(world, client, handle).await {
            world.violated(format!("client {}: {fault}", client.number));
        }
    }
    let made = world.audit().threads.len();
    if made != clients.len() {
        world.violated(format!("{made} threads for {} clients", clients.len()));
    }
}

async fn judge_one(world: &World, client: &Client, handle: &Handle) -> Result<(), String> {
    let thread = client.memory().thread.clone().ok_or("was never accepted")?;
    let (events, resumes) = {
        let audit = world.audit();
        let journal = audit.threads.get(&thread).ok_or("its thread is lost")?;
        (journal.events.clone(), journal.resumes)
    };
    let seen_end = seen(client, &events)?;
    let page = handle.events(&thread, 0, events.len() + 1).await.map_err(|e| e.to_string())?;
    let served: Vec<&str> = page.events.iter().map(|event| event.json.as_str()).collect();
    need(served == events, "the events served are not those that became durable")?;
    need(page.ended, "its thread has not ended")?;

    let state = fold(&client.plan.drawn, &thread, &events)?;
    let shown = handle.status(&thread, None).await.map_err(|error| error.to_string())?;
    need(shown == state.document(None), "the status is not the fold of the journal")?;
    need(seen_end == Some(state.status), "its thread has another end than its client was told")?;

    let drawn = &client.plan.drawn;
    match state.status {
        ThreadStatus::Completed => completed(world, drawn, &state)?,
        ThreadStatus::Failed => {
            failed(client, &state, resumes)?;
            undone(world, drawn, &state)?;
        }
        ThreadStatus::Aborted => need(client.may_have_aborted(), "nobody has aborted it")?,
        other @ (ThreadStatus::Queued
        | ThreadStatus::Running
        | ThreadStatus::Paused
        | ThreadStatus::Compensating) => return Err(format!("its thread is {other:?}")),
    }
    recoveries(world, &thread).await?;
    let must = client.plan.must_complete();
    need(!must || state.status == ThreadStatus::Completed, "its thread did not complete")
}

/// Returns the end that the client was told of, after checking that its follower saw every event.
fn seen(client: &Client, events: &[String]) -> Result<Option<ThreadStatus>, String> {
    let memory = client.memory();
    let same = memory.shown.iter().zip(events).take_while(|(shown, made)| shown == made).count();
    let (shown, made) = (memory.shown.len(), events.len());
    if same < shown.max(made) {
        return Err(format!("its follower saw {shown} events, of {made} only {same} the same"));
    }
    Ok(memory.ended)
}

/// Checks that every loss in the journal is among the thread's recoveries.
async fn recoveries(world: &World, thread: &ThreadId) -> Result<(), String> {
    let losses = world.audit().losses_to_be_recorded(thread);
    let rows = world.store.recoveries(thread, None, usize::MAX).await.unwrap();
    for (cause, from) in losses {
        let known = rows.iter().any(|row| row.previous_owner == from && row.cause == cause);
        need(known, &format!("its loss with {from} ({cause:?}) is not among its recoveries"))?;
    }
    Ok(())
}

fn need(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

fn fold(drawn: &Drawn, thread: &ThreadId, events: &[String]) -> Result<ThreadState, String> {
    let workflow = Json::of(&drawn.json()).map_err(|fault| fault.to_string())?;
    let plan = CheckedPlan::parse(&workflow, &Pointer::root()).map_err(|f| format!("{f:?}"))?;
    let mut decoded = events.iter().map(|text| Event::decode(text));
    let first = decoded.next().ok_or("no event")?.map_err(|fault| fault.to_string())?;
    let mut state = ThreadState::first(thread.clone(), Arc::new(plan), &first).ok_or("no start")?;
    let mut completions: BTreeMap<StepIx, u32> = BTreeMap::new();
    let mut undone = Vec::new();
    for event in decoded {
        let event = event.map_err(|fault| fault.to_string())?;
        state.apply(&event);
        if let EventBody::CompensationComplete(fact) = &event.body {
            let at = state.plan.find(fact.step.as_str()).ok_or("an unknown step")?;
            need(completions.remove(&at) == Some(1), "what was undone had not completed once")?;
            undone.push(at);
        }
        if matches!(event.body, EventBody::WorkflowResumed(_))
            && state.compensation_reason.is_none()
        {
            for at in undone.drain(..).flat_map(|at| state.plan.after(at)) {
                completions.remove(&at);
            }
        }
        if let EventBody::StepComplete(fact) = &event.body {
            let at = state.plan.find(fact.step.as_str()).ok_or("an unknown step")?;
            *completions.entry(at).or_default() += 1;
        }
        if let EventBody::StepStart(fact) = &event.body {
            let at = state.plan.find(fact.step.as_str()).ok_or("an unknown step")?;
            let places: Vec<StepIx> = state.plan.steps.places().collect();
            let ended = |need: &usize| state.steps[places[*need]].status().is_terminal();
            need(drawn.steps[at.get()].needs.iter().all(ended), "a step started before its time")?;
        }
    }
    for (at, step) in state.steps.placed() {
        let times = completions.get(&at).copied().unwrap_or(0);
        let once = u32::from(step.status() == StepStatus::Completed);
        need(times == once, "a step has not completed exactly once")?;
    }
    Ok(state)
}

fn completed(world: &World, drawn: &Drawn, state: &ThreadState) -> Result<(), String> {
    need(drawn.can_complete(), "it cannot have completed")?;
    for ((at, end), step) in drawn.ends().into_iter().enumerate().zip(&state.steps) {
        let output = step.output.as_ref().map(|output| output.as_str().to_owned());
        let fits = match end {
            End::Slept => step.status() == StepStatus::Completed,
            End::Value(value) => output == Some(format!("{{\"value\":{value}}}")),
            End::Failed => step.status() == StepStatus::Failed && output.is_none(),
            End::Skipped => step.status() == StepStatus::Skipped && output.is_none(),
        };
        need(fits, &format!("s{at} should have come to {end:?}, not {step:?}"))?;
        let key = format!("{}/s{at}", state.thread_id);
        let effects = world.audit().effects.get(&key).copied().unwrap_or(0);
        let wanted = matches!(end, End::Value(_) | End::Failed);
        need((effects > 0) == wanted, &format!("{key} has had {effects} effects"))?;
        let stand_ins = world.audit().effects.get(&format!("{key}/fallback")).copied().unwrap_or(0);
        let called = drawn.steps[at].fallback == Some(Fallback::Call) && end != End::Skipped;
        need((stand_ins > 0) == called, &format!("{key} has had {stand_ins} stand-ins"))?;
        let tried = effects + stand_ins;
        need(tried <= step.own.attempts, &format!("{key}: more effects than attempts"))?;
        let by_fallback = drawn.steps[at].fallback.is_some() && end != End::Skipped;
        need(step.fallback == by_fallback, &format!("{key} does not say whose output it has"))?;
    }
    if let Some(expected) = drawn.output() {
        let output = state.output.as_ref().ok_or("no output")?;
        let output: Value = output.decode().map_err(|fault| fault.to_string())?;
        need(output == expected, &format!("its output is {output}, not {expected}"))?;
    }
    Ok(())
}

/// Returns whether a step can never be compensated.
fn stays(step: &Step) -> bool {
    step.compensate.as_ref().is_some_and(|script| matches!(script.mood, Mood::Doomed))
}

/// Checks that every step of a failed thread is compensated that can be.
fn undone(world: &World, drawn: &Drawn, state: &ThreadState) -> Result<(), String> {
    for (at, (step, drawn)) in state.steps.iter().zip(&drawn.steps).enumerate() {
        let stood_in = drawn.fallback == Some(Fallback::Output);
        let undoable = drawn.compensate.is_some() && !stood_in;
        let left = step.status() == StepStatus::Completed && undoable;
        need(!left || stays(drawn), &format!("s{at} is not undone"))?;
        if step.status() == StepStatus::Compensated {
            need(undoable && !stays(drawn), &format!("s{at} cannot be undone"))?;
            let round = if step.compensation_epoch == 0 {
                String::new()
            } else {
                format!("/{}", step.compensation_epoch + 1)
            };
            let key = format!("{}/s{at}{round}/compensate", state.thread_id);
            let effects = world.audit().effects.get(&key).copied().unwrap_or(0);
            need(
                effects > 0 && effects <= step.compensation.attempts,
                &format!("{key}: {effects} effects"),
            )?;
        }
    }
    Ok(())
}

/// Checks that a thread has failed only by a step that is meant to fail.
fn failed(client: &Client, state: &ThreadState, resumes: u32) -> Result<(), String> {
    let drawn = &client.plan.drawn;
    let failure = state.error.as_ref().ok_or("no error")?;
    let step = failure.step_id.as_ref().ok_or("no step")?;
    let at = state.plan.find(step.as_str()).ok_or("an unknown step")?.get();
    if failure.code == "compensation_failed" {
        need(client.plan.may_abort() && stays(&drawn.steps[at]), "it could have been undone")?;
        return Ok(());
    }
    let fails = match &drawn.steps[at] {
        Step { goes_on: true, .. } | Step { work: Work::Sleep(_), .. } => false,
        Step { work: Work::Http(script), .. } => match script.mood {
            Mood::Flaky(_) | Mood::Poison(_) => false,
            Mood::Broken(heals_at) => resumes < heals_at,
            Mood::Doomed => drawn.steps[at].fallback.is_none(),
        },
    };
    need(fails, &format!("{step} should not have failed: {failure:?}"))
}
