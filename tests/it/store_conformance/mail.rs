//! Messages to threads.

use std::time::Duration;

use rethread::model::{Incarnation, Json};
use rethread::store::{Append, Disposition, Message, Posted, Write, WriteOutcome};

use super::{WRITTEN, claim_ids, heads, post, register, row, write};
use crate::support::beds::Bed;
use crate::support::writes::{
    ASLEEP, DUE, FUTURE, PAST, append, appends, id, release, start, takes,
};

pub(super) async fn messages_are_taken_exactly_once(bed: Bed) {
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
    let batch = appends([Append { sides: takes(taken.clone()), ..append("t", 1, 1) }]);
    let outcomes = bed.store.write(me, &batch).await.unwrap();
    assert_eq!(outcomes, [WriteOutcome::Written { mail: 1 }]);
    assert_eq!(bed.store.answer(&id("t"), "a").await, Ok(Some(answer)));
    assert_eq!(bed.store.answer(&id("t"), "c").await, Ok(None));
    assert_eq!(post(&bed, "t", "a").await, Posted::Duplicate);
    // Taking a message again, or one that never came, counts for nothing.
    let mut again = taken;
    again.push(("none".to_owned(), Json::null()));
    again.push(("c".to_owned(), Json::null()));
    let batch = appends([Append { sides: takes(again), ..append("t", 1, 2) }]);
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WRITTEN]);
    assert_eq!(bed.store.inbox(&id("t")).await, Ok(vec![]));
    assert_eq!(bed.store.mail(me).await, Ok(vec![]));
}

pub(super) async fn a_message_wakes_a_sleeping_thread(bed: Bed) {
    let me = register(&bed).await;
    let later = Disposition::Release { wake_at: Some(FUTURE) };
    write(&bed, me, [start("t", ASLEEP), start("u", later), start("v", DUE)]).await;
    assert_eq!(bed.store.claim(me, 9, &[]).await.unwrap().len(), 1);
    assert_eq!(post(&bed, "t", "k").await, Posted::Stored { owner: 0 });
    assert_eq!(post(&bed, "u", "k").await, Posted::Stored { owner: 0 });
    assert_eq!(bed.store.queued(9).await, Ok(2));
    assert_eq!(claim_ids(&bed, me).await, [id("t"), id("u")]);
    assert_eq!(bed.store.mail(me).await, Ok(vec![id("t"), id("u")]));
}

pub(super) async fn a_release_with_untaken_mail_is_due_at_once(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("t", Disposition::Keep)]).await;
    post(&bed, "t", "k").await;
    let batch = appends([release("t", 1, 1, ASLEEP)]);
    let outcomes = bed.store.write(me, &batch).await.unwrap();
    assert_eq!(outcomes, [WriteOutcome::Written { mail: 1 }]);
    assert_eq!(claim_ids(&bed, me).await, [id("t")]);
    let taken = vec![("k".to_owned(), Json::null())];
    let batch = appends([Append { sides: takes(taken), ..release("t", 2, 1, ASLEEP) }]);
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WRITTEN]);
    assert_eq!(bed.store.claim(me, 9, &[]).await, Ok(vec![]));
}

pub(super) async fn what_is_set_aside_rests_until_its_time_or_the_next_message(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("t", Disposition::Keep)]).await;
    post(&bed, "t", "k").await;
    let aside = Disposition::SetAside { until: FUTURE };
    let batch = appends([release("t", 1, 1, aside)]);
    let outcomes = bed.store.write(me, &batch).await.unwrap();
    assert_eq!(outcomes, [WriteOutcome::Written { mail: 1 }]);
    assert_eq!(bed.store.claim(me, 9, &[]).await, Ok(vec![]));
    assert_eq!(row(&bed, "t").await.wake_at, Some(FUTURE));
    post(&bed, "t", "l").await;
    assert_eq!(claim_ids(&bed, me).await, [id("t")]);
    let due = appends([release("t", 2, 1, Disposition::SetAside { until: PAST })]);
    bed.store.write(me, &due).await.unwrap();
    assert_eq!(bed.store.claim(me, 9, &[]).await.unwrap()[0].mail, 2);
}

pub(super) async fn a_fenced_write_takes_no_message(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("t", Disposition::Keep)]).await;
    post(&bed, "t", "k").await;
    let taken = vec![("k".to_owned(), Json::null())];
    let batch = appends([Append { sides: takes(taken), ..append("t", 7, 1) }]);
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WriteOutcome::Fenced]);
    assert_eq!(bed.store.inbox(&id("t")).await.unwrap().len(), 1);
    assert_eq!(bed.store.answer(&id("t"), "k").await, Ok(None));
}

pub(super) async fn racing_messages_are_never_left_asleep(bed: Bed) {
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
                    sides: takes(keys.into_iter().map(|key| (key, Json::null()))),
                    ..release(&name, epoch, last, ASLEEP)
                }
            }));
        let posts = names.iter().map(|name| {
            let message = Message { key: format!("r{round}"), body: Json::null() };
            let (store, thread) = (std::sync::Arc::clone(&bed.store), id(name));
            async move { store.post(&thread, &message).await.unwrap() }
        });
        let posts = futures_util::future::join_all(posts);
        let ((), posted) = tokio::join!(until_written(&bed, me, batch), posts);
        seen += posted.len();
        bed.clock.advance(Duration::from_millis(1));
        let mut claimed = bed.store.claim(me, THREADS * 2, &[]).await.unwrap();
        claimed.sort_by(|a, b| a.thread_id.cmp(&b.thread_id));
        assert_eq!(claimed.len(), THREADS, "round {round}: a message is left asleep");
    }
    assert_eq!(seen, THREADS * ROUNDS);
}

/// Writes a batch, and again whatever met the lock of a message that was just being stored.
async fn until_written(bed: &Bed, me: Incarnation, mut batch: Vec<Write>) {
    while !batch.is_empty() {
        let outcomes = bed.store.write(me, &batch).await.unwrap();
        let mut outcomes = outcomes.into_iter();
        batch.retain(|_| match outcomes.next().unwrap() {
            WriteOutcome::Written { .. } => false,
            WriteOutcome::Busy => true,
            other @ (WriteOutcome::Fenced
            | WriteOutcome::ThreadExists
            | WriteOutcome::KeyExists
            | WriteOutcome::DefinitionMissing
            | WriteOutcome::Refused) => panic!("{other:?}"),
        });
    }
}

pub(super) async fn parked_threads_sleep_until_their_time(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("t", Disposition::Keep)]).await;
    let parked = Disposition::Release { wake_at: Some(FUTURE) };
    let batch = appends([Append { disposition: parked, ..append("t", 1, 1) }]);
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WRITTEN]);
    assert_eq!(bed.store.claim(me, 9, &[]).await, Ok(vec![]));
    let row = row(&bed, "t").await;
    assert_eq!((row.owner, row.epoch, row.wake_at), (0, 1, Some(FUTURE)));
    assert_eq!(bed.store.next_wake().await, Ok(Some(FUTURE)));
}

pub(super) async fn messages_of_a_kind_are_found_behind_all_others(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("t", Disposition::Keep), start("u", Disposition::Keep)]).await;
    for at in 0..300 {
        post(&bed, "t", &format!("small{at}")).await;
    }
    post(&bed, "u", "told:u").await;
    let told = Message { key: "told:1".to_owned(), body: Json::null() };
    bed.store.post_apart(&id("t"), &told).await.unwrap();
    assert_eq!(bed.store.post_apart(&id("t"), &told).await, Ok(Posted::Duplicate));
    assert_eq!(bed.store.inbox_of(&id("t"), "told:").await, Ok(vec![told]));
    assert_eq!(bed.store.inbox_of(&id("t"), "t%").await, Ok(vec![]));
    let answers = vec![("told:1".to_owned(), Json::null())];
    let batch = appends([Append { sides: takes(answers), ..append("t", 1, 1) }]);
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WriteOutcome::Written { mail: 300 }]);
    assert_eq!(bed.store.inbox_of(&id("t"), "told:").await, Ok(vec![]));
}

pub(super) async fn an_inbox_is_read_in_parts(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("t", Disposition::Keep)]).await;
    let large = Json::string(&"x".repeat(700_000));
    for key in ["large0", "large1"] {
        let message = Message { key: key.to_owned(), body: large.clone() };
        bed.store.post(&id("t"), &message).await.unwrap();
    }
    for at in 0..300 {
        post(&bed, "t", &format!("small{at}")).await;
    }
    let (mut epoch_head, mut taken, mut parts) = (1, Vec::new(), Vec::new());
    loop {
        let part: Vec<String> =
            bed.store.inbox(&id("t")).await.unwrap().into_iter().map(|m| m.key).collect();
        if part.is_empty() {
            break;
        }
        let answers = part.iter().map(|key| (key.clone(), Json::null()));
        let batch = appends([Append { sides: takes(answers), ..append("t", 1, epoch_head) }]);
        let left = u32::try_from(302 - taken.len() - part.len()).unwrap();
        let outcomes = bed.store.write(me, &batch).await.unwrap();
        assert!(matches!(outcomes[0], WriteOutcome::Written { mail } if (mail > 0) == (left > 0)));
        epoch_head += 1;
        parts.push(part.len());
        taken.extend(part);
    }
    assert_eq!(taken[..3], ["large0", "large1", "small0"]);
    assert_eq!(taken.len(), 302);
    assert_eq!(parts, [1, 256, 45]);
}

pub(super) async fn untaken_messages_are_bounded_and_taken_ones_keep_no_body(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, ["t", "u"].map(|name| start(name, Disposition::Keep))).await;
    let large =
        |key: &str| Message { key: key.to_owned(), body: Json::string(&"x".repeat(3 << 20)) };
    let posted =
        async |thread: &str, message: &Message| bed.store.post(&id(thread), message).await.unwrap();
    for key in ["a", "b"] {
        assert_eq!(posted("t", &large(key)).await, Posted::Stored { owner: me });
    }
    assert_eq!(posted("t", &large("c")).await, Posted::Full);
    assert_eq!(posted("t", &large("b")).await, Posted::Duplicate);
    // Whoever wants to stop the thread finds room.
    assert_eq!(post(&bed, "t", "small").await, Posted::Stored { owner: me });
    assert_eq!(posted("u", &large("a")).await, Posted::Stored { owner: me });
    let taken = ["a", "b"].map(|key| (key.to_owned(), Json::null())).to_vec();
    let batch = appends([Append { sides: takes(taken), ..append("t", 1, 1) }]);
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WriteOutcome::Written { mail: 1 }]);
    assert_eq!(posted("t", &large("c")).await, Posted::Stored { owner: me });
    assert_eq!(posted("t", &large("a")).await, Posted::Duplicate);
    let kept = bed.archive.stored_thread("t").await.unwrap().unwrap();
    let kept = bed.archive.belongings(&kept).await.unwrap().inbox;
    let sizes: Vec<_> = kept.iter().map(|message| message.body.len()).collect();
    assert_eq!(sizes, [4, 4, 4, (3 << 20) + 2]);
    let taken = bed.store.answer(&id("t"), "a").await;
    assert_eq!(taken, Ok(Some(Json::null())));

    for n in 1..1_000 {
        assert_eq!(post(&bed, "u", &format!("m{n}")).await, Posted::Stored { owner: me });
    }
    assert_eq!(post(&bed, "u", "more").await, Posted::Full);
    let told = Message { key: "told".to_owned(), body: Json::null() };
    assert_eq!(bed.store.post_apart(&id("u"), &told).await, Ok(Posted::Stored { owner: me }));
    let taken = vec![("m1".to_owned(), Json::null()), ("m2".to_owned(), Json::null())];
    let batch = appends([Append { sides: takes(taken), ..append("u", 1, 1) }]);
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WriteOutcome::Written { mail: 999 }]);
    assert_eq!(post(&bed, "u", "more").await, Posted::Stored { owner: me });
}
