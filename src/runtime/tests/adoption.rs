//! Claimed threads that cannot be driven.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use super::history::{History, thread};
use super::watched::{MAX_RECOVERIES, Watched};
use crate::contract::ResumeRequest;
use crate::machine::{Command, Takeover};
use crate::model::{Incarnation, Json, RecoveryCause, RecoveryStrategy, ThreadStatus, Timestamp};
use crate::runtime::types::Control;
use crate::store::{
    Append, Claimed, Disposition, Inbox as _, InterventionFilter, Interventions as _, Journal as _,
    Leases as _, Message, Recoveries as _, Recovery, Start, SuspectRow, Suspects as _, ThreadRow,
    Threads as _, Write, WriteOutcome,
};

const MILLISECOND: Duration = Duration::from_millis(1);

/// Returns the start of a thread with one step under way.
fn running() -> Start {
    start_of(&history())
}

fn history() -> History {
    let step = json!([{ "id": "a", "kind": "http", "with": { "url": "http://h/" } }]);
    let mut history = History::new("t", &step);
    let started = history.appends.split_off(1);
    history.appends[0].extend(started.into_iter().flatten());
    history
}

fn start_of(history: &History) -> Start {
    let Write::Start(start) = history.start() else { panic!("the first write is the start") };
    *start
}

/// Claims the thread for a replica that is lost a moment later.
async fn claim(store: &Watched) -> (Incarnation, Claimed) {
    tokio::time::sleep(MILLISECOND * 2).await;
    let me = store.register("lost", MILLISECOND).await.unwrap();
    (me, store.claim(me, 1, &[]).await.unwrap().remove(0))
}

/// Writes a thread that has ended as many replicas as it may and one more, each of which drove it.
/// The replica that claims it then records the recovery, and stops in good order before it can
/// pause the thread.
async fn handed_back_before_its_pause(store: &Watched) {
    let mut history = history();
    let mut lost = store.register("lost", MILLISECOND).await.unwrap();
    let start = Write::Start(Box::new(start_of(&history)));
    store.write(lost, &[start]).await.unwrap();
    for _ in 0..MAX_RECOVERIES {
        let (me, claimed) = claim(store).await;
        history.decide(Command::Recover(Takeover {
            cause: RecoveryCause::Disconnected,
            strategy: RecoveryStrategy::FullRebuild,
            previous_owner: lost,
        }));
        let Write::Append(append) = history.append(history.appends.len() - 1) else { panic!() };
        let (epoch, disposition) = (claimed.epoch, Disposition::Keep);
        let append = Append { epoch, disposition, progress: false, ..*append };
        let written = store.write(me, &[Write::Append(Box::new(append))]).await.unwrap();
        assert_eq!(written, [WriteOutcome::Written { mail: 0 }]);
        lost = me;
    }
    let (me, claimed) = claim(store).await;
    assert!(claimed.driven && claimed.claims == MAX_RECOVERIES + 1, "{claimed:?}");
    let begun = Recovery {
        thread_id: thread("t"),
        epoch: claimed.epoch,
        cause: RecoveryCause::Disconnected,
        previous_owner: lost,
        replica: "lost".to_owned(),
        from_seq: claimed.last_seq,
        started_at: Timestamp::from_millis(1),
        end: None,
    };
    store.begin_recoveries(&[begun]).await.unwrap();
    suspect(store, (lost, 0), r#"{"losses":6,"convicted":true}"#).await;
    store.retire(me).await.unwrap();
}

/// Writes what is known against the thread.
async fn suspect(store: &Watched, (lost_with, exposed_to): (Incarnation, Incarnation), body: &str) {
    let body = Json::parse(body).unwrap();
    let row = SuspectRow { thread_id: thread("t"), lost_with, exposed_to, body };
    store.keep_suspects(&[row]).await.unwrap();
}

async fn settled(store: &Watched) -> ThreadRow {
    let before = row(store).await;
    loop {
        let now = row(store).await;
        if now.last_seq > before.last_seq && now.owner == 0 {
            return now;
        }
        tokio::time::sleep(MILLISECOND).await;
    }
}

async fn row(store: &Watched) -> ThreadRow {
    store.thread(&thread("t")).await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn mail_does_not_make_a_thread_that_cannot_be_loaded_spin() {
    let (store, mut start) = (Watched::new(), running());
    start.records.events = vec!["{}".to_owned(); start.records.events.len()];
    start.disposition = Disposition::Release { wake_at: Some(Timestamp::from_millis(1)) };
    store.write(1, &[Write::Start(Box::new(start))]).await.unwrap();
    let _runtime = store.runtime(0).await;
    while row(&store).await.epoch == 0 || row(&store).await.owner != 0 {
        tokio::time::sleep(MILLISECOND).await;
    }
    let message = Message { key: "k".to_owned(), body: Json::null() };
    store.post(&thread("t"), &message).await.unwrap();
    tokio::time::sleep(Duration::from_mins(1)).await;
    let row = row(&store).await;
    assert!((2..10).contains(&row.epoch), "claimed {} times in a minute", row.epoch);
    assert_eq!(store.inbox(&thread("t")).await.unwrap().len(), 1, "and the message stays");
}

#[tokio::test(start_paused = true)]
async fn replicas_that_were_lost_before_they_started_a_thread_say_nothing_of_it() {
    let store = Watched::new();
    let mut me = store.register("lost", MILLISECOND).await.unwrap();
    store.write(me, &[Write::Start(Box::new(running()))]).await.unwrap();
    for losses in 1..=8 {
        tokio::time::sleep(MILLISECOND * 2).await;
        me = store.register("lost", MILLISECOND).await.unwrap();
        assert_eq!(store.claim(me, 1, &[]).await.unwrap()[0].claims, losses);
    }
    tokio::time::sleep(MILLISECOND * 2).await;
    let _runtime = store.runtime(0).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let row = row(&store).await;
    assert_eq!(row.summary.recoveries, 1, "it is not kept away: {row:?}");
    assert_ne!(row.summary.status, ThreadStatus::Paused, "nothing of it ran at those losses");
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_kills_whoever_loads_it_is_paused_without_that_and_loaded_by_a_resume() {
    let store = Watched::new();
    let lost = store.register("lost", MILLISECOND).await.unwrap();
    store.write(lost, &[Write::Start(Box::new(running()))]).await.unwrap();
    let (me, claimed) = claim(&store).await;
    let body = format!(
        r#"{{"losses":6,"convicted":true,"exposed":{{"to":{me},"since":1,"alone":false}}}}"#
    );
    suspect(&store, (lost, me), &body).await;
    assert_eq!(claimed.claims, 1);
    // A second loss: of the first one nothing is known.
    tokio::time::sleep(MILLISECOND * 2).await;
    store.take_events_read();
    let runtime = store.runtime(0).await;
    let paused = settled(&store).await;
    assert_eq!(paused.summary.status, ThreadStatus::Paused, "{paused:?}");
    assert_eq!(store.take_events_read(), 0, "nothing of it was read");
    let filter = InterventionFilter { open: Some(true), ..InterventionFilter::default() };
    let open = store.interventions(&filter, 9).await.unwrap();
    assert_eq!(open.len(), 1, "{open:?}");
    tokio::time::sleep(Duration::from_hours(3)).await;
    assert_eq!(store.take_events_read(), 0, "nor is it later");

    let (handle, id) = (runtime.handle(), thread("t"));
    let resumed = handle.resume(&id, ResumeRequest::default(), Control::default()).await;
    assert_eq!(resumed.unwrap().status, ThreadStatus::Running);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(row(&store).await.summary.status, ThreadStatus::Completed);
    assert_eq!(store.suspects(&[thread("t")]).await.unwrap(), [], "it has got on");
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_paused_is_paused_by_whoever_gets_it_next() {
    let store = Watched::new();
    handed_back_before_its_pause(&store).await;
    let _runtime = store.runtime(0).await;
    let row = settled(&store).await;
    assert_eq!(row.summary.status, ThreadStatus::Paused, "{row:?}");
}

#[tokio::test(start_paused = true)]
async fn who_was_lost_is_asked_for_again_until_the_store_answers() {
    let store = Watched::new();
    handed_back_before_its_pause(&store).await;
    store.recoveries_fail.store(1, Ordering::Relaxed);
    let _runtime = store.runtime(0).await;
    let row = settled(&store).await;
    assert_eq!(row.summary.status, ThreadStatus::Paused, "{row:?}");
}
