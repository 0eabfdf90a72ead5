//! Which events a load reads, how it treats bad snapshots, and which journals it refuses.

use std::time::Duration;

use serde_json::json;

use super::history::{History, resealed, snapshot_of, thread};
use super::watched::Watched;
use crate::machine::{AttemptId, snapshot::encode};
use crate::machine::{Command, Report, SNAPSHOT_VERSION, ThreadState};
use crate::model::{
    Category, EventBody, Failure, OnStep, RecoveryStrategy, Seq, StepComplete, StepId,
};
use crate::observe::Metrics;
use crate::runtime::core::Core;
use crate::runtime::drive::load::{BAD_REASONS, LoadError, Loaded, load};
use crate::store::{Snapshot, Snapshots as _, StoreError};

/// The steps of the thread of 10,000 events: ten events each, and two of the thread itself.
const STEPS: usize = 1_000;

fn bad(metrics: &Metrics) -> Vec<(&'static str, u64)> {
    let counts = BAD_REASONS.map(|reason| (reason, metrics.snapshots.bad_for(reason)));
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}

#[track_caller]
fn same(loaded: &Loaded, strategy: RecoveryStrategy, state: &ThreadState) {
    assert_eq!(loaded.strategy, strategy);
    let same = format!("{:?}", loaded.state) == format!("{state:?}");
    assert!(same, "{}\nis not\n{}", encode(&loaded.state).0, encode(state).0);
}

#[tokio::test]
async fn of_10_000_events_only_those_since_the_snapshot_are_read_and_in_time() {
    for history in
        [History::of_many_steps("steps", STEPS), History::of_many_retries("retries", 10_000)]
    {
        let (store, live) = (Watched::new(), history.live());
        assert!(live.last_seq >= 10_000);
        history.write(&store).await;
        let runtime = store.runtime(0).await;
        let core = runtime.handle().core();
        let loaded = load(&core, &live.thread_id, None).await.unwrap();
        same(&loaded, RecoveryStrategy::FullRebuild, live);
        assert_eq!(Seq::try_from(store.take_events_read()).unwrap(), live.last_seq);
        in_time(&core, live, "the whole journal").await;
        store.take_events_read();
        let known = live.last_seq - 150;
        store.save_snapshot(&snapshot_of(&history.at(known))).await.unwrap();
        let loaded = load(&core, &live.thread_id, None).await.unwrap();
        same(&loaded, RecoveryStrategy::CheckpointRestore, live);
        // The tail, and the snapshot's own event.
        assert_eq!(store.take_events_read(), 151);
        in_time(&core, live, "a snapshot").await;
    }
}

/// Checks the promised time in release builds, and in debug builds only that a load takes less than
/// ten seconds.
async fn in_time(core: &Core, live: &ThreadState, from: &str) {
    let most = Duration::from_millis(if cfg!(debug_assertions) { 10_000 } else { 100 });
    let rounds = if cfg!(debug_assertions) { 1 } else { 40 };
    let mut times = Vec::new();
    for _ in 0..rounds {
        let began = tokio::time::Instant::now();
        load(core, &live.thread_id, None).await.unwrap();
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let p95 = times[times.len() * 95 / 100];
    println!("{} from {from}: p95 {p95:?}", live.thread_id);
    assert!(p95 < most, "{} from {from}: {p95:?}", live.thread_id);
}

/// Loads a thread that has three snapshots, the newer two of them bad.
async fn with_two_bad(spoil: impl Fn(&ThreadState, Snapshot) -> Snapshot, reason: &str) {
    let history = History::of_many_steps("t", 8);
    let (store, live) = (Watched::new(), history.live());
    history.write(&store).await;
    let runtime = store.runtime(0).await;
    let core = runtime.handle().core();
    for seq in [40, 50, 60] {
        let state = history.at(seq);
        let good = snapshot_of(&state);
        let saved = if seq == 40 { good } else { spoil(&state, good) };
        store.save_snapshot(&saved).await.unwrap();
    }
    let loaded = load(&core, &live.thread_id, None).await.unwrap();
    same(&loaded, RecoveryStrategy::CheckpointRestore, live);
    assert_eq!(loaded.tail.events, live.last_seq - 40 + 1);
    assert_eq!(bad(&core.parts.metrics), [(reason, 2)]);
    // The last good one goes bad as well: the journal alone is enough.
    let last = history.at(40);
    store.save_snapshot(&spoil(&last, snapshot_of(&last))).await.unwrap();
    let loaded = load(&core, &live.thread_id, None).await.unwrap();
    same(&loaded, RecoveryStrategy::FullRebuild, live);
    assert_eq!(bad(&core.parts.metrics), [(reason, 5)]);
}

#[tokio::test]
async fn a_bad_snapshot_is_counted_and_skipped_for_an_older_one_or_the_journal() {
    with_two_bad(
        |_, good| Snapshot { state: good.state.replacen("twenty", "thirty", 1), ..good },
        "checksum",
    )
    .await;
    with_two_bad(|_, good| Snapshot { version: SNAPSHOT_VERSION + 1, ..good }, "version").await;
    let newer = |good: Snapshot| {
        let own = format!("\"version\":{SNAPSHOT_VERSION}");
        let text = good.state.replacen(&own, "\"version\":99", 1);
        resealed(good, text)
    };
    with_two_bad(|_, good| newer(good), "version").await;
    let only_version = format!("{{\"version\":{SNAPSHOT_VERSION}}}");
    with_two_bad(|_, good| resealed(good, only_version.clone()), "unreadable").await;
    with_two_bad(
        |_, good| {
            let text = good.state.replace("\"threadId\":\"t\"", "\"threadId\":\"u\"");
            resealed(good, text)
        },
        "misfit",
    )
    .await;
    with_two_bad(
        |_, good| {
            let text = good.state.replace("\"s3\"", "\"s33\"");
            resealed(good, text)
        },
        "misfit",
    )
    .await;
    with_two_bad(
        |state, good| {
            let text = good.state.replace(&state.plan.hash, "another");
            resealed(good, text)
        },
        "plan",
    )
    .await;
    with_two_bad(
        |state, good| {
            let seq = format!("\"lastSeq\":{}", state.last_seq);
            let text = good.state.replace(&seq, "\"lastSeq\":99");
            resealed(good, text)
        },
        "misfit",
    )
    .await;
}

#[tokio::test]
async fn a_snapshot_of_a_journal_that_lost_its_tail_is_not_used() {
    let history = History::of_many_steps("t", 8);
    let kept = history.clone().cut(40);
    let store = Watched::new();
    kept.write(&store).await;
    let runtime = store.runtime(0).await;
    let core = runtime.handle().core();
    // A snapshot beyond the head.
    store.save_snapshot(&snapshot_of(history.live())).await.unwrap();
    let loaded = load(&core, &thread("t"), None).await.unwrap();
    same(&loaded, RecoveryStrategy::FullRebuild, kept.live());
    // A snapshot within the journal, but of another history.
    let mut other = history.at(20);
    other.updated_at = other.updated_at.plus(Duration::from_millis(3));
    store.save_snapshot(&snapshot_of(&other)).await.unwrap();
    let loaded = load(&core, &thread("t"), None).await.unwrap();
    same(&loaded, RecoveryStrategy::FullRebuild, kept.live());
    assert_eq!(bad(&core.parts.metrics), [("other_history", 3)]);
}

#[tokio::test]
async fn a_state_of_the_past_uses_no_snapshot_that_goes_further() {
    let history = History::of_many_steps("t", 6);
    let store = Watched::new();
    history.write(&store).await;
    let runtime = store.runtime(0).await;
    let core = runtime.handle().core();
    for seq in [20, 40] {
        store.save_snapshot(&snapshot_of(&history.at(seq))).await.unwrap();
    }
    for seq in 1..=history.live().last_seq {
        let state = &history.at(seq);
        store.take_events_read();
        let loaded = load(&core, &thread("t"), Some(seq)).await.unwrap();
        let strategy = if seq < 20 {
            RecoveryStrategy::FullRebuild
        } else {
            RecoveryStrategy::CheckpointRestore
        };
        same(&loaded, strategy, state);
        let from = if seq < 40 { 20 } else { 40 };
        let read = Seq::try_from(store.take_events_read()).unwrap();
        assert!(seq < 20 || read == seq - from + 1, "{read}");
    }
    assert_eq!(load(&core, &thread("t"), Some(0)).await.unwrap_err(), LoadError::NotFound);
    assert_eq!(load(&core, &thread("none"), None).await.unwrap_err(), LoadError::NotFound);
    assert_eq!(bad(&core.parts.metrics), []);
}

#[tokio::test]
async fn a_store_that_is_away_is_an_error_and_one_that_cannot_read_a_snapshot_is_not() {
    let history = History::of_many_steps("t", 3);
    let store = Watched::new();
    history.write(&store).await;
    let runtime = store.runtime(0).await;
    let core = runtime.handle().core();
    let fails_with = |error: StoreError| *store.snapshot_fault.lock().unwrap() = Some(error);
    let away = StoreError::Unavailable("away".to_owned());
    fails_with(away.clone());
    assert_eq!(load(&core, &thread("t"), None).await.unwrap_err(), LoadError::Store(away));
    fails_with(StoreError::Fatal("no such kind".to_owned()));
    let loaded = load(&core, &thread("t"), None).await.unwrap();
    same(&loaded, RecoveryStrategy::FullRebuild, history.live());
    assert_eq!(bad(&core.parts.metrics), [("stored", 1)]);
}

#[tokio::test]
async fn records_that_contradict_each_other_or_the_plan_are_told() {
    let end = |step: &str| {
        EventBody::StepComplete(OnStep {
            step: StepId::parse(step).unwrap(),
            attempt: 1,
            data: StepComplete {
                output: crate::model::Json::null(),
                duration_ms: 1,
                session_id: None,
                fallback: false,
                error: None,
            },
        })
    };
    for (name, body, told) in [
        ("begun", end("b"), "step b: what has completed was tried"),
        ("named", end("c"), "event 3 is about c, not in the plan"),
    ] {
        let mut history = History::new(
            name,
            &json!([
                { "id": "a", "kind": "http", "with": { "url": "http://h/" } },
                { "id": "b", "kind": "http", "with": { "url": "http://h/" }, "dependsOn": ["a"] },
            ]),
        );
        history.decide(Command::Attempt {
            attempt: AttemptId::own(0, 1),
            report: Report::Done { output: crate::model::Json::null(), session_id: None },
        });
        // Replaces the decided events by one that is never decided.
        let events = history.appends.last_mut().unwrap();
        events.truncate(1);
        events[0].body = body;
        let store = Watched::new();
        history.write(&store).await;
        let runtime = store.runtime(0).await;
        let found = load(&runtime.handle().core(), &thread(name), None).await.unwrap_err();
        assert!(
            matches!(&found, LoadError::Corrupted(why) if why.contains(told)),
            "{found:?}, not {told}"
        );
        assert!(runtime.handle().status(&thread(name), None).await.is_err());
    }
}

#[tokio::test]
async fn a_snapshot_that_the_journal_does_not_go_on_from_is_skipped() {
    let step = json!({ "id": "a", "kind": "http", "with": { "url": "http://h/" } });
    let mut history = History::new("t", &json!([step]));
    // A valid state of the right event and time, in which the attempt was never begun.
    let mut state = history.live().clone();
    state.steps[0] = history.at(1).steps[0].clone();
    assert_eq!(state.validate(), Ok(()));
    let failure = Failure::recoverable("connection_failed", Category::External, "refused");
    history.decide(Command::Attempt {
        attempt: AttemptId::own(0, 1),
        report: Report::Failed { failure, retry_after: None },
    });
    let store = Watched::new();
    history.write(&store).await;
    let runtime = store.runtime(0).await;
    let core = runtime.handle().core();
    store.save_snapshot(&snapshot_of(&state)).await.unwrap();
    let loaded = load(&core, &thread("t"), None).await.unwrap();
    same(&loaded, RecoveryStrategy::FullRebuild, history.live());
    assert_eq!(bad(&core.parts.metrics), [("discontinued", 1)]);
}
