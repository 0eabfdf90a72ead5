//! What is stored comes back, or its damage is reported.

use rethread::model::{Json, ThreadId};
use rethread::store::{
    Append, Disposition, Message, Records, Start, StoreError, ThreadFilter, WriteOutcome,
};

use super::{WRITTEN, claim_ids, post, register, row, texts, write};
use crate::support::beds::{Bed, TTL};
use crate::support::writes::{AT, DUE, append, appends, id, keyed, records, start, starts, takes};

pub(super) async fn definitions_come_with_starts(bed: Bed) {
    let me = register(&bed).await;
    assert_eq!(bed.store.definition("hash").await, Ok(None));
    let bare = Start { definition_text: None, ..start("b", DUE) };
    write(&bed, me, [start("a", DUE), bare, start("c", DUE)]).await;
    let text = bed.store.definition("hash").await.unwrap();
    assert_eq!(text.as_deref(), Some("{\"name\":\"w\"}"));
}

pub(super) async fn a_start_without_its_definition_is_sent_back(bed: Bed) {
    let me = register(&bed).await;
    let bare = |start: Start| Start { definition_text: None, ..start };
    let other = |start: Start| Start { definition: "other".to_owned(), ..start };
    write(&bed, me, [start("a", DUE), keyed("b", "k")]).await;
    let missing = WriteOutcome::DefinitionMissing;
    let batch = starts([
        bare(other(keyed("c", "l"))),
        bare(start("d", DUE)),
        bare(other(start("e", Disposition::Keep))),
        // Whether a thread is there is said first, whether a key is free last.
        bare(other(start("a", DUE))),
        bare(other(keyed("f", "k"))),
        // What was sent back has taken neither thread nor key.
        keyed("g", "l"),
        keyed("e", "m"),
    ]);
    let outcomes = bed.store.write(me, &batch).await.unwrap();
    let exists = WriteOutcome::ThreadExists;
    assert_eq!(outcomes, [missing, WRITTEN, missing, exists, missing, WRITTEN, WRITTEN]);
    assert_eq!(bed.store.thread(&id("c")).await, Ok(None));
    assert_eq!(bed.store.by_idempotency_key("k").await.unwrap().unwrap().0, id("b"));
    assert_eq!(bed.store.definition("other").await, Ok(None));
    write(&bed, me, [other(start("c", DUE))]).await;
    write(&bed, me, [bare(other(start("h", DUE)))]).await;
    bed.store.save_workflow("w", "stored", "{}", AT).await.unwrap();
    let stored = Start { definition: "stored".to_owned(), ..start("i", DUE) };
    write(&bed, me, [bare(stored)]).await;
    // A text that was refused with its thread is not there either.
    let refused = Start { definition: "third".to_owned(), ..start("a", DUE) };
    assert_eq!(bed.store.write(me, &starts([refused])).await.unwrap(), [exists]);
    let third = Start { definition: "third".to_owned(), ..start("j", DUE) };
    assert_eq!(bed.store.write(me, &starts([bare(third)])).await.unwrap(), [missing]);
}

pub(super) async fn payloads_come_back_byte_for_byte(bed: Bed) {
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
    let batch = appends([Append { sides: takes(taken), ..append("t", 1, 4) }]);
    bed.store.write(me, &batch).await.unwrap();
    assert_eq!(bed.store.answer(&id("t"), "k").await, Ok(Some(message.body)));
}

pub(super) async fn reads_start_and_stop_inside_an_append(bed: Bed) {
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

pub(super) async fn reads_of_large_events_are_cut_and_go_on(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("t", Disposition::Keep)]).await;
    let large = format!("\"{}\"", "x".repeat(1024 * 1024));
    for seq in 2..=12 {
        let records = Records { first: seq, events: vec![large.clone()], at: AT };
        let batch = appends([Append { records: Some(records), ..append("t", 1, seq - 1) }]);
        assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WRITTEN]);
    }
    let (mut after, mut reads) = (0, 0);
    while after < 12 {
        let found = bed.store.read(&id("t"), after, 1000).await.unwrap();
        let bytes: usize = found.iter().flat_map(|r| &r.events).map(String::len).sum();
        assert!((1..=1024 * 1024 + 4096).contains(&bytes), "{bytes}");
        assert_eq!(found[0].first, after + 1);
        after = found.last().unwrap().last();
        reads += 1;
    }
    assert!(reads >= 11, "{reads}");
}

pub(super) async fn big_mixed_batches_land_whole(bed: Bed) {
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

pub(super) async fn damage_is_reported(bed: Bed) {
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

pub(super) async fn a_shared_secret_is_made_once(bed: Bed) {
    assert_eq!(bed.store.shared_secret("a", [1; 32]).await, Ok([1; 32]));
    assert_eq!(bed.store.shared_secret("a", [2; 32]).await, Ok([1; 32]));
    assert_eq!(bed.store.shared_secret("b", [2; 32]).await, Ok([2; 32]));
    assert_eq!(bed.store.ping().await, Ok(()));
}

pub(super) async fn reopening_keeps_everything(bed: Bed) {
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
