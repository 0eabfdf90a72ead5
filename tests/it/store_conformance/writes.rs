//! Starts, appends, fences and unknown outcomes.

use std::time::Duration;

use rethread::model::Json;
use rethread::store::{Append, Disposition, InterventionRow, Start, ThreadFilter, WriteOutcome};

use super::notices::subscribe;
use super::{WRITTEN, post, register, row, texts, write};
use crate::support::beds::Bed;
use crate::support::writes::{
    ASLEEP, AT, DUE, PAST, append, appends, id, indexes, intervention, keyed, records, release,
    start, starts, takes, tells,
};

pub(super) async fn a_fenced_write_has_no_effect_and_its_neighbours_land(bed: Bed) {
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

pub(super) async fn a_zombie_cannot_write_after_a_takeover(bed: Bed) {
    let zombie = register(&bed).await;
    write(&bed, zombie, [start("t", Disposition::Keep), start("u", Disposition::Keep)]).await;
    bed.expire_leases().await;
    // Nobody has replaced it yet: finished work may still be recorded.
    let late = appends([append("t", 1, 1)]);
    assert_eq!(bed.store.write(zombie, &late).await.unwrap(), [WRITTEN]);
    let heir = register(&bed).await;
    assert_eq!(bed.store.claim(heir, 9, &[]).await.unwrap().len(), 2);
    let later = appends([append("t", 1, 2), append("u", 2, 1)]);
    let fenced = [WriteOutcome::Fenced, WriteOutcome::Fenced];
    assert_eq!(bed.store.write(zombie, &later).await.unwrap(), fenced);
    let heirs = appends([append("t", 2, 2), append("u", 2, 1)]);
    assert_eq!(bed.store.write(heir, &heirs).await.unwrap(), [WRITTEN, WRITTEN]);
}

pub(super) async fn a_released_thread_is_fenced(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("t", Disposition::Keep)]).await;
    let batch = appends([release("t", 1, 1, ASLEEP)]);
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WRITTEN]);
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WriteOutcome::Fenced]);
    let row = row(&bed, "t").await;
    assert_eq!((row.owner, row.wake_at, row.last_seq, row.updated_at), (0, None, 1, AT));
}

pub(super) async fn a_started_thread_is_driven_by_its_writer(bed: Bed) {
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

pub(super) async fn a_start_by_nobody_is_claimed_at_once(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me + 50, [start("t", Disposition::Keep)]).await;
    assert_eq!(row(&bed, "t").await.owner, 0);
    bed.clock.advance(Duration::from_millis(1));
    assert_eq!(bed.store.claim(me, 9, &[]).await.unwrap().len(), 1);
}

pub(super) async fn taken_ids_and_keys_are_told_apart(bed: Bed) {
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

pub(super) async fn duplicates_in_one_batch_make_one_thread(bed: Bed) {
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

pub(super) async fn an_expired_key_is_taken_over(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [keyed("t", "k")]).await;
    bed.expire_keys().await;
    assert_eq!(bed.store.by_idempotency_key("k").await, Ok(None));
    write(&bed, me, [keyed("u", "k")]).await;
    let found = bed.store.by_idempotency_key("k").await.unwrap();
    assert_eq!(found, Some((id("u"), "hash-u".to_owned())));
    assert!(bed.store.thread(&id("t")).await.unwrap().is_some());
}

pub(super) async fn a_repeated_batch_is_recognised_as_written(bed: Bed) {
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

pub(super) async fn a_start_lands_with_its_sides_and_takes_no_message(bed: Bed) {
    let me = register(&bed).await;
    subscribe(&bed, &["a"]).await;
    let asked = intervention("t", "t~1", 1);
    let sides = |row: &InterventionRow| {
        let all = [indexes([row.clone()]), tells(&["a"]), takes([("m".to_owned(), Json::null())])];
        all.concat()
    };
    let refused = Start {
        sides: sides(&intervention("u", "u~1", 1)),
        definition: "unknown".to_owned(),
        definition_text: None,
        ..start("u", DUE)
    };
    let lands = Start { sides: sides(&asked), ..start("t", Disposition::Keep) };
    let outcomes = bed.store.write(me, &starts([lands, start("v", DUE), refused])).await.unwrap();
    assert_eq!(outcomes, [WRITTEN, WRITTEN, WriteOutcome::DefinitionMissing]);
    assert_eq!(bed.store.intervention("t~1").await, Ok(Some(asked)));
    assert_eq!(bed.store.intervention("u~1").await, Ok(None));
    let counts = bed.store.notice_counts().await.unwrap();
    assert_eq!(counts.iter().map(|count| count.pending).collect::<Vec<_>>(), [1]);
    // A message of the same key that comes later waits as ever.
    post(&bed, "t", "m").await;
    assert_eq!(bed.store.answer(&id("t"), "m").await, Ok(None));
    assert_eq!(bed.store.inbox(&id("t")).await.unwrap().len(), 1);
}
