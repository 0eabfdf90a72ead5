//! Lists, retention and workflows.

use std::time::Duration;

use rethread::model::{Json, Namespace, ThreadStatus, Timestamp};
use rethread::store::{
    Append, Disposition, InterventionCounts, InterventionFilter, Message, Posted, Records, Start,
    ThreadFilter,
};

use super::{listed, post, register, texts, write};
use crate::support::beds::Bed;
use crate::support::writes::{
    ASLEEP, AT, DUE, FUTURE, append, appends, end, id, indexes, intervention, keyed, records,
    release, start, summary,
};

pub(super) async fn threads_are_listed_newest_first_by_filter_and_page(bed: Bed) {
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

pub(super) async fn only_ended_threads_are_deleted_with_all_they_have(bed: Bed) {
    let me = register(&bed).await;
    let kept = Start { disposition: Disposition::Keep, ..keyed("t", "k") };
    write(&bed, me, [kept]).await;
    post(&bed, "t", "m").await;
    assert_eq!(bed.store.delete(&id("t"), None).await, Ok(false));
    let batch = appends([end("t", 1, 1, ThreadStatus::Failed)]);
    bed.store.write(me, &batch).await.unwrap();
    // What somebody saw before is not what would be deleted.
    assert_eq!(bed.store.delete(&id("t"), Some(1)).await, Ok(false));
    assert_eq!(bed.store.delete(&id("t"), Some(2)).await, Ok(true));
    assert_eq!(bed.store.delete(&id("t"), Some(2)).await, Ok(false));
    assert_eq!(bed.store.delete(&id("t"), None).await, Ok(false));
    assert_eq!(bed.store.thread(&id("t")).await, Ok(None));
    assert_eq!(bed.store.read(&id("t"), 0, 9).await, Ok(vec![]));
    // Nothing of the old thread is left to meet the new one.
    write(&bed, me, [Start { disposition: Disposition::Keep, ..keyed("t", "k") }]).await;
    assert_eq!(bed.store.inbox(&id("t")).await, Ok(vec![]));
    assert_eq!(texts(&bed, "t", 0).await.len(), 1);
}

pub(super) async fn a_large_thread_is_shown_to_nobody_before_it_is_gone(bed: Bed) {
    let me = register(&bed).await;
    let made = ["named", "old"].map(|name| Start {
        disposition: Disposition::Keep,
        ..keyed(name, &format!("key-{name}"))
    });
    write(&bed, me, made.clone()).await;
    for (name, seq) in
        [("named", 1), ("old", 1), ("named", 2), ("old", 2), ("named", 3), ("old", 3)]
    {
        let text = format!("\"{}\"", "x".repeat(12 << 20));
        let records = Records { events: vec![text], ..records(seq + 1, seq + 1) };
        let large = Append { records: Some(records), ..append(name, 1, seq) };
        bed.store.write(me, &appends([large])).await.unwrap();
    }
    post(&bed, "named", "m").await;
    let ends = ["named", "old"].map(|name| Append {
        sides: indexes([intervention(name, &format!("{name}:1"), 1)]),
        ..end(name, 1, 4, ThreadStatus::Failed)
    });
    bed.store.write(me, &appends(ends)).await.unwrap();
    assert_eq!(bed.store.intervention_counts(&Namespace::default()).await.unwrap().open, 2);
    assert_eq!(bed.store.delete(&id("named"), Some(5)).await, Ok(true));
    assert_eq!(bed.store.delete(&id("named"), None).await, Ok(false));
    let after = AT.plus(Duration::from_millis(1));
    assert_eq!(bed.store.expire(after, 9).await, Ok(1));
    assert_eq!(bed.store.expire(after, 9).await, Ok(0));
    assert!(listed(&bed, &ThreadFilter::default(), 9).await.is_empty());
    for name in ["named", "old"] {
        let message = Message { key: "n".to_owned(), body: Json::null() };
        assert_eq!(bed.store.thread(&id(name)).await, Ok(None));
        assert_eq!(bed.store.read(&id(name), 0, 9).await, Ok(vec![]));
        assert_eq!(bed.store.heads(&[id(name)]).await, Ok(vec![]));
        assert_eq!(bed.store.ownership(&id(name)).await, Ok(None));
        assert_eq!(bed.store.post(&id(name), &message).await, Ok(Posted::NoThread));
        let key = bed.store.by_idempotency_key(&format!("key-{name}")).await;
        assert_eq!(key, Ok(None));
        assert_eq!(bed.store.intervention(&format!("{name}:1")).await, Ok(None));
    }
    let asked = bed.store.interventions(&InterventionFilter::default(), 9).await;
    assert_eq!(asked, Ok(vec![]));
    let counts = bed.store.intervention_counts(&Namespace::default()).await.unwrap();
    assert_eq!(counts, InterventionCounts { open: 0, resolved: 0 });
    assert_eq!(bed.store.claim(me, 9, &[]).await, Ok(vec![]));
    bed.store.sweep().await.unwrap();
    // Nothing of the old thread is left to meet the new one.
    write(&bed, me, made).await;
    assert_eq!(bed.store.inbox(&id("named")).await, Ok(vec![]));
    assert_eq!(texts(&bed, "old", 0).await.len(), 1);
}

pub(super) async fn old_ended_threads_expire(bed: Bed) {
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

pub(super) async fn durations_are_those_of_completed_threads(bed: Bed) {
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
    assert_eq!(bed.store.durations(&Namespace::default(), "w", 9).await, Ok(vec![30, 10]));
    assert_eq!(bed.store.durations(&Namespace::default(), "w", 1).await, Ok(vec![30]));
    assert_eq!(bed.store.durations(&Namespace::default(), "none", 9).await, Ok(vec![]));
}

pub(super) async fn workflows_get_versions(bed: Bed) {
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
        let rows = store.workflows(&Namespace::default(), after, limit).await.unwrap();
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

pub(super) async fn long_labels_and_odd_texts_are_held(bed: Bed) {
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
