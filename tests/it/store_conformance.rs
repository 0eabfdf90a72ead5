//! What every store promises, run against all three.

use std::time::Duration;

use rethread::model::{Incarnation, Json, ThreadId, ThreadStatus, Timestamp};
use rethread::store::{
    Append, Claimed, Disposition, Message, Posted, Records, Start, StoreError, ThreadFilter,
    WriteOutcome,
};

use crate::support::beds::{Bed, TTL};
use crate::support::writes::{
    ASLEEP, AT, DUE, FUTURE, PAST, append, appends, end, id, keyed, records, release, start,
    starts, summary,
};

const WRITTEN: WriteOutcome = WriteOutcome::Written { mail: 0 };

macro_rules! conformance {
    ($($claim:ident),+ $(,)?) => {
        mod memory { $(#[tokio::test] async fn $claim() {
            super::$claim(super::Bed::memory().await).await;
        })+ }
        mod sqlite { $(#[tokio::test(flavor = "multi_thread")] async fn $claim() {
            super::$claim(super::Bed::sqlite().await).await;
        })+ }
        mod postgres { $(#[tokio::test(flavor = "multi_thread")] async fn $claim() {
            super::$claim(super::Bed::postgres().await).await;
        })+ }
    };
}

conformance!(
    an_expired_lease_is_never_renewed,
    due_threads_are_claimed_and_sleeping_ones_are_not,
    claims_grow_until_a_step_completes,
    nothing_is_taken_from_a_live_owner,
    orphans_of_an_expired_owner_are_claimed,
    an_expired_replica_claims_nothing,
    retiring_hands_over_at_once,
    a_claim_hands_out_at_most_its_limit,
    a_fenced_write_has_no_effect_and_its_neighbours_land,
    a_zombie_cannot_write_after_a_takeover,
    a_released_thread_is_fenced,
    a_started_thread_is_driven_by_its_writer,
    a_start_by_nobody_is_claimed_at_once,
    taken_ids_and_keys_are_told_apart,
    duplicates_in_one_batch_make_one_thread,
    an_expired_key_is_taken_over,
    a_repeated_batch_is_recognised_as_written,
    messages_are_taken_exactly_once,
    a_message_wakes_a_sleeping_thread,
    a_release_with_untaken_mail_is_due_at_once,
    a_fenced_write_takes_no_message,
    racing_messages_are_never_left_asleep,
    parked_threads_sleep_until_their_time,
    threads_are_listed_newest_first_by_filter_and_page,
    only_ended_threads_are_deleted_with_all_they_have,
    old_ended_threads_expire,
    durations_are_those_of_completed_threads,
    workflows_get_versions,
    definitions_come_with_starts,
    payloads_come_back_byte_for_byte,
    reads_start_and_stop_inside_an_append,
    big_mixed_batches_land_whole,
    damage_is_reported,
    a_shared_secret_is_made_once,
    reopening_keeps_everything,
    long_labels_and_odd_texts_are_held,
);

async fn an_expired_lease_is_never_renewed(bed: Bed) {
    let me = register(&bed).await;
    assert!(bed.store.renew(me, TTL).await.unwrap());
    bed.expire_leases().await;
    assert!(!bed.store.renew(me, TTL).await.unwrap());
    assert!(!bed.store.renew(me + 99, TTL).await.unwrap());
    let next = register(&bed).await;
    assert!(next > me);
    assert!(!bed.store.renew(me, TTL).await.unwrap());
    assert!(bed.store.renew(next, TTL).await.unwrap());
}

async fn due_threads_are_claimed_and_sleeping_ones_are_not(bed: Bed) {
    let me = register(&bed).await;
    let later = Disposition::Release { wake_at: Some(FUTURE) };
    write(&bed, me, [start("due", DUE), start("asleep", ASLEEP), start("later", later)]).await;
    assert_eq!(bed.store.queued(10).await, Ok(1));
    assert_eq!(bed.store.next_wake().await, Ok(Some(PAST)));
    let claimed = bed.store.claim(me, 10).await.unwrap();
    let expected = Claimed {
        thread_id: id("due"),
        epoch: 1,
        last_seq: 1,
        claims: 1,
        previous_owner: 0,
        mail: 0,
    };
    assert_eq!(claimed, [expected]);
    assert_eq!(bed.store.claim(me, 10).await, Ok(vec![]));
    assert_eq!(bed.store.queued(10).await, Ok(0));
    assert_eq!(bed.store.next_wake().await, Ok(Some(FUTURE)));
}

async fn claims_grow_until_a_step_completes(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("t", DUE)]).await;
    for round in 1..=3_i64 {
        let claimed = bed.store.claim(me, 1).await.unwrap().remove(0);
        assert_eq!((claimed.epoch, i64::from(claimed.claims)), (round, round));
        let write = appends([release("t", round, 1, DUE)]);
        assert_eq!(bed.store.write(me, &write).await.unwrap(), [WRITTEN]);
    }
    assert_eq!(bed.store.claim(me, 1).await.unwrap()[0].claims, 4);
    let write = appends([Append { progress: true, disposition: DUE, ..append("t", 4, 1) }]);
    assert_eq!(bed.store.write(me, &write).await.unwrap(), [WRITTEN]);
    assert_eq!(row(&bed, "t").await.claims, 0);
    assert_eq!(bed.store.claim(me, 1).await.unwrap()[0].claims, 1);
}

async fn nothing_is_taken_from_a_live_owner(bed: Bed) {
    if bed.is_alone() {
        return;
    }
    let (me, other) = (register(&bed).await, register(&bed).await);
    write(&bed, me, [start("t", Disposition::Keep), start("u", DUE)]).await;
    assert_eq!(bed.store.claim(me, 9).await.unwrap().len(), 1);
    assert_eq!(bed.store.claim(other, 9).await, Ok(vec![]));
}

async fn orphans_of_an_expired_owner_are_claimed(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("t", Disposition::Keep)]).await;
    bed.expire_leases().await;
    let heir = register(&bed).await;
    let claimed = bed.store.claim(heir, 9).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!((claimed[0].epoch, claimed[0].claims, claimed[0].previous_owner), (2, 1, me));
    assert_eq!(row(&bed, "t").await.owner, heir);
}

async fn an_expired_replica_claims_nothing(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("t", DUE)]).await;
    bed.expire_leases().await;
    assert_eq!(bed.store.claim(me, 9).await, Ok(vec![]));
    assert_eq!(bed.store.claim(me + 7, 9).await, Ok(vec![]));
}

async fn retiring_hands_over_at_once(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("t", Disposition::Keep), start("asleep", ASLEEP)]).await;
    bed.store.retire(me).await.unwrap();
    assert!(!bed.store.renew(me, TTL).await.unwrap());
    let heir = register(&bed).await;
    let claimed = bed.store.claim(heir, 9).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!((claimed[0].epoch, claimed[0].previous_owner), (2, 0));
    let late = appends([append("t", 1, 1)]);
    assert_eq!(bed.store.write(me, &late).await.unwrap(), [WriteOutcome::Fenced]);
}

async fn a_claim_hands_out_at_most_its_limit(bed: Bed) {
    let me = register(&bed).await;
    let orphans = (0..5).map(|n| start(&format!("o{n}"), Disposition::Keep));
    write(&bed, me, orphans).await;
    bed.expire_leases().await;
    let heir = register(&bed).await;
    write(&bed, heir, (0..5).map(|n| start(&format!("d{n}"), DUE))).await;
    assert_eq!(bed.store.claim(heir, 0).await.unwrap().len(), 0);
    assert_eq!(bed.store.claim(heir, 3).await.unwrap().len(), 3);
    assert_eq!(bed.store.claim(heir, 4).await.unwrap().len(), 4);
    assert_eq!(bed.store.claim(heir, 9).await.unwrap().len(), 3);
}

async fn a_fenced_write_has_no_effect_and_its_neighbours_land(bed: Bed) {
    let me = register(&bed).await;
    let ids = ["a", "b", "c", "d"];
    write(&bed, me, ids.map(|thread| start(thread, Disposition::Keep))).await;
    let before = row(&bed, "b").await;
    let batch = appends([
        append("a", 1, 1),
        append("b", 2, 1),
        append("c", 1, 0),
        append("d", 1, 1),
        append("none", 1, 1),
    ]);
    let fenced = WriteOutcome::Fenced;
    let outcomes = bed.store.write(me, &batch).await.unwrap();
    assert_eq!(outcomes, [WRITTEN, fenced, fenced, WRITTEN, fenced]);
    assert_eq!(row(&bed, "b").await, before);
    assert_eq!(texts(&bed, "b", 0).await, ["{\"seq\":1}"]);
    assert_eq!(texts(&bed, "c", 0).await, ["{\"seq\":1}"]);
    assert_eq!(texts(&bed, "d", 0).await, ["{\"seq\":1}", "{\"seq\":2}"]);
    assert_eq!(bed.store.read(&id("none"), 0, 9).await, Ok(vec![]));
}

async fn a_zombie_cannot_write_after_a_takeover(bed: Bed) {
    let zombie = register(&bed).await;
    write(&bed, zombie, [start("t", Disposition::Keep), start("u", Disposition::Keep)]).await;
    bed.expire_leases().await;
    // Nobody has replaced it yet: finished work may still be recorded.
    let late = appends([append("t", 1, 1)]);
    assert_eq!(bed.store.write(zombie, &late).await.unwrap(), [WRITTEN]);
    let heir = register(&bed).await;
    assert_eq!(bed.store.claim(heir, 9).await.unwrap().len(), 2);
    let later = appends([append("t", 1, 2), append("u", 2, 1)]);
    let fenced = [WriteOutcome::Fenced, WriteOutcome::Fenced];
    assert_eq!(bed.store.write(zombie, &later).await.unwrap(), fenced);
    let heirs = appends([append("t", 2, 2), append("u", 2, 1)]);
    assert_eq!(bed.store.write(heir, &heirs).await.unwrap(), [WRITTEN, WRITTEN]);
}

async fn a_released_thread_is_fenced(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("t", Disposition::Keep)]).await;
    let batch = appends([release("t", 1, 1, ASLEEP)]);
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WRITTEN]);
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WriteOutcome::Fenced]);
    let row = row(&bed, "t").await;
    assert_eq!((row.owner, row.wake_at, row.last_seq, row.updated_at), (0, None, 1, AT));
}

async fn a_started_thread_is_driven_by_its_writer(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("t", Disposition::Keep), start("u", DUE)]).await;
    let (kept, left) = (row(&bed, "t").await, row(&bed, "u").await);
    assert_eq!((kept.owner, kept.epoch, kept.claims, kept.wake_at), (me, 1, 0, None));
    assert_eq!((left.owner, left.epoch, left.claims, left.wake_at), (0, 0, 0, Some(PAST)));
    let given = start("t", Disposition::Keep);
    assert_eq!(kept.summary, given.summary);
    assert_eq!((kept.metadata, kept.request_hash), (given.metadata, given.request_hash));
    assert_eq!((kept.created_at, kept.updated_at, kept.last_seq), (AT, AT, 1));
    assert_eq!(bed.store.thread(&id("none")).await, Ok(None));
}

async fn a_start_by_nobody_is_claimed_at_once(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me + 50, [start("t", Disposition::Keep)]).await;
    assert_eq!(row(&bed, "t").await.owner, 0);
    bed.clock.advance(Duration::from_millis(1));
    assert_eq!(bed.store.claim(me, 9).await.unwrap().len(), 1);
}

async fn taken_ids_and_keys_are_told_apart(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [keyed("t", "k"), start("u", DUE)]).await;
    let batch = starts([start("u", DUE), keyed("v", "k"), keyed("u", "free")]);
    let (thread, key) = (WriteOutcome::ThreadExists, WriteOutcome::KeyExists);
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [thread, key, thread]);
    let both = bed.store.write(me, &starts([keyed("t", "k")])).await.unwrap();
    assert!(both == [thread] || both == [key], "{both:?}");
    assert_eq!(bed.store.thread(&id("v")).await, Ok(None));
    assert_eq!(bed.store.by_idempotency_key("free").await, Ok(None));
    let found = bed.store.by_idempotency_key("k").await.unwrap();
    assert_eq!(found, Some((id("t"), "hash-t".to_owned())));
}

async fn duplicates_in_one_batch_make_one_thread(bed: Bed) {
    let me = register(&bed).await;
    let (thread, key) = (WriteOutcome::ThreadExists, WriteOutcome::KeyExists);
    let batch = starts([
        keyed("a", "k"),
        keyed("b", "k"),
        keyed("b", "l"),
        start("a", DUE),
        keyed("c", "l"),
        start("d", DUE),
        start("d", DUE),
    ]);
    let outcomes = bed.store.write(me, &batch).await.unwrap();
    assert_eq!(outcomes, [WRITTEN, key, WRITTEN, thread, key, WRITTEN, thread]);
    assert_eq!(bed.store.threads(&ThreadFilter::default(), 99).await.unwrap().len(), 3);
}

async fn an_expired_key_is_taken_over(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [keyed("t", "k")]).await;
    bed.expire_keys().await;
    assert_eq!(bed.store.by_idempotency_key("k").await, Ok(None));
    write(&bed, me, [keyed("u", "k")]).await;
    let found = bed.store.by_idempotency_key("k").await.unwrap();
    assert_eq!(found, Some((id("u"), "hash-u".to_owned())));
    assert!(bed.store.thread(&id("t")).await.unwrap().is_some());
}

async fn a_repeated_batch_is_recognised_as_written(bed: Bed) {
    let me = register(&bed).await;
    let batch = starts([start("t", Disposition::Keep)]);
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WRITTEN]);
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WriteOutcome::ThreadExists]);
    assert_eq!(bed.store.wrote(&id("t"), 0, 1).await, Ok(true));
    let more = Append { records: Some(records(2, 4)), ..append("t", 1, 1) };
    let batch = appends([more]);
    assert_eq!(bed.store.wrote(&id("t"), 1, 1).await, Ok(false));
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WRITTEN]);
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WriteOutcome::Fenced]);
    assert_eq!(bed.store.wrote(&id("t"), 1, 1).await, Ok(true));
    assert_eq!(bed.store.wrote(&id("t"), 1, 2).await, Ok(false));
    assert_eq!(bed.store.wrote(&id("t"), 2, 1).await, Ok(false));
    assert_eq!(bed.store.wrote(&id("none"), 0, 1).await, Ok(false));
    assert_eq!(texts(&bed, "t", 0).await.len(), 4);
}

async fn messages_are_taken_exactly_once(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("t", Disposition::Keep)]).await;
    assert_eq!(post(&bed, "none", "k").await, Posted::NoThread);
    for key in ["b", "a", "c"] {
        assert_eq!(post(&bed, "t", key).await, Posted::Stored { owner: me });
    }
    assert_eq!(post(&bed, "t", "a").await, Posted::Duplicate);
    let keys: Vec<String> =
        bed.store.inbox(&id("t")).await.unwrap().into_iter().map(|m| m.key).collect();
    assert_eq!(keys, ["b", "a", "c"]);
    assert_eq!(bed.store.mail(me).await, Ok(vec![id("t")]));
    let answer = Json::trusted("{\"ok\":12345678901234567890}".to_owned()).unwrap();
    let taken = vec![("b".to_owned(), answer.clone()), ("a".to_owned(), answer.clone())];
    let batch = appends([Append { taken: taken.clone(), ..append("t", 1, 1) }]);
    let outcomes = bed.store.write(me, &batch).await.unwrap();
    assert_eq!(outcomes, [WriteOutcome::Written { mail: 1 }]);
    assert_eq!(bed.store.answer(&id("t"), "a").await, Ok(Some(answer)));
    assert_eq!(bed.store.answer(&id("t"), "c").await, Ok(None));
    assert_eq!(post(&bed, "t", "a").await, Posted::Duplicate);
    // Taking a message again, or one that never came, counts for nothing.
    let mut again = taken;
    again.push(("none".to_owned(), Json::null()));
    again.push(("c".to_owned(), Json::null()));
    let batch = appends([Append { taken: again, ..append("t", 1, 2) }]);
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WRITTEN]);
    assert_eq!(bed.store.inbox(&id("t")).await, Ok(vec![]));
    assert_eq!(bed.store.mail(me).await, Ok(vec![]));
}

async fn a_message_wakes_a_sleeping_thread(bed: Bed) {
    let me = register(&bed).await;
    let later = Disposition::Release { wake_at: Some(FUTURE) };
    write(&bed, me, [start("t", ASLEEP), start("u", later), start("v", DUE)]).await;
    assert_eq!(bed.store.claim(me, 9).await.unwrap().len(), 1);
    assert_eq!(post(&bed, "t", "k").await, Posted::Stored { owner: 0 });
    assert_eq!(post(&bed, "u", "k").await, Posted::Stored { owner: 0 });
    assert_eq!(bed.store.queued(9).await, Ok(2));
    assert_eq!(claim_ids(&bed, me).await, [id("t"), id("u")]);
    assert_eq!(bed.store.mail(me).await, Ok(vec![id("t"), id("u")]));
}

async fn a_release_with_untaken_mail_is_due_at_once(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("t", Disposition::Keep)]).await;
    post(&bed, "t", "k").await;
    let batch = appends([release("t", 1, 1, ASLEEP)]);
    let outcomes = bed.store.write(me, &batch).await.unwrap();
    assert_eq!(outcomes, [WriteOutcome::Written { mail: 1 }]);
    assert_eq!(claim_ids(&bed, me).await, [id("t")]);
    let taken = vec![("k".to_owned(), Json::null())];
    let batch = appends([Append { taken, ..release("t", 2, 1, ASLEEP) }]);
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WRITTEN]);
    assert_eq!(bed.store.claim(me, 9).await, Ok(vec![]));
}

async fn a_fenced_write_takes_no_message(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("t", Disposition::Keep)]).await;
    post(&bed, "t", "k").await;
    let taken = vec![("k".to_owned(), Json::null())];
    let batch = appends([Append { taken, ..append("t", 7, 1) }]);
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WriteOutcome::Fenced]);
    assert_eq!(bed.store.inbox(&id("t")).await.unwrap().len(), 1);
    assert_eq!(bed.store.answer(&id("t"), "k").await, Ok(None));
}

/// Messages and releases race for many rounds; each time a message is stored, the thread is
/// either still driven (and the driver sees its mail) or due.
async fn racing_messages_are_never_left_asleep(bed: Bed) {
    const THREADS: usize = 8;
    const ROUNDS: usize = 25;
    let me = register(&bed).await;
    let names: Vec<String> = (0..THREADS).map(|n| format!("t{n}")).collect();
    write(&bed, me, names.iter().map(|name| start(name, Disposition::Keep))).await;
    let mut seen = 0;
    for round in 0..ROUNDS {
        let batch =
            appends(heads(&bed, &names).await.into_iter().map(|(name, epoch, last, keys)| {
                Append {
                    taken: keys.into_iter().map(|key| (key, Json::null())).collect(),
                    ..release(&name, epoch, last, ASLEEP)
                }
            }));
        let posts = names.iter().map(|name| {
            let message = Message { key: format!("r{round}"), body: Json::null() };
            let (store, thread) = (std::sync::Arc::clone(&bed.store), id(name));
            async move { store.post(&thread, &message).await.unwrap() }
        });
        let posts = futures_util::future::join_all(posts);
        let (written, posted) = tokio::join!(bed.store.write(me, &batch), posts);
        for outcome in written.unwrap() {
            assert!(matches!(outcome, WriteOutcome::Written { .. }), "{outcome:?}");
        }
        seen += posted.len();
        bed.clock.advance(Duration::from_millis(1));
        let mut claimed = bed.store.claim(me, THREADS * 2).await.unwrap();
        claimed.sort_by(|a, b| a.thread_id.cmp(&b.thread_id));
        assert_eq!(claimed.len(), THREADS, "round {round}: a message is left asleep");
    }
    assert_eq!(seen, THREADS * ROUNDS);
}

async fn parked_threads_sleep_until_their_time(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("t", Disposition::Keep)]).await;
    let parked = Disposition::Release { wake_at: Some(FUTURE) };
    let batch = appends([Append { disposition: parked, ..append("t", 1, 1) }]);
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WRITTEN]);
    assert_eq!(bed.store.claim(me, 9).await, Ok(vec![]));
    let row = row(&bed, "t").await;
    assert_eq!((row.owner, row.epoch, row.wake_at), (0, 1, Some(FUTURE)));
    assert_eq!(bed.store.next_wake().await, Ok(Some(FUTURE)));
}

async fn threads_are_listed_newest_first_by_filter_and_page(bed: Bed) {
    let me = register(&bed).await;
    let at = |millis| Records { at: Timestamp::from_millis(millis), ..records(1, 1) };
    let other = Start {
        workflow: "x".to_owned(),
        labels: vec![("a".to_owned(), "2".to_owned()), ("b".to_owned(), "y".to_owned())],
        summary: summary(ThreadStatus::Paused),
        records: at(20),
        ..start("t3", DUE)
    };
    let batch = [
        Start { records: at(10), ..start("t1", DUE) },
        Start { records: at(20), ..start("t2", DUE) },
        other,
        Start { records: at(5), ..start("t4", DUE) },
    ];
    write(&bed, me, batch).await;
    let all = ThreadFilter::default();
    assert_eq!(listed(&bed, &all, 9).await, ["t3", "t2", "t1", "t4"]);
    assert_eq!(listed(&bed, &all, 2).await, ["t3", "t2"]);
    let before = Some((Timestamp::from_millis(20), id("t3")));
    assert_eq!(listed(&bed, &ThreadFilter { before, ..all.clone() }, 2).await, ["t2", "t1"]);
    let status = Some(ThreadStatus::Paused);
    assert_eq!(listed(&bed, &ThreadFilter { status, ..all.clone() }, 9).await, ["t3"]);
    let workflow = Some("w".to_owned());
    assert_eq!(
        listed(&bed, &ThreadFilter { workflow, ..all.clone() }, 9).await,
        ["t2", "t1", "t4"]
    );
    let label = |pairs: &[(&str, &str)]| ThreadFilter {
        metadata: pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ..all.clone()
    };
    assert_eq!(listed(&bed, &label(&[("a", "1")]), 2).await, ["t2", "t1"]);
    assert_eq!(listed(&bed, &label(&[("a", "2"), ("b", "y")]), 9).await, ["t3"]);
    assert!(listed(&bed, &label(&[("a", "1"), ("b", "y")]), 9).await.is_empty());
    let mut heads = bed.store.heads(&[id("t1"), id("none"), id("t4")]).await.unwrap();
    heads.sort();
    assert_eq!(heads, [(id("t1"), 1), (id("t4"), 1)]);
}

async fn only_ended_threads_are_deleted_with_all_they_have(bed: Bed) {
    let me = register(&bed).await;
    let kept = Start { disposition: Disposition::Keep, ..keyed("t", "k") };
    write(&bed, me, [kept]).await;
    post(&bed, "t", "m").await;
    assert_eq!(bed.store.delete(&id("t")).await, Ok(false));
    let batch = appends([end("t", 1, 1, ThreadStatus::Failed)]);
    bed.store.write(me, &batch).await.unwrap();
    assert_eq!(bed.store.delete(&id("t")).await, Ok(true));
    assert_eq!(bed.store.delete(&id("t")).await, Ok(false));
    assert_eq!(bed.store.thread(&id("t")).await, Ok(None));
    assert_eq!(bed.store.read(&id("t"), 0, 9).await, Ok(vec![]));
    // Nothing of the old thread is left to meet the new one.
    write(&bed, me, [Start { disposition: Disposition::Keep, ..keyed("t", "k") }]).await;
    assert_eq!(bed.store.inbox(&id("t")).await, Ok(vec![]));
    assert_eq!(texts(&bed, "t", 0).await.len(), 1);
}

async fn old_ended_threads_expire(bed: Bed) {
    let me = register(&bed).await;
    let names = ["done", "failed", "running", "asleep"];
    write(&bed, me, names.map(|name| start(name, Disposition::Keep))).await;
    let batch = appends([
        end("done", 1, 1, ThreadStatus::Completed),
        end("failed", 1, 1, ThreadStatus::Failed),
        append("running", 1, 1),
        release("asleep", 1, 1, ASLEEP),
    ]);
    bed.store.write(me, &batch).await.unwrap();
    assert_eq!(bed.store.expire(AT, 9).await, Ok(0));
    let after = AT.plus(Duration::from_millis(1));
    assert_eq!(bed.store.expire(after, 1).await, Ok(1));
    assert_eq!(bed.store.expire(after, 9).await, Ok(1));
    assert_eq!(bed.store.expire(after, 9).await, Ok(0));
    let left = listed(&bed, &ThreadFilter::default(), 9).await;
    assert_eq!(left, ["running", "asleep"]);
}

async fn durations_are_those_of_completed_threads(bed: Bed) {
    let me = register(&bed).await;
    let names = ["a", "b", "c", "d"];
    write(&bed, me, names.map(|name| start(name, Disposition::Keep))).await;
    let ends = |name: &str, status, millis| {
        let mut append = end(name, 1, 1, status);
        append.summary.completed_at = Some(AT.plus(Duration::from_millis(millis)));
        append
    };
    let batch = appends([
        ends("a", ThreadStatus::Completed, 10),
        ends("b", ThreadStatus::Completed, 30),
        ends("c", ThreadStatus::Failed, 40),
        append("d", 1, 1),
    ]);
    bed.store.write(me, &batch).await.unwrap();
    assert_eq!(bed.store.durations("w", 9).await, Ok(vec![30, 10]));
    assert_eq!(bed.store.durations("w", 1).await, Ok(vec![30]));
    assert_eq!(bed.store.durations("none", 9).await, Ok(vec![]));
}

async fn workflows_get_versions(bed: Bed) {
    let store = &bed.store;
    let (first, new) = store.save_workflow("w", "h1", "{\"v\":1}", AT).await.unwrap();
    assert!(new && first.version == 1 && first.created_at == AT);
    let (same, new) = store.save_workflow("w", "h1", "{\"v\":1}", FUTURE).await.unwrap();
    assert_eq!((same, new), (first.clone(), false));
    let (second, new) = store.save_workflow("w", "h2", "{\"v\":2}", AT).await.unwrap();
    assert!(new && second.version == 2);
    let (third, new) = store.save_workflow("w", "h1", "{\"v\":1}", AT).await.unwrap();
    assert!(new && third.version == 3);
    store.save_workflow("a", "h2", "{\"v\":2}", AT).await.unwrap();
    store.save_workflow("Z", "h2", "{\"v\":2}", AT).await.unwrap();
    assert_eq!(store.workflow("w", None).await.unwrap(), Some(third));
    assert_eq!(store.workflow("w", Some(1)).await.unwrap(), Some(first));
    assert_eq!(store.workflow("w", Some(9)).await.unwrap(), None);
    assert_eq!(store.workflow("none", None).await.unwrap(), None);
    assert_eq!(store.definition("h2").await.unwrap().as_deref(), Some("{\"v\":2}"));
    let names = async |after, limit| {
        let rows = store.workflows(after, limit).await.unwrap();
        rows.into_iter().map(|row| format!("{}@{}", row.name, row.version)).collect::<Vec<_>>()
    };
    assert_eq!(names(None, 9).await, ["Z@1", "a@1", "w@3"]);
    assert_eq!(names(Some("Z"), 1).await, ["a@1"]);
    let racing = (0..8).map(|n| {
        let store = std::sync::Arc::clone(store);
        async move { store.save_workflow("race", &format!("h{n}"), "{}", AT).await.unwrap().0 }
    });
    let rows = futures_util::future::join_all(racing).await;
    let mut versions: Vec<u32> = rows.into_iter().map(|row| row.version).collect();
    versions.sort_unstable();
    assert_eq!(versions, (1..=8).collect::<Vec<_>>());
}

async fn definitions_come_with_starts(bed: Bed) {
    let me = register(&bed).await;
    assert_eq!(bed.store.definition("hash").await, Ok(None));
    let bare = Start { definition_text: None, ..start("b", DUE) };
    write(&bed, me, [start("a", DUE), bare, start("c", DUE)]).await;
    let text = bed.store.definition("hash").await.unwrap();
    assert_eq!(text.as_deref(), Some("{\"name\":\"w\"}"));
}

async fn payloads_come_back_byte_for_byte(bed: Bed) {
    let me = register(&bed).await;
    let events = vec![
        "{\"a\":\"\\u0000\\ud83d\\ude00\",\"n\":12345678901234567890,\"z\":-0,\"y\":1.10}"
            .to_owned(),
        format!("{{\"b\":\"\u{2028}\u{2029}ü\",\"a\":1e5}}"),
        format!("\"{}\"", "x".repeat(1024 * 1024)),
        "null".to_owned(),
    ];
    let metadata = "{\"z\":\"\\u0000\",\"a\":98765432109876543210}";
    let begin = Start {
        records: Records { first: 1, events: events.clone(), at: AT },
        metadata: Json::trusted(metadata.to_owned()).unwrap(),
        ..start("t", Disposition::Keep)
    };
    write(&bed, me, [begin]).await;
    assert_eq!(texts(&bed, "t", 0).await, events);
    assert_eq!(row(&bed, "t").await.metadata.as_str(), metadata);
    let body = Json::trusted(events[0].clone()).unwrap();
    let message = Message { key: "k".to_owned(), body };
    bed.store.post(&id("t"), &message).await.unwrap();
    assert_eq!(bed.store.inbox(&id("t")).await, Ok(vec![message.clone()]));
    let taken = vec![("k".to_owned(), message.body.clone())];
    let batch = appends([Append { taken, ..append("t", 1, 4) }]);
    bed.store.write(me, &batch).await.unwrap();
    assert_eq!(bed.store.answer(&id("t"), "k").await, Ok(Some(message.body)));
}

async fn reads_start_and_stop_inside_an_append(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [Start { records: records(1, 3), ..start("t", Disposition::Keep) }]).await;
    let batch = appends([Append { records: Some(records(4, 6)), ..append("t", 1, 3) }]);
    bed.store.write(me, &batch).await.unwrap();
    let found = bed.store.read(&id("t"), 1, 3).await.unwrap();
    assert_eq!(found, [records(2, 3), records(4, 4)]);
    assert_eq!(bed.store.read(&id("t"), 0, 99).await.unwrap(), [records(1, 3), records(4, 6)]);
    assert_eq!(bed.store.read(&id("t"), 5, 99).await.unwrap(), [records(6, 6)]);
    assert_eq!(bed.store.read(&id("t"), 6, 99).await, Ok(vec![]));
    assert_eq!(bed.store.read(&id("t"), 60, 99).await, Ok(vec![]));
    assert_eq!(bed.store.read(&id("t"), 0, 0).await, Ok(vec![]));
}

async fn big_mixed_batches_land_whole(bed: Bed) {
    let me = register(&bed).await;
    let name = |n: usize| format!("t{n:04}");
    write(&bed, me, (0..700).map(|n| start(&name(n), Disposition::Keep))).await;
    let mut batch = appends((0..700).map(|n| append(&name(n), 1, 1)));
    batch.extend(starts((700..1300).map(|n| keyed(&name(n), &name(n)))));
    // Interleaved, so that outcomes must find their way back.
    let mut mixed = Vec::new();
    for n in 0..1300 {
        mixed.push(batch[n * 7 % 1300].clone());
    }
    let outcomes = bed.store.write(me, &mixed).await.unwrap();
    assert_eq!(outcomes, vec![WRITTEN; 1300]);
    let ids: Vec<ThreadId> = (0..1300).map(|n| id(&name(n))).collect();
    let heads = bed.store.heads(&ids).await.unwrap();
    assert_eq!(heads.iter().map(|(_, head)| head).sum::<u64>(), 700 * 2 + 600);
    assert_eq!(bed.store.write(me, &[]).await, Ok(vec![]));
}

async fn damage_is_reported(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, ["flip", "gap", "tail", "fine"].map(|n| start(n, Disposition::Keep))).await;
    for prev in 1..4 {
        let batch = ["flip", "gap", "tail", "fine"].map(|n| append(n, 1, prev));
        bed.store.write(me, &appends(batch)).await.unwrap();
    }
    let sqlite = "UPDATE journal SET payload = x'7b7d' WHERE thread_id = 'flip' AND seq = 2;
                  DELETE FROM journal WHERE thread_id = 'gap' AND seq = 3;
                  DELETE FROM journal WHERE thread_id = 'tail' AND seq = 4;";
    let postgres = "UPDATE rethread.journal SET payload = set_byte(payload, 3, 7)
                        WHERE thread_id = 'flip' AND seq = 2;
                    DELETE FROM rethread.journal WHERE thread_id = 'gap' AND seq = 3;
                    DELETE FROM rethread.journal WHERE thread_id = 'tail' AND seq = 4;";
    if !bed.sabotage(sqlite, postgres).await {
        return;
    }
    for (thread, at) in [("flip", 2), ("gap", 3), ("tail", 4)] {
        let found = bed.store.read(&id(thread), 0, 99).await;
        assert!(matches!(found, Err(StoreError::Corrupt { seq, .. }) if seq == at), "{found:?}");
    }
    assert_eq!(texts(&bed, "fine", 0).await.len(), 4);
    assert_eq!(texts(&bed, "flip", 2).await.len(), 2);
}

async fn a_shared_secret_is_made_once(bed: Bed) {
    assert_eq!(bed.store.shared_secret("a", [1; 32]).await, Ok([1; 32]));
    assert_eq!(bed.store.shared_secret("a", [2; 32]).await, Ok([1; 32]));
    assert_eq!(bed.store.shared_secret("b", [2; 32]).await, Ok([2; 32]));
    assert_eq!(bed.store.ping().await, Ok(()));
}

async fn reopening_keeps_everything(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("t", Disposition::Keep), keyed("u", "k")]).await;
    post(&bed, "t", "m").await;
    bed.store.save_workflow("w", "h", "{}", AT).await.unwrap();
    bed.store.shared_secret("s", [3; 32]).await.unwrap();
    let before = bed.store.threads(&ThreadFilter::default(), 9).await.unwrap();
    let alone = bed.is_alone();
    let Some(bed) = bed.reopened().await else { return };
    assert_eq!(bed.store.threads(&ThreadFilter::default(), 9).await.unwrap(), before);
    assert_eq!(texts(&bed, "t", 0).await.len(), 1);
    assert_eq!(bed.store.inbox(&id("t")).await.unwrap().len(), 1);
    assert!(bed.store.by_idempotency_key("k").await.unwrap().is_some());
    assert!(bed.store.workflow("w", None).await.unwrap().is_some());
    assert_eq!(bed.store.shared_secret("s", [4; 32]).await, Ok([3; 32]));
    // Who holds the lock file knows that the earlier owner is dead; others wait for its lease.
    let heir = register(&bed).await;
    assert!(heir > me);
    assert_eq!(bed.store.renew(me, TTL).await, Ok(!alone));
    let claimed = claim_ids(&bed, heir).await;
    assert_eq!(claimed.contains(&id("t")), alone);
}

async fn long_labels_and_odd_texts_are_held(bed: Bed) {
    let me = register(&bed).await;
    let long = "ü".repeat(200_000);
    let labels = vec![
        ("long".to_owned(), long.clone()),
        ("nul".to_owned(), "a\0b".to_owned()),
        ("nul\0".to_owned(), "x".to_owned()),
        ("twice".to_owned(), "1".to_owned()),
    ];
    let filters = labels.clone();
    write(&bed, me, [Start { labels, ..start("t", DUE) }, keyed("u", &long)]).await;
    for pair in filters {
        let filter = ThreadFilter { metadata: vec![pair], ..ThreadFilter::default() };
        assert_eq!(listed(&bed, &filter, 9).await, ["t"]);
    }
    assert!(bed.store.by_idempotency_key(&long).await.unwrap().is_some());
}

async fn register(bed: &Bed) -> Incarnation {
    bed.store.register("test", TTL).await.unwrap()
}

async fn write(bed: &Bed, me: Incarnation, batch: impl IntoIterator<Item = Start>) {
    let outcomes = bed.store.write(me, &starts(batch)).await.unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == WRITTEN), "{outcomes:?}");
}

async fn post(bed: &Bed, thread: &str, key: &str) -> Posted {
    let message = Message { key: key.to_owned(), body: Json::null() };
    let posted = bed.store.post(&id(thread), &message).await.unwrap();
    bed.clock.advance(Duration::from_millis(1));
    posted
}

async fn row(bed: &Bed, thread: &str) -> rethread::store::ThreadRow {
    bed.store.thread(&id(thread)).await.unwrap().unwrap()
}

async fn texts(bed: &Bed, thread: &str, after: u64) -> Vec<String> {
    let found = bed.store.read(&id(thread), after, 1000).await.unwrap();
    let mut next = after + 1;
    for records in &found {
        assert_eq!(records.first, next);
        next = records.last() + 1;
    }
    found.into_iter().flat_map(|records| records.events).collect()
}

async fn claim_ids(bed: &Bed, me: Incarnation) -> Vec<ThreadId> {
    let claimed = bed.store.claim(me, 99).await.unwrap();
    let mut ids: Vec<ThreadId> = claimed.into_iter().map(|claim| claim.thread_id).collect();
    ids.sort();
    ids
}

async fn listed(bed: &Bed, filter: &ThreadFilter, limit: usize) -> Vec<String> {
    let rows = bed.store.threads(filter, limit).await.unwrap();
    rows.into_iter().map(|row| row.thread_id.to_string()).collect()
}

/// Name, epoch, head and untaken messages of each thread.
async fn heads(bed: &Bed, names: &[String]) -> Vec<(String, i64, u64, Vec<String>)> {
    let mut found = Vec::new();
    for name in names {
        let row = row(bed, name).await;
        let inbox = bed.store.inbox(&id(name)).await.unwrap();
        let keys = inbox.into_iter().map(|message| message.key).collect();
        found.push((name.clone(), row.epoch, row.last_seq, keys));
    }
    found
}
