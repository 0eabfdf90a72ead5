//! What one store holds can be put into any other, once.

use std::time::Duration;

use rethread::model::{Json, Namespace, ThreadStatus, Timestamp};
use rethread::store::{
    Append, Disposition, Imported, InterventionRow, Records, Start, StoredWorkflow, ThreadDump,
    ThreadFilter, ThreadTable, WriteOutcome,
};

use super::{WRITTEN, claim_ids, post, register, row, texts, write};
use crate::support::beds::Bed;
use crate::support::writes::{
    ASLEEP, AT, DUE, FUTURE, append, appends, end, id, indexes, intervention, keyed, records,
    release, start, takes,
};

/// A page that is smaller than what is there.
const PAGE: usize = 2;
/// What a clock of another store may be ahead or behind here, in milliseconds.
const SLACK: i64 = 60_000;

pub(super) async fn what_is_dumped_reads_back_byte_for_byte_in_any_store(bed: Bed) {
    fill(&bed).await;
    let dumps = dumps(&bed).await;
    let names: Vec<&str> = dumps.iter().map(|dump| dump.row.thread_id.as_str()).collect();
    assert_eq!(names, ["asleep", "driven", "due", "ended", "letters", "odd", "parked"]);
    for target in [Bed::memory(), Bed::sqlite().await, Bed::postgres().await] {
        move_all(&bed, &target).await;
        for dump in &dumps {
            assert_eq!(dump.damage(), None);
            let id = &dump.row.thread_id;
            let found = ThreadDump::read(&*target.archive, id).await.unwrap().unwrap();
            assert_same(dump, &found, &target.now().await);
        }
        // Whatever reads a store finds it as if it had been written here.
        assert_eq!(texts(&target, "odd", 0).await, texts(&bed, "odd", 0).await);
        assert_eq!(texts(&target, "driven", 2).await, texts(&bed, "driven", 2).await);
        assert_eq!(target.store.inbox(&id("letters")).await, bed.store.inbox(&id("letters")).await);
        assert_eq!(
            target.store.answer(&id("letters"), "taken").await,
            Ok(Some(Json::trusted("{\"n\":1.10}".to_owned()).unwrap()))
        );
        for row in asked() {
            assert_eq!(target.store.intervention(&row.id).await, Ok(Some(row)));
        }
        let counts = target.store.intervention_counts(&Namespace::default()).await.unwrap();
        assert_eq!((counts.open, counts.resolved), (1, 1));
        let (thread, hash) = target.store.by_idempotency_key("key-odd").await.unwrap().unwrap();
        assert_eq!((thread.as_str(), hash.as_str()), ("odd", "hash-odd"));
        let filter = ThreadFilter {
            metadata: vec![("long".to_owned(), "x".repeat(3_000))],
            ..ThreadFilter::default()
        };
        assert_eq!(target.store.threads(&filter, 9).await.unwrap().len(), 1);
        assert_eq!(row(&target, "ended").await.summary.status, ThreadStatus::Completed);
        assert_eq!(target.store.definition("hash").await, bed.store.definition("hash").await);
        // Who drove it is gone; who slept sleeps on.
        target.clock.advance(Duration::from_mins(5));
        let me = register(&target).await;
        let now = target.now().await;
        let now = now.start().midpoint(*now.end());
        let due = dumps.iter().filter(|dump| {
            let row = &dump.row;
            row.thread_id == "driven" || row.wake_at.is_some_and(|at| at <= now)
        });
        let due: Vec<_> = due.map(|dump| id(&dump.row.thread_id)).collect();
        assert!(due.len() >= 3, "{due:?}");
        assert_eq!(claim_ids(&target, me).await, due);
        assert_eq!(row(&target, "driven").await.epoch, 2);
        assert_eq!(row(&target, "parked").await.wake_at, Some(FUTURE));
    }
}

pub(super) async fn a_thread_is_taken_in_once_and_knows_its_own_again(bed: Bed) {
    let source = Bed::memory();
    fill(&source).await;
    let dump = ThreadDump::read(&*source.archive, "driven").await.unwrap().unwrap();
    assert_eq!(bed.archive.import(&dump).await, Ok(Imported::Whole));
    let before = ThreadDump::read(&*bed.archive, "driven").await.unwrap();
    assert_eq!(bed.archive.import(&dump).await, Ok(Imported::Identical));
    assert_eq!(ThreadDump::read(&*bed.archive, "driven").await.unwrap(), before);
    // It may have gone on here since.
    let me = register(&bed).await;
    assert_eq!(claim_ids(&bed, me).await, [id("driven")]);
    let on = appends([append("driven", 2, 4)]);
    assert_eq!(bed.store.write(me, &on).await.unwrap(), [WRITTEN]);
    assert_eq!(bed.archive.import(&dump).await, Ok(Imported::Identical));
    assert_eq!(texts(&bed, "driven", 0).await.len(), 5);
}

pub(super) async fn another_thread_of_the_same_id_is_a_conflict(bed: Bed) {
    let source = Bed::memory();
    fill(&source).await;
    let dump = ThreadDump::read(&*source.archive, "driven").await.unwrap().unwrap();
    let me = register(&bed).await;
    let other = Start { request_hash: "other".to_owned(), ..start("driven", DUE) };
    write(&bed, me, [other]).await;
    let conflict = bed.archive.import(&dump).await.unwrap();
    assert!(matches!(conflict, Imported::Conflict(_)), "{conflict:?}");
    assert_eq!(texts(&bed, "driven", 0).await.len(), 1);
    // The same request at the same moment, and another history: shorter, or with other bytes.
    let mut shorter = dump.clone();
    shorter.row.thread_id = "shorter".to_owned();
    bed.archive.import(&shorter).await.unwrap();
    let mut longer = shorter.clone();
    let mut added = longer.journal[1].clone();
    (added.seq, added.first_seq) = (5, 5);
    longer.journal.push(added);
    let conflict = bed.archive.import(&longer).await.unwrap();
    assert!(matches!(conflict, Imported::Conflict(_)), "{conflict:?}");
    let mut changed = shorter;
    changed.journal[0].payload[0] ^= 1;
    let conflict = bed.archive.import(&changed).await.unwrap();
    assert!(matches!(conflict, Imported::Conflict(_)), "{conflict:?}");
}

pub(super) async fn a_key_that_another_thread_has_stays_with_it(bed: Bed) {
    let source = Bed::memory();
    let dump = async |thread: &str| {
        let there = register(&source).await;
        write(&source, there, [keyed(thread, &format!("{thread}-key"))]).await;
        ThreadDump::read(&*source.archive, thread).await.unwrap().unwrap()
    };
    let me = register(&bed).await;
    write(&bed, me, [keyed("here", "shared")]).await;
    let mut taken = dump("taken").await;
    taken.belongings.key.as_mut().unwrap().key = "shared".to_owned();
    assert_eq!(bed.archive.import(&taken).await, Ok(Imported::WithoutKey));
    let holder = async || bed.store.by_idempotency_key("shared").await.unwrap().unwrap().0;
    assert_eq!(holder().await, id("here"));
    assert_eq!(texts(&bed, "taken", 0).await.len(), 1);
    // What is left of its life moves with it, and an expired one is taken over.
    bed.expire_keys().await;
    let mut late = dump("late").await;
    let key = late.belongings.key.as_mut().unwrap();
    (key.key, key.left_ms) = ("shared".to_owned(), 3_600_000);
    late.row.idempotency_key = Some("shared".to_owned());
    assert_eq!(bed.archive.import(&late).await, Ok(Imported::Whole));
    assert_eq!(holder().await, id("late"));
    let found = ThreadDump::read(&*bed.archive, "late").await.unwrap().unwrap();
    let left = found.belongings.key.unwrap().left_ms;
    assert!((3_600_000 - SLACK..=3_600_000).contains(&left), "{left}");
}

pub(super) async fn versions_of_others_follow_those_that_are_here(bed: Bed) {
    let save = async |hash: &str, at: i64| {
        bed.store.save_workflow("w", hash, "{}", Timestamp::from_millis(at)).await.unwrap()
    };
    save("one", 1).await;
    save("two", 2).await;
    let theirs = |version: i64, hash: &str, created_at: i64| StoredWorkflow {
        name: "w".to_owned(),
        version,
        definition: hash.to_owned(),
        created_at,
    };
    let all = [
        (theirs(1, "two", 10), None),
        (theirs(2, "new", 11), Some(3)),
        (theirs(3, "one", 12), Some(4)),
    ];
    for (version, number) in &all {
        assert_eq!(bed.archive.import_workflow(version).await, Ok(*number));
    }
    // Once more, and after somebody stored another one here.
    save("three", 20).await;
    for (version, _) in &all[1..] {
        assert_eq!(bed.archive.import_workflow(version).await, Ok(None));
    }
    let newest = bed.store.workflow("w", None).await.unwrap().unwrap();
    assert_eq!((newest.version, newest.definition.as_str()), (5, "three"));
    let moved = bed.store.workflow("w", Some(3)).await.unwrap().unwrap();
    assert_eq!((moved.definition.as_str(), moved.created_at.millis()), ("new", 11));
    let found = bed.archive.stored_workflows(("w", 2), 2).await.unwrap();
    assert_eq!(found.iter().map(|row| row.version).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(bed.archive.stored_workflows(("w", 5), 9).await, Ok(vec![]));
}

/// What "driven" asks people.
fn asked() -> [InterventionRow; 2] {
    let open = intervention("driven", "driven:2", 1);
    let resolved_at = Some(AT.plus(Duration::from_secs(1)));
    [InterventionRow { resolved_at, ..intervention("driven", "driven:3", 2) }, open]
}

/// A thread of every kind.
async fn fill(bed: &Bed) {
    let me = register(bed).await;
    let later = Disposition::Release { wake_at: Some(FUTURE) };
    let odd = Start {
        records: Records {
            first: 1,
            events: vec![
                "{\"a\":\"\\u0000\\ud83d\\ude00\",\"n\":12345678901234567890,\"z\":-0}".to_owned(),
                format!("\"{}\"", "ü".repeat(100_000)),
            ],
            at: AT,
        },
        metadata: Json::trusted("{\"z\":\"\\u0000\",\"a\":1.10}".to_owned()).unwrap(),
        labels: vec![("long".to_owned(), "x".repeat(3_000)), ("nul".to_owned(), "a\0b".to_owned())],
        workflow_version: Some(7),
        ..keyed("odd", "key-odd")
    };
    let batch = [
        start("driven", Disposition::Keep),
        start("ended", Disposition::Keep),
        start("letters", Disposition::Keep),
        start("asleep", ASLEEP),
        start("parked", later),
        start("due", DUE),
        odd,
    ];
    write(bed, me, batch).await;
    let sides = indexes(asked());
    let more = Append { records: Some(records(2, 4)), sides, ..append("driven", 1, 1) };
    let over = end("ended", 1, 1, ThreadStatus::Completed);
    bed.store.write(me, &appends([more, over])).await.unwrap();
    for key in ["z", "taken", "a"] {
        post(bed, "letters", key).await;
    }
    let answer = Json::trusted("{\"n\":1.10}".to_owned()).unwrap();
    let taken = vec![("taken".to_owned(), answer)];
    let take = Append { sides: takes(taken), ..release("letters", 1, 1, ASLEEP) };
    let outcomes = bed.store.write(me, &appends([take])).await.unwrap();
    assert_eq!(outcomes, [WriteOutcome::Written { mail: 2 }]);
    bed.store.save_workflow("w", "hash", "{\"name\":\"w\"}", AT).await.unwrap();
    bed.clock.advance(Duration::from_secs(1));
}

async fn dumps(bed: &Bed) -> Vec<ThreadDump> {
    let mut dumps: Vec<ThreadDump> = Vec::new();
    loop {
        let after = dumps.last().map_or("", |dump| dump.row.thread_id.as_str()).to_owned();
        let ids = bed.archive.thread_ids(&after, PAGE).await.unwrap();
        assert!(ids.len() <= PAGE);
        let journals = bed.archive.ids_in(ThreadTable::Journal, &after, PAGE).await.unwrap();
        assert_eq!(journals, ids.iter().map(|id| (id.clone(), true)).collect::<Vec<_>>());
        if ids.is_empty() {
            return dumps;
        }
        for id in ids {
            dumps.push(ThreadDump::read(&*bed.archive, &id).await.unwrap().unwrap());
        }
    }
}

async fn move_all(from: &Bed, to: &Bed) {
    for definition in from.archive.stored_definitions("", 9).await.unwrap() {
        to.archive.import_definition(&definition).await.unwrap();
    }
    for version in from.archive.stored_workflows(("", 0), 9).await.unwrap() {
        assert_eq!(to.archive.import_workflow(&version).await, Ok(Some(1)));
    }
    for dump in dumps(from).await {
        assert_eq!(to.archive.import(&dump).await, Ok(Imported::Whole));
    }
}

/// All is the same but for who drives it and what moves with the clock.
#[track_caller]
fn assert_same(dump: &ThreadDump, found: &ThreadDump, now: &std::ops::RangeInclusive<i64>) {
    assert_eq!(dump.journal, found.journal);
    assert_eq!(dump.belongings.labels, found.belongings.labels);
    assert_eq!(dump.belongings.inbox, found.belongings.inbox);
    assert_eq!(dump.belongings.interventions, found.belongings.interventions);
    let mut expected = dump.row.clone();
    if dump.row.owner != 0 {
        let woken = found.row.wake_at.unwrap();
        assert!(now.contains(&woken), "{woken} in {now:?}");
        (expected.owner, expected.wake_at) = (0, found.row.wake_at);
    }
    assert_eq!(expected, found.row);
    let lives = |dump: &ThreadDump| {
        let key = dump.belongings.key.clone();
        key.map(|key| (key.key, key.request_hash, key.left_ms))
    };
    let (was, is) = (lives(dump), lives(found));
    assert_eq!(was.is_some(), is.is_some());
    if let (Some(was), Some(is)) = (was, is) {
        assert_eq!((&was.0, &was.1), (&is.0, &is.1));
        assert!((was.2 - SLACK..=was.2).contains(&is.2), "{was:?} {is:?}");
    }
}
