//! Snapshots, recoveries, interventions and tallies.

use std::sync::Arc;
use std::time::Duration;

use rethread::model::{Json, Namespace, RecoveryCause, RecoveryStrategy, ThreadStatus, Timestamp};
use rethread::store::{
    Append, Disposition, InterventionCounts, InterventionFilter, InterventionRow, Recovery,
    RecoveryEnd, RecoveryResult, SNAPSHOTS_KEPT, Snapshot, SnapshotKind, Store, ThreadTable,
    WriteOutcome,
};

use super::{WRITTEN, post, register, write};
use crate::support::beds::Bed;
use crate::support::writes::{AT, append, appends, end, id, indexes, intervention, start, takes};

const HOUR: Duration = Duration::from_hours(1);

pub(super) async fn snapshots_come_back_and_the_newest_are_kept(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, ["t", "u"].map(|thread| start(thread, Disposition::Keep))).await;
    let store = &bed.store;
    store.save_snapshot(&snapshot("none", 1)).await.unwrap();
    assert_eq!(store.snapshot(&id("none"), None).await, Ok(None));
    assert_eq!(store.snapshot(&id("t"), None).await, Ok(None));
    for seq in [10, 20, 30] {
        store.save_snapshot(&snapshot("t", seq)).await.unwrap();
    }
    let found = async |until| store.snapshot(&id("t"), until).await.unwrap();
    assert_eq!(found(None).await, Some(snapshot("t", 30)));
    assert_eq!(found(Some(u64::MAX)).await, Some(snapshot("t", 30)));
    assert_eq!(found(Some(30)).await, Some(snapshot("t", 30)));
    assert_eq!(found(Some(29)).await, Some(snapshot("t", 20)));
    assert_eq!(found(Some(9)).await, None);
    // One of the same event takes its place.
    let other = Snapshot {
        kind: SnapshotKind::Pause,
        version: 7,
        at: AT.plus(HOUR),
        sha256: "other".to_owned(),
        state: "[]".to_owned(),
        ..snapshot("t", 20)
    };
    store.save_snapshot(&other).await.unwrap();
    assert_eq!(found(Some(20)).await, Some(other.clone()));
    // A new one takes the oldest's, and one that is older than all is not kept.
    store.save_snapshot(&snapshot("t", 40)).await.unwrap();
    store.save_snapshot(&snapshot("t", 15)).await.unwrap();
    assert_eq!(found(Some(19)).await, None);
    store.save_snapshot(&snapshot("t", 35)).await.unwrap();
    assert_eq!(found(Some(29)).await, None);
    let kept = [found(Some(34)).await, found(Some(39)).await, found(None).await];
    assert_eq!(kept.map(|kept| kept.unwrap().seq), [30, 35, 40]);
    assert_eq!(SNAPSHOTS_KEPT, 3);
    assert_eq!(store.snapshot(&id("u"), None).await, Ok(None));
    let large = Snapshot { state: "ü\u{0}\n".repeat(500_000), ..snapshot("u", 1) };
    store.save_snapshot(&large).await.unwrap();
    assert_eq!(store.snapshot(&id("u"), None).await, Ok(Some(large)));
}

pub(super) async fn a_damaged_snapshot_is_left_to_its_reader(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("t", Disposition::Keep)]).await;
    bed.store.save_snapshot(&snapshot("t", 5)).await.unwrap();
    let damaged = bed
        .sabotage(
            "UPDATE snapshots SET state = x'ff00', kind = 'of a later version'",
            "UPDATE rethread.snapshots SET state = '\\xff00', kind = 'of a later version'",
        )
        .await;
    let found = bed.store.snapshot(&id("t"), None).await.unwrap().unwrap();
    assert_eq!((found.seq, &found.sha256), (5, &snapshot("t", 5).sha256));
    assert_eq!(found.state != snapshot("t", 5).state, damaged);
}

pub(super) async fn an_archive_shows_history_as_it_lies_there(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, ["a", "b", "c"].map(|thread| start(thread, Disposition::Keep))).await;
    for seq in [5, 6, 7] {
        bed.store.save_snapshot(&snapshot("b", seq)).await.unwrap();
    }
    let asked = vec![intervention("b", "b:2", 1)];
    let append = Append { sides: indexes(asked), ..append("b", 1, 1) };
    assert_eq!(bed.store.write(me, &appends([append])).await.unwrap(), [WRITTEN]);
    bed.store.begin_recoveries(&[recovery("c", 1, RecoveryCause::Crashed)]).await.unwrap();
    let damaged = bed
        .sabotage(
            "UPDATE snapshots SET state = x'ff00', version = -1 WHERE seq = 6;
             INSERT INTO interventions (id, thread_id, opened_at, body) VALUES ('x', 'gone', 1, x'00')",
            "UPDATE rethread.snapshots SET state = '\\xff00', version = -1 WHERE seq = 6;
             INSERT INTO rethread.interventions (id, thread_id, opened_at, body)
                 VALUES ('x', 'gone', 1, '\\x00')",
        )
        .await;
    let archive = &bed.archive;
    let found = archive.stored_snapshots("b", 5, 1).await.unwrap();
    let expected = if damaged { (6, -1, &[0xFF, 0][..]) } else { (6, 1, &b"{\"seq\":6}"[..]) };
    assert_eq!((found[0].seq, found[0].version, &found[0].state[..]), expected);
    assert_eq!((found.len(), &found[0].sha256), (1, &snapshot("b", 6).sha256));
    assert_eq!((found[0].kind.as_str(), found[0].at), ("recovery", AT.millis()));
    assert_eq!(archive.stored_snapshots("b", i64::MIN, 9).await.unwrap().len(), 3);
    assert_eq!(archive.stored_snapshots("b", 7, 9).await, Ok(vec![]));
    let row = archive.stored_thread("b").await.unwrap().unwrap();
    let belongings = archive.belongings(&row).await.unwrap();
    let listed = belongings.interventions.iter();
    let listed: Vec<_> = listed.map(|one| (one.id.as_str(), one.resolved_at)).collect();
    assert_eq!(listed, [("b:2", None)]);
    let ids = async |table, after: &str| archive.ids_in(table, after, 9).await.unwrap();
    let named = |ids: &[(&str, bool)]| -> Vec<(String, bool)> {
        ids.iter().map(|(id, known)| ((*id).to_owned(), *known)).collect()
    };
    let journal = ids(ThreadTable::Journal, "").await;
    assert_eq!(journal, named(&[("a", true), ("b", true), ("c", true)]));
    assert_eq!(ids(ThreadTable::Snapshots, "a").await, named(&[("b", true)]));
    assert_eq!(ids(ThreadTable::Snapshots, "b").await, []);
    assert_eq!(ids(ThreadTable::Recoveries, "").await, named(&[("c", true)]));
    let expected = if damaged { &[("b", true), ("gone", false)][..] } else { &[("b", true)] };
    assert_eq!(ids(ThreadTable::Interventions, "").await, named(expected));
}

pub(super) async fn recoveries_come_back_newest_first(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, ["t", "u"].map(|thread| start(thread, Disposition::Keep))).await;
    let store = &bed.store;
    let begun = [
        recovery("t", 2, RecoveryCause::Crashed),
        recovery("t", 3, RecoveryCause::Frozen),
        recovery("none", 3, RecoveryCause::Frozen),
        recovery("u", 2, RecoveryCause::Handover),
        recovery("t", 4, RecoveryCause::Corrupted),
    ];
    store.begin_recoveries(&begun).await.unwrap();
    store.begin_recoveries(&[]).await.unwrap();
    // The first record of a claim stands.
    store.begin_recoveries(&[recovery("t", 4, RecoveryCause::Disconnected)]).await.unwrap();
    let full = RecoveryEnd {
        strategy: Some(RecoveryStrategy::CheckpointRestore),
        to_seq: Some(12),
        duration_ms: 345,
        result: RecoveryResult::Recovered,
        detail: Some("ü\0\n".to_owned()),
    };
    let bare = ended(RecoveryResult::Failed, 0);
    store.end_recovery(&id("t"), 2, &bare).await.unwrap();
    store.end_recovery(&id("t"), 2, &full).await.unwrap();
    store.end_recovery(&id("t"), 3, &bare).await.unwrap();
    store.end_recovery(&id("t"), 9, &full).await.unwrap();
    store.end_recovery(&id("none"), 3, &full).await.unwrap();
    let mut expected: Vec<Recovery> = begun.iter().cloned().rev().collect();
    expected.retain(|recovery| recovery.thread_id == id("t"));
    expected[2].end = Some(full);
    expected[1].end = Some(bare);
    let found = async |before, limit| store.recoveries(&id("t"), before, limit).await.unwrap();
    assert_eq!(found(None, 9).await, expected);
    assert_eq!(found(None, 2).await, expected[..2]);
    assert_eq!(found(Some(4), 1).await, expected[1..2]);
    assert_eq!(found(Some(2), 9).await, []);
    assert_eq!(found(None, 0).await, []);
    assert_eq!(store.recoveries(&id("u"), None, 9).await.unwrap(), begun[3..4]);
    assert_eq!(store.recoveries(&id("none"), None, 9).await.unwrap(), []);
    // What has ended already may be written at once.
    let whole =
        Recovery { end: expected[2].end.clone(), ..recovery("u", 7, RecoveryCause::Frozen) };
    store.begin_recoveries(std::slice::from_ref(&whole)).await.unwrap();
    assert_eq!(store.recoveries(&id("u"), None, 1).await.unwrap(), [whole]);
}

pub(super) async fn recoveries_are_counted_by_cause_and_result(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("t", Disposition::Keep)]).await;
    let (store, later) = (&bed.store, AT.plus(HOUR));
    assert_eq!(store.recovery_counts(&Namespace::default(), AT).await.unwrap(), []);
    let begun = (2..).zip([
        RecoveryCause::Frozen,
        RecoveryCause::Crashed,
        RecoveryCause::Crashed,
        RecoveryCause::Crashed,
        RecoveryCause::Crashed,
    ]);
    let mut begun: Vec<Recovery> =
        begun.map(|(epoch, cause)| recovery("t", epoch, cause)).collect();
    begun[0].started_at = later;
    store.begin_recoveries(&begun).await.unwrap();
    for (epoch, result, millis) in [
        (2, RecoveryResult::Recovered, 7),
        (3, RecoveryResult::Recovered, 10),
        (4, RecoveryResult::Recovered, 15),
        (5, RecoveryResult::Quarantined, 0),
    ] {
        store.end_recovery(&id("t"), epoch, &ended(result, millis)).await.unwrap();
    }
    let counts = async |since| {
        let found = store.recovery_counts(&Namespace::default(), since).await.unwrap();
        found.into_iter().map(|c| (c.cause, c.result, c.count, c.mean_ms)).collect::<Vec<_>>()
    };
    let frozen = (RecoveryCause::Frozen, Some(RecoveryResult::Recovered), 1, Some(7.0));
    let crashed = |result, count, mean| (RecoveryCause::Crashed, result, count, mean);
    let all = [
        crashed(None, 1, None),
        crashed(Some(RecoveryResult::Recovered), 2, Some(12.5)),
        crashed(Some(RecoveryResult::Quarantined), 1, Some(0.0)),
        frozen,
    ];
    assert_eq!(counts(AT).await, all);
    assert_eq!(counts(later).await, [frozen]);
    assert_eq!(counts(later.plus(Duration::from_millis(1))).await, []);
}

pub(super) async fn recoveries_that_begin_at_once_are_kept_once(bed: Bed) {
    let me = register(&bed).await;
    let names: Vec<String> = (0..20).map(|n| format!("t{n}")).collect();
    write(&bed, me, names.iter().map(|name| start(name, Disposition::Keep))).await;
    let racing = (0..8).map(|n| {
        let (store, names) = (Arc::clone(&bed.store), names.clone());
        async move {
            let mut begun: Vec<Recovery> =
                names.iter().map(|name| recovery(name, 2, RecoveryCause::Crashed)).collect();
            if n % 2 == 0 {
                begun.reverse();
            }
            store.begin_recoveries(&begun).await.unwrap();
        }
    });
    futures_util::future::join_all(racing).await;
    for name in &names {
        assert_eq!(bed.store.recoveries(&id(name), None, 9).await.unwrap().len(), 1);
    }
}

pub(super) async fn interventions_are_indexed_with_their_append(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, ["t", "u"].map(|thread| start(thread, Disposition::Keep))).await;
    let open = intervention("t", "i1", 5);
    assert_eq!(bed.store.intervention("i1").await, Ok(None));
    let batch = appends([
        Append { sides: indexes([open.clone()]), ..append("t", 1, 1) },
        append("u", 1, 1),
    ]);
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WRITTEN, WRITTEN]);
    assert_eq!(bed.store.intervention("i1").await, Ok(Some(open.clone())));
    assert_eq!(bed.store.intervention("i\0").await, Ok(None));
    let resolved = InterventionRow {
        resolved_at: Some(AT.plus(HOUR)),
        body: Json::trusted("{\"b\":\"\\u0000ü\",\"a\":1.10}".to_owned()).unwrap(),
        ..open
    };
    // Opened and resolved in one append; and beside it messages are taken as ever.
    post(&bed, "t", "m").await;
    let at_once =
        [intervention("t", "i2", 6), InterventionRow { id: "i2".into(), ..resolved.clone() }];
    let mut sides = indexes([resolved.clone()].into_iter().chain(at_once.clone()));
    sides.extend(takes([("m".to_owned(), Json::null())]));
    let batch = appends([Append { sides, ..append("t", 1, 2) }]);
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WRITTEN]);
    assert_eq!(bed.store.intervention("i1").await, Ok(Some(resolved)));
    assert_eq!(bed.store.intervention("i2").await, Ok(Some(at_once[1].clone())));
    let counts = bed.store.intervention_counts(&Namespace::default()).await.unwrap();
    assert_eq!(counts, InterventionCounts { open: 0, resolved: 2 });
}

pub(super) async fn interventions_are_listed_newest_first_by_filter_and_page(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, ["t", "u"].map(|thread| start(thread, Disposition::Keep))).await;
    let done = InterventionRow { resolved_at: Some(AT), ..intervention("t", "d", 4) };
    let batch = appends([
        Append {
            sides: indexes([
                intervention("t", "a", 1),
                intervention("t", "b", 2),
                intervention("t", "C", 2),
                done,
            ]),
            ..append("t", 1, 1)
        },
        Append { sides: indexes([intervention("u", "e", 3)]), ..append("u", 1, 1) },
    ]);
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WRITTEN, WRITTEN]);
    let listed = async |filter: InterventionFilter, limit| {
        let rows = bed.store.interventions(&filter, limit).await.unwrap();
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>().concat()
    };
    let any = InterventionFilter::default();
    assert_eq!(listed(any.clone(), 9).await, "debCa");
    assert_eq!(listed(any.clone(), 2).await, "de");
    assert_eq!(listed(any.clone(), 0).await, "");
    assert_eq!(listed(InterventionFilter { open: Some(true), ..any.clone() }, 9).await, "ebCa");
    assert_eq!(listed(InterventionFilter { open: Some(false), ..any.clone() }, 9).await, "d");
    let before = Some((at(2), "b".to_owned()));
    assert_eq!(listed(InterventionFilter { before, ..any.clone() }, 9).await, "Ca");
    let forged = Some((at(3), "e\0".to_owned()));
    assert!(listed(InterventionFilter { before: forged, ..any.clone() }, 9).await.ends_with("bCa"));
    let of_t = InterventionFilter { thread: Some(id("t")), open: Some(true), ..any.clone() };
    assert_eq!(listed(of_t, 2).await, "bC");
    let of_none = InterventionFilter { thread: Some(id("none")), ..any };
    assert_eq!(listed(of_none, 9).await, "");
    let counts = bed.store.intervention_counts(&Namespace::default()).await.unwrap();
    assert_eq!(counts, InterventionCounts { open: 4, resolved: 1 });
}

pub(super) async fn a_fenced_write_opens_no_intervention(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, ["t", "u"].map(|thread| start(thread, Disposition::Keep))).await;
    let opening = |thread: &str, epoch, prev| Append {
        sides: indexes([intervention(thread, &format!("of {thread}"), 1)]),
        ..append(thread, epoch, prev)
    };
    let batch = appends([opening("t", 2, 1), opening("u", 1, 1), opening("none", 1, 1)]);
    let outcomes = bed.store.write(me, &batch).await.unwrap();
    assert_eq!(outcomes, [WriteOutcome::Fenced, WRITTEN, WriteOutcome::Fenced]);
    let batch = appends([opening("t", 1, 2)]);
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WriteOutcome::Fenced]);
    let found = bed.store.interventions(&InterventionFilter::default(), 9).await.unwrap();
    assert_eq!(found, [intervention("u", "of u", 1)]);
}

pub(super) async fn history_goes_with_its_thread(bed: Bed) {
    let me = register(&bed).await;
    let names = ["t", "u", "kept"];
    write(&bed, me, names.map(|thread| start(thread, Disposition::Keep))).await;
    for name in names {
        let opening =
            Append { sides: indexes([intervention(name, name, 1)]), ..append(name, 1, 1) };
        assert_eq!(bed.store.write(me, &appends([opening])).await.unwrap(), [WRITTEN]);
        bed.store.save_snapshot(&snapshot(name, 2)).await.unwrap();
        let begun = [recovery(name, 1, RecoveryCause::Crashed)];
        bed.store.begin_recoveries(&begun).await.unwrap();
    }
    bed.store.add_tallies(AT, &[("n".to_owned(), 1)]).await.unwrap();
    let done = ["t", "u"].map(|name| end(name, 1, 2, ThreadStatus::Failed));
    assert_eq!(bed.store.write(me, &appends(done)).await.unwrap(), [WRITTEN, WRITTEN]);
    assert_eq!(bed.store.delete(&id("t"), None).await, Ok(true));
    assert_eq!(bed.store.expire(AT.plus(HOUR), 9).await, Ok(1));
    // Late words about threads that are gone say nothing.
    bed.store.save_snapshot(&snapshot("t", 3)).await.unwrap();
    bed.store.begin_recoveries(&[recovery("t", 2, RecoveryCause::Frozen)]).await.unwrap();
    bed.store.end_recovery(&id("t"), 1, &ended(RecoveryResult::Recovered, 1)).await.unwrap();
    write(&bed, me, ["t", "u"].map(|thread| start(thread, Disposition::Keep))).await;
    for name in ["t", "u"] {
        assert_eq!(bed.store.snapshot(&id(name), None).await, Ok(None));
        assert_eq!(bed.store.recoveries(&id(name), None, 9).await, Ok(vec![]));
        assert_eq!(bed.store.intervention(name).await, Ok(None));
    }
    assert!(bed.store.snapshot(&id("kept"), None).await.unwrap().is_some());
    assert_eq!(bed.store.recovery_counts(&Namespace::default(), AT).await.unwrap().len(), 1);
    let counts = bed.store.intervention_counts(&Namespace::default()).await.unwrap();
    assert_eq!(counts, InterventionCounts { open: 1, resolved: 0 });
    assert_eq!(bed.store.tallies(AT).await.unwrap(), [("n".to_owned(), 1)]);
}

pub(super) async fn tallies_are_kept_by_the_hour(bed: Bed) {
    let hour = Timestamp::from_millis(AT.millis() / 3_600_000 * 3_600_000);
    let after = |hours: u32| hour.plus(HOUR * hours);
    add(&*bed.store, hour, &[("b", 1), ("a", 2), ("b", 3)]).await;
    add(&*bed.store, hour.plus(Duration::from_millis(3_599_999)), &[("b", 10)]).await;
    add(&*bed.store, after(1), &[("b", 100), ("B", 5)]).await;
    add(&*bed.store, after(1), &[]).await;
    let sums = async |since| {
        let found = bed.store.tallies(since).await.unwrap();
        found.into_iter().map(|(name, n)| format!("{name}{n}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(sums(hour).await, "B5 a2 b114");
    assert_eq!(sums(after(1).plus(Duration::from_millis(1))).await, "B5 b100");
    assert_eq!(sums(after(2)).await, "");
    // Two days on, the first hour is forgotten; the hours within them are not.
    add(&*bed.store, after(48), &[("c", 1)]).await;
    assert_eq!(sums(hour).await, "B5 a2 b114 c1");
    add(&*bed.store, after(49), &[]).await;
    assert_eq!(sums(hour).await, "B5 b100 c1");
}

pub(super) async fn tallies_added_at_once_are_all_counted(bed: Bed) {
    let racing = (0..16_usize).map(|n| {
        let store = Arc::clone(&bed.store);
        async move {
            let names =
                if n.is_multiple_of(2) { [("a", 1), ("b", 2)] } else { [("b", 2), ("a", 1)] };
            for hour in 0..4_u32 {
                add(&*store, AT.plus(HOUR * hour * 20), &names).await;
            }
        }
    });
    futures_util::future::join_all(racing).await;
    let sums = bed.store.tallies(AT.plus(HOUR * 60)).await.unwrap();
    assert_eq!(sums, [("a".to_owned(), 16), ("b".to_owned(), 32)]);
}

async fn add(store: &dyn Store, at: Timestamp, tallies: &[(&str, u64)]) {
    let tallies: Vec<(String, u64)> =
        tallies.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    store.add_tallies(at, &tallies).await.unwrap();
}

fn snapshot(thread: &str, seq: u64) -> Snapshot {
    Snapshot {
        thread_id: id(thread),
        seq,
        kind: SnapshotKind::Recovery,
        version: 1,
        at: AT,
        sha256: format!("{seq:064}"),
        state: format!("{{\"seq\":{seq}}}"),
    }
}

pub(super) fn recovery(thread: &str, epoch: i64, cause: RecoveryCause) -> Recovery {
    Recovery {
        thread_id: id(thread),
        epoch,
        cause,
        previous_owner: 77,
        replica: "replica-ü".to_owned(),
        from_seq: 11,
        started_at: AT,
        end: None,
    }
}

fn ended(result: RecoveryResult, duration_ms: u64) -> RecoveryEnd {
    RecoveryEnd { strategy: None, to_seq: None, duration_ms, result, detail: None }
}

fn at(millis: u64) -> Timestamp {
    AT.plus(Duration::from_millis(millis))
}
