//! Starts that begin with the history of another thread: several rows, and interventions.

use std::time::Duration;

use rethread::model::{ForkPoint, Namespace, Seq, ThreadStatus, Timestamp};
use rethread::store::{
    Disposition, FORK_LABEL, InterventionRow, Records, Start, Summary, ThreadFilter, WriteOutcome,
};

use super::notices::{claim as claim_for, subscribe};
use super::{WRITTEN, claim_ids, listed, register, row, texts, write};
use crate::support::beds::Bed;
use crate::support::writes::{
    ASLEEP, AT, DUE, append, appends, id, indexes, intervention, records, start, starts, summary,
    tells,
};

/// A thread whose history has rows that end at these events.
fn fork(thread: &str, ends: &[Seq]) -> Start {
    let firsts = std::iter::once(1).chain(ends.iter().map(|end| end + 1));
    let mut rows = firsts.zip(ends).map(|(first, end)| Records {
        at: AT.plus(Duration::from_secs(*end)),
        ..records(first, *end)
    });
    let first = rows.next().unwrap();
    Start { records: first, more: rows.collect(), ..start(thread, DUE) }
}

fn numbered(last: Seq) -> Vec<String> {
    records(1, last).events
}

pub(super) async fn a_start_brings_its_whole_history(bed: Bed) {
    let me = register(&bed).await;
    let resolved = InterventionRow { resolved_at: Some(AT), ..intervention("f", "f~2", 1) };
    let open = intervention("f", "f~4", 2);
    let from = ForkPoint { thread_id: id("t"), seq: 4 };
    let forked = Start {
        sides: indexes([resolved.clone(), open.clone()]),
        summary: Summary { forked_from: Some(from), ..summary(ThreadStatus::Running) },
        ..fork("f", &[2, 3, 7])
    };
    // Beside it others start as ever, also one whose own rows are driven from here.
    let kept = Start { disposition: Disposition::Keep, ..fork("k", &[1, 2]) };
    write(&bed, me, [start("a", DUE), forked.clone(), kept, start("z", ASLEEP)]).await;
    assert_eq!(texts(&bed, "f", 0).await, numbered(7));
    assert_eq!(texts(&bed, "f", 2).await, numbered(7)[2..]);
    let found = row(&bed, "f").await;
    let made = AT.plus(Duration::from_secs(7));
    assert_eq!((found.last_seq, found.created_at, found.updated_at), (7, made, made));
    assert_eq!((found.owner, found.epoch, &found.summary), (0, 0, &forked.summary));
    assert_eq!(bed.store.wrote(&id("f"), 0, 0).await, Ok(true));
    assert_eq!(bed.store.wrote(&id("f"), 3, 0).await, Ok(true));
    assert_eq!(bed.store.intervention("f~2").await, Ok(Some(resolved)));
    assert_eq!(bed.store.intervention("f~4").await, Ok(Some(open)));
    assert_eq!(texts(&bed, "a", 0).await, numbered(1));
    assert_eq!(bed.store.wrote(&id("k"), 1, 1).await, Ok(true), "under the epoch of its driver");
    let more = appends([append("k", 1, 2)]);
    assert_eq!(bed.store.write(me, &more).await.unwrap(), [WRITTEN]);
    assert_eq!(texts(&bed, "k", 0).await, numbered(3));
    bed.clock.advance(Duration::from_millis(1));
    assert_eq!(claim_ids(&bed, me).await, [id("a"), id("f")]);
}

pub(super) async fn a_refused_start_leaves_nothing_of_its_history(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("f", ASLEEP)]).await;
    let asks = |thread: &str| indexes([intervention(thread, &format!("{thread}~1"), 1)]);
    let taken = Start { sides: asks("f"), ..fork("f", &[2, 5]) };
    let unknown = Start {
        sides: asks("g"),
        definition: "unknown".to_owned(),
        definition_text: None,
        ..fork("g", &[2, 5])
    };
    let lands = fork("h", &[2, 5]);
    let outcomes = bed.store.write(me, &starts([taken, unknown, lands.clone()])).await.unwrap();
    let expected = [WriteOutcome::ThreadExists, WriteOutcome::DefinitionMissing, WRITTEN];
    assert_eq!(outcomes, expected);
    assert_eq!(texts(&bed, "f", 0).await, numbered(1));
    assert_eq!(row(&bed, "f").await.last_seq, 1);
    assert_eq!(bed.store.thread(&id("g")).await, Ok(None));
    assert_eq!(bed.store.intervention("f~1").await, Ok(None));
    assert_eq!(bed.store.intervention("g~1").await, Ok(None));
    // The same again, as after an answer that was lost.
    let again = bed.store.write(me, &starts([lands])).await.unwrap();
    assert_eq!(again, [WriteOutcome::ThreadExists]);
    assert_eq!(texts(&bed, "h", 0).await, numbered(5));
}

pub(super) async fn a_history_of_very_many_rows_lands_whole(bed: Bed) {
    let me = register(&bed).await;
    // More than any statement of a store takes at once.
    let ends: Vec<Seq> = (1..=700).collect();
    write(&bed, me, [fork("f", &ends), fork("g", &[1])]).await;
    assert_eq!(texts(&bed, "f", 0).await, numbered(700));
    assert_eq!(row(&bed, "f").await.last_seq, 700);
}

pub(super) async fn forks_are_found_by_their_origin_and_tell_no_duration(bed: Bed) {
    let me = register(&bed).await;
    let label = |origin: &str| vec![(FORK_LABEL.to_owned(), origin.to_owned())];
    let ended = |start: Start| Start {
        summary: Summary {
            completed_at: Some(Timestamp::from_millis(start.newest().at.millis() + 5)),
            ..summary(ThreadStatus::Completed)
        },
        disposition: ASLEEP,
        ..start
    };
    let batch = [
        ended(start("t", ASLEEP)),
        ended(Start { labels: label("t"), ..fork("f", &[1, 2]) }),
        Start { labels: label("u"), ..fork("g", &[1]) },
    ];
    write(&bed, me, batch).await;
    let of = |origin: &str| ThreadFilter { metadata: label(origin), ..ThreadFilter::default() };
    assert_eq!(listed(&bed, &of("t"), 9).await, ["f"]);
    assert_eq!(listed(&bed, &of("u"), 9).await, ["g"]);
    assert!(listed(&bed, &of("f"), 9).await.is_empty());
    assert_eq!(bed.store.durations(&Namespace::default(), "w", 9).await, Ok(vec![5]));
}

pub(super) async fn of_a_fork_only_its_own_events_are_told(bed: Bed) {
    let me = register(&bed).await;
    subscribe(&bed, &["a"]).await;
    let from = ForkPoint { thread_id: id("t"), seq: 3 };
    let forked = Start {
        summary: Summary { forked_from: Some(from), ..summary(ThreadStatus::Running) },
        sides: tells(&["a"]),
        ..fork("f", &[2, 3, 5])
    };
    let told = Start { sides: tells(&["a"]), ..start("s", DUE) };
    write(&bed, me, [told, forked, fork("g", &[1, 2])]).await;
    let found = claim_for(&bed, me, 7, &[("a", 9)]).await;
    let spans: Vec<_> =
        found.iter().map(|one| (one.thread_id.as_str(), one.sent, one.head)).collect();
    assert_eq!(spans, [("f", 3, 5), ("s", 0, 1)]);
}
