//! Judges claimed threads that were lost before, and has them wait for their turn, trial or control.
//! The dispatcher has all threads of a claim judged at once; adoptions wait.
//!
//! That a thread is about to be loaded is written before it is: should its process die, the next one
//! knows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::bench::{Seat, row};
use super::suspicion::{Evidence, Suspicion, Verdict, WINDOW};
use crate::machine::Request;
use crate::model::{Incarnation, ThreadId, Timestamp, signed_millis};
use crate::runtime::core::Core;
use crate::runtime::drive::inbox::MessageBody;
use crate::runtime::lease::authority::Authority;
use crate::runtime::settings::POLL_INTERVAL;
use crate::store::{Claimed, StoreError};

/// The time between two signs of life of a replica that has started suspects, and between two looks
/// at them.
const BEAT: Duration = Duration::from_millis(250);

/// A suspect that was judged.
#[derive(Debug)]
pub(in crate::runtime) struct Case {
    pub(super) suspicion: Suspicion,
    verdict: Verdict,
    peers: usize,
}

/// A suspect that may be loaded, and how.
#[derive(Debug)]
pub(super) enum Admitted {
    /// To be driven.
    Driven(Seat),
    /// To be paused: this many replicas were lost with it.
    Paused(Seat, u32),
    /// To be paused without being loaded: a process that was about to pause it was lost, too.
    Unread(u32),
}

/// Judges those of the claimed threads that were lost before; the others are not in the answer.
/// Waits for the store: without the evidence, a thread that kills would be driven once too often.
pub(in crate::runtime) async fn judge_all(
    core: &Core,
    authority: &Authority,
    claimed: &[Claimed],
) -> BTreeMap<ThreadId, Case> {
    let lost: Vec<&Claimed> = claimed.iter().filter(|claimed| claimed.claims > 0).collect();
    if lost.is_empty() {
        return BTreeMap::new();
    }
    core.bench.belong_to(authority.incarnation);
    let judged = persistently(core, authority, || judge_lost(core, authority, &lost)).await;
    judged.unwrap_or_default()
}

async fn judge_lost(
    core: &Core,
    authority: &Authority,
    lost: &[&Claimed],
) -> Result<BTreeMap<ThreadId, Case>, StoreError> {
    let ids: Vec<ThreadId> = lost.iter().map(|claimed| claimed.thread_id.clone()).collect();
    let rows = core.store().suspects(&ids).await?;
    let known: BTreeMap<_, Suspicion> = rows
        .into_iter()
        .filter_map(|row| Some((row.thread_id.clone(), row.body.decode().ok()?)))
        .collect();
    let deaths = deaths(core).await?;
    let mut cases = BTreeMap::new();
    for claimed in lost {
        // A first loss since it got on: what is known is older.
        let is_first = claimed.previous_owner != 0 && claimed.claims == 1;
        let known = known.get(&claimed.thread_id).filter(|_| !is_first).cloned();
        let mut suspicion = known.unwrap_or_default();
        let evidence = evidence(core, authority, &deaths);
        suspicion.judge(claimed.previous_owner, evidence);
        if suspicion.unloadable && claimed.previous_owner == 0 && claimed.mail > 0 {
            suspicion.try_again();
        }
        let (verdict, peers) =
            decide(core, authority, (&claimed.thread_id, &mut suspicion), &deaths).await?;
        if verdict == Verdict::Go {
            suspicion.expose(authority.incarnation, now(core), false);
        }
        cases.insert(claimed.thread_id.clone(), Case { suspicion, verdict, peers });
    }
    let rows: Vec<_> =
        cases.iter().filter_map(|(thread, case)| row(thread, &case.suspicion)).collect();
    core.store().keep_suspects(&rows).await?;
    Ok(cases)
}

/// Returns the verdict on a thread, and how many there are like it.
async fn decide(
    core: &Core,
    authority: &Authority,
    (thread, suspicion): (&ThreadId, &mut Suspicion),
    deaths: &[(Incarnation, u64)],
) -> Result<(Verdict, usize), StoreError> {
    let limit = core.parts.settings.max_recoveries;
    let evidence = evidence(core, authority, deaths);
    let set = (suspicion.lost_with, suspicion.points);
    let known = core.bench.peers(set);
    if let Some(peers) = known.filter(|_| suspicion.trials.is_empty()) {
        return Ok((suspicion.verdict((peers, &[]), limit, evidence), peers));
    }
    if !suspicion.needs_others() {
        return Ok((suspicion.verdict((1, &[]), limit, evidence), 1));
    }
    let rows = core.store().suspects_of(suspicion.lost_with).await?;
    let beside: Vec<Suspicion> = rows
        .iter()
        .filter(|row| row.thread_id != *thread)
        .filter_map(|row| row.body.decode().ok())
        .collect();
    let peers = known.unwrap_or_else(|| suspicion.peers(&beside));
    core.bench.count_peers(set, peers);
    Ok((suspicion.verdict((peers, &beside), limit, evidence), peers))
}

async fn deaths(core: &Core) -> Result<Vec<(Incarnation, u64)>, StoreError> {
    let window = Duration::from_millis(WINDOW);
    let since = core.parts.clock.now().millis().saturating_sub(signed_millis(window));
    let deaths = core.store().deaths(Timestamp::from_millis(since)).await?;
    let seen = |at: Timestamp| u64::try_from(at.millis()).unwrap_or(0);
    Ok(deaths.iter().map(|death| (death.incarnation, seen(death.seen_at))).collect())
}

fn evidence<'a>(
    core: &Core,
    authority: &Authority,
    deaths: &'a [(Incarnation, u64)],
) -> Evidence<'a> {
    Evidence {
        deaths,
        now: now(core),
        beat: crate::model::millis(BEAT),
        judge: authority.incarnation,
        unit: core.parts.entropy.unit(),
    }
}

/// Returns the time as evidence has it.
pub(in crate::runtime) fn now(core: &Core) -> u64 {
    u64::try_from(core.parts.clock.now().millis()).unwrap_or(0)
}

/// Has a judged thread wait as long as it must, and notes that it is about to be loaded; `None` if
/// this replica must drop it.
pub(super) async fn admit(
    core: &Core,
    authority: &Authority,
    (claimed, case): (&Claimed, Case),
) -> Option<Admitted> {
    let thread = &claimed.thread_id;
    let Case { mut suspicion, mut verdict, mut peers } = case;
    loop {
        let alone = match verdict {
            Verdict::Turn => {
                turn(core, authority, (thread, &mut suspicion, peers)).await?;
                false
            }
            Verdict::Trial => trial(core, authority, (thread, &mut suspicion)).await?,
            Verdict::Control(until) => {
                core.bench.arrange(|turns| turns.control(until, suspicion.points));
                suspicion.wait(now(core));
                let place = core.bench.wait(thread, (suspicion.losses, None));
                if rest(core, authority, (thread, &place), until).await? {
                    let judged = persistently(core, authority, || async {
                        let deaths = deaths(core).await?;
                        let mut judged = suspicion.clone();
                        judged.judge(0, evidence(core, authority, &deaths));
                        let decided = decide(core, authority, (thread, &mut judged), &deaths);
                        let (verdict, peers) = decided.await?;
                        Ok((judged, verdict, peers))
                    });
                    (suspicion, verdict, peers) = judged.await?;
                    continue;
                }
                false
            }
            Verdict::Pause if suspicion.unloadable => {
                return Some(Admitted::Unread(suspicion.losses));
            }
            Verdict::Go | Verdict::Pause => false,
        };
        let now = now(core);
        if suspicion.exposed.is_none() {
            suspicion.expose(authority.incarnation, now, alone);
            let kept = persistently(core, authority, || async {
                let rows: Vec<_> = row(thread, &suspicion).into_iter().collect();
                core.store().keep_suspects(&rows).await
            });
            kept.await?;
        }
        let losses = suspicion.losses;
        let seat = core.bench.seat(thread, (suspicion, now));
        return Some(match verdict {
            Verdict::Pause => Admitted::Paused(seat, losses),
            Verdict::Go | Verdict::Turn | Verdict::Trial | Verdict::Control(_) => {
                Admitted::Driven(seat)
            }
        });
    }
}

/// Waits for the thread's turn.
async fn turn(
    core: &Core,
    authority: &Authority,
    (thread, suspicion, peers): (&ThreadId, &mut Suspicion, usize),
) -> Option<()> {
    let began = now(core);
    let latest = began.saturating_add(suspicion.wait(began));
    let set = (suspicion.lost_with, suspicion.points);
    let mut next = core.bench.arrange(|turns| turns.turn(set, peers, began));
    let place = core.bench.wait(thread, (suspicion.losses, None));
    while rest(core, authority, (thread, &place), next.min(latest)).await? {
        match core.bench.arrange(|turns| turns.start(now(core))) {
            Some(again) if now(core) < latest => next = again,
            _ => break,
        }
    }
    Some(())
}

/// Waits for the thread's trial; returns whether it is alone.
async fn trial(
    core: &Core,
    authority: &Authority,
    (thread, suspicion): (&ThreadId, &mut Suspicion),
) -> Option<bool> {
    let began = now(core);
    let latest = began.saturating_add(suspicion.wait(began));
    let (points, age) = (suspicion.points, suspicion.age);
    let place = core.bench.wait(thread, (suspicion.losses, Some(points)));
    loop {
        match core.bench.arrange(|turns| turns.try_alone(points, age, now(core))) {
            Ok(start) => return rest(core, authority, (thread, &place), start).await,
            Err(again) => {
                let again = again.min(latest);
                if now(core) >= latest || !rest(core, authority, (thread, &place), again).await? {
                    return Some(false);
                }
            }
        }
    }
}

/// Waits until then, and returns `true`; `false` as soon as a person asks for something, and `None`
/// if this replica must drop the thread.
async fn rest(
    core: &Core,
    authority: &Authority,
    (thread, place): (&ThreadId, &super::bench::Place),
    until: u64,
) -> Option<bool> {
    loop {
        let left = Duration::from_millis(until.saturating_sub(now(core)));
        if left.is_zero() {
            return Some(true);
        }
        tokio::select! {
            biased;
            () = authority.lost() => return None,
            () = core.draining.cancelled() => return None,
            () = place.woken() => {
                if is_asked_for(core, thread).await {
                    return Some(false);
                }
            }
            () = tokio::time::sleep(left) => return Some(true),
        }
    }
}

/// Returns whether the thread's inbox has a request that is not a signal: of a person who wants
/// something of the thread now.
async fn is_asked_for(core: &Core, thread: &ThreadId) -> bool {
    let inbox = core.store().inbox(thread).await.unwrap_or_default();
    inbox.iter().any(|message| match message.body.decode::<MessageBody>() {
        Ok(MessageBody::Request { request, .. }) => !matches!(request, Request::Signal { .. }),
        Ok(MessageBody::Stood(_)) => true,
        Err(_unreadable) => false,
    })
}

/// Repeats a call until the store answers; `None` if this replica must drop its threads.
async fn persistently<T, F>(
    core: &Core,
    authority: &Authority,
    mut ask: impl FnMut() -> F,
) -> Option<T>
where
    F: Future<Output = Result<T, StoreError>>,
{
    loop {
        match ask().await {
            Ok(answer) => return Some(answer),
            Err(error) => core.availability.failed("the judgement of suspects", &error),
        }
        tokio::select! {
            biased;
            () = authority.lost() => return None,
            () = core.stopped.cancelled() => return None,
            () = tokio::time::sleep(POLL_INTERVAL) => {}
        }
    }
}

/// Writes what changes on the bench, and shows that this process lives while it has suspects.
pub(in crate::runtime) async fn run(core: Arc<Core>) {
    let next = async || {
        core.bench.busy().await;
        tokio::time::sleep(BEAT).await;
    };
    while core.stopped.run_until_cancelled(next()).await.is_some() {
        let authority = core.authority();
        if !authority.holds() {
            continue;
        }
        core.bench.belong_to(authority.incarnation);
        let changes = core.bench.changes(now(&core));
        let store = core.store();
        if changes.watched {
            let renewed = store.renew(authority.incarnation, core.parts.settings.lease);
            drop(tokio::time::timeout(BEAT, renewed).await);
        }
        if !changes.kept.is_empty()
            && let Err(error) = store.keep_suspects(&changes.kept).await
        {
            core.availability.failed("the record of suspects", &error);
        }
        if !changes.forgotten.is_empty()
            && let Err(error) = store.forget_suspects(&changes.forgotten).await
        {
            core.availability.failed("the removal of suspects", &error);
        }
    }
}
