//! What belongs to one namespace is not found from another, however alike the names are.

use rethread::model::{Json, Namespace, RecoveryCause, ThreadStatus};
use rethread::store::{
    Append, Disposition, IdempotencyKey, InterventionCounts, InterventionFilter, NotificationRow,
    Posted, Start, ThreadFilter, WriteOutcome,
};

use crate::support::beds::Bed;
use crate::support::writes::{
    AT, DUE, append, appends, end, id, indexes, intervention, start, starts,
};

use super::history::recovery;
use super::notices::subscription;
use super::{WRITTEN, claim_ids, post, register, row, texts, write};

/// The namespaces of these tests; the name of the last stands at the front of that of the second.
fn namespaces() -> [Namespace; 3] {
    [Namespace::default(), named("team-2"), named("team")]
}

fn named(name: &str) -> Namespace {
    Namespace::parse(name).unwrap()
}

fn key(namespace: &Namespace, key: &str) -> IdempotencyKey {
    IdempotencyKey {
        key: IdempotencyKey::scoped(namespace, key),
        request_hash: namespace.to_string(),
    }
}

pub(super) async fn one_id_and_one_key_in_two_namespaces_are_two_threads(bed: Bed) {
    let me = register(&bed).await;
    let begin = |thread: &str| {
        let idempotency = Some(key(&id(thread).namespace(), "k"));
        Start { idempotency, ..start(thread, DUE) }
    };
    // In one batch: nothing of it may meet.
    write(&bed, me, ["t", "team/t", "team-2/t"].map(begin)).await;
    let again = bed.store.write(me, &starts([begin("team/t"), begin("team/u")])).await.unwrap();
    assert_eq!(again, [WriteOutcome::ThreadExists, WriteOutcome::KeyExists]);
    for namespace in namespaces() {
        let thread = id(&namespace.key("t"));
        let found = bed.store.by_idempotency_key(&key(&namespace, "k").key).await.unwrap();
        assert_eq!(found, Some((thread.clone(), namespace.to_string())));
        assert_eq!(bed.store.thread(&thread).await.unwrap().unwrap().thread_id, thread);
    }
    assert_eq!(bed.store.by_idempotency_key(&key(&named("none"), "k").key).await, Ok(None));
    assert!(matches!(post(&bed, "team/t", "m").await, Posted::Stored { owner: 0 }));
    assert_eq!(bed.store.inbox(&id("team/t")).await.unwrap().len(), 1);
    assert!(bed.store.inbox(&id("t")).await.unwrap().is_empty());

    assert_eq!(claim_ids(&bed, me).await, [id("t"), id("team-2/t"), id("team/t")]);
    let batch = appends([
        append("t", 1, 1),
        Append { epoch: 1, ..end("team/t", 1, 1, ThreadStatus::Completed) },
    ]);
    let written = bed.store.write(me, &batch).await.unwrap();
    assert!(written.iter().all(|one| matches!(one, WriteOutcome::Written { .. })), "{written:?}");
    assert_eq!(texts(&bed, "t", 0).await.len(), 2);
    assert_eq!(texts(&bed, "team-2/t", 0).await.len(), 1);
    assert_eq!(bed.store.delete(&id("team/t"), None).await, Ok(true));
    assert_eq!(bed.store.thread(&id("team/t")).await, Ok(None));
    assert_eq!(bed.store.by_idempotency_key(&key(&named("team"), "k").key).await, Ok(None));
    assert_eq!((row(&bed, "t").await.last_seq, row(&bed, "team-2/t").await.last_seq), (2, 1));
    assert!(bed.store.by_idempotency_key("k").await.unwrap().is_some());
}

pub(super) async fn lists_show_the_threads_of_one_namespace(bed: Bed) {
    let me = register(&bed).await;
    for prefix in ["", "team/", "team-2/"] {
        let thread = |name: &str| start(&format!("{prefix}{name}"), Disposition::Keep);
        write(&bed, me, [thread("a"), thread("b"), thread("c")]).await;
        let ended =
            Append { epoch: 1, ..end(&format!("{prefix}c"), 1, 1, ThreadStatus::Completed) };
        assert_eq!(bed.store.write(me, &appends([ended])).await.unwrap(), [WRITTEN]);
    }
    for namespace in namespaces() {
        let all = ThreadFilter { namespace: namespace.clone(), ..ThreadFilter::default() };
        let listed = async |filter: ThreadFilter, limit| {
            let rows = bed.store.threads(&filter, limit).await.unwrap();
            assert!(rows.iter().all(|row| row.thread_id.is_within(&namespace)), "{rows:?}");
            rows.iter().map(|row| row.thread_id.text().to_owned()).collect::<Vec<_>>().concat()
        };
        assert_eq!(listed(all.clone(), 99).await, "cba");
        assert_eq!(listed(all.clone(), 2).await, "cb");
        let before = Some((AT, id(&namespace.key("b"))));
        assert_eq!(listed(ThreadFilter { before, ..all.clone() }, 9).await, "a");
        let status = Some(ThreadStatus::Completed);
        assert_eq!(listed(ThreadFilter { status, ..all.clone() }, 9).await, "c");
        let workflow = Some("w".to_owned());
        assert_eq!(listed(ThreadFilter { workflow, ..all.clone() }, 9).await, "cba");
        let metadata = vec![("a".to_owned(), "1".to_owned())];
        assert_eq!(listed(ThreadFilter { metadata, ..all }, 9).await, "cba");
        assert_eq!(bed.store.durations(&namespace, "w", 9).await.unwrap().len(), 1);
    }
    let none = ThreadFilter { namespace: named("tea"), ..ThreadFilter::default() };
    assert!(bed.store.threads(&none, 9).await.unwrap().is_empty());
    assert!(bed.store.durations(&none.namespace, "w", 9).await.unwrap().is_empty());
}

pub(super) async fn interventions_and_recoveries_are_those_of_one_namespace(bed: Bed) {
    let me = register(&bed).await;
    for thread in ["t", "team/t", "team-2/t"] {
        write(&bed, me, [start(thread, Disposition::Keep)]).await;
        let opened = intervention(thread, &format!("{thread}~2"), 1);
        let batch = appends([Append { sides: indexes([opened]), ..append(thread, 1, 1) }]);
        assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WRITTEN]);
    }
    let begun = recovery("team/t", 2, RecoveryCause::Crashed);
    bed.store.begin_recoveries(&[begun]).await.unwrap();
    for namespace in namespaces() {
        let one = namespace.key("t~2").into_owned();
        let filter =
            InterventionFilter { namespace: namespace.clone(), ..InterventionFilter::default() };
        let listed = async |filter: InterventionFilter| {
            let rows = bed.store.interventions(&filter, 9).await.unwrap();
            rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
        };
        assert_eq!(listed(filter.clone()).await, std::slice::from_ref(&one));
        assert_eq!(listed(InterventionFilter { open: Some(true), ..filter.clone() }).await, [one]);
        let of_theirs = InterventionFilter { thread: Some(id("other/t")), ..filter };
        assert!(listed(of_theirs).await.is_empty());
        let counts = bed.store.intervention_counts(&namespace).await;
        assert_eq!(counts, Ok(InterventionCounts { open: 1, resolved: 0 }));
        let recoveries = bed.store.recovery_counts(&namespace, AT).await.unwrap();
        assert_eq!(recoveries.len(), usize::from(namespace == named("team")));
    }
    let none = bed.store.intervention_counts(&named("tea")).await;
    assert_eq!(none, Ok(InterventionCounts::default()));
}

pub(super) async fn workflows_of_one_name_in_two_namespaces_have_versions_of_their_own(bed: Bed) {
    let store = &bed.store;
    for (name, hash) in
        [("w", "h1"), ("team/w", "h2"), ("team/w", "h3"), ("team/v", "h1"), ("team-2/x", "h1")]
    {
        store.save_workflow(name, hash, "{}", AT).await.unwrap();
    }
    let names = async |namespace: &Namespace, after: Option<&str>| {
        let rows = store.workflows(namespace, after, 9).await.unwrap();
        rows.into_iter().map(|row| format!("{}@{}", row.name, row.version)).collect::<Vec<_>>()
    };
    let [default, second, team] = namespaces();
    assert_eq!(names(&default, None).await, ["w@1"]);
    assert_eq!(names(&second, None).await, ["team-2/x@1"]);
    assert_eq!(names(&team, None).await, ["team/v@1", "team/w@2"]);
    assert_eq!(names(&team, Some("team/v")).await, ["team/w@2"]);
    assert!(names(&named("tea"), None).await.is_empty());
    let newest = store.workflow("team/w", None).await.unwrap().unwrap();
    assert_eq!((newest.version, newest.definition.as_str()), (2, "h3"));
    assert_eq!(store.workflow("w", Some(2)).await, Ok(None));
}

pub(super) async fn subscriptions_are_listed_by_their_namespace(bed: Bed) {
    for (name, namespace) in ["a", "b", "c", "d"].into_iter().zip(namespaces().iter().cycle()) {
        let row = NotificationRow { namespace: namespace.clone(), ..subscription(name, 1) };
        assert_eq!(bed.store.save_notification(&row, None).await, Ok(true));
        assert_eq!(bed.store.notification(name).await, Ok(Some(row.clone())));
        // No change moves it to another one.
        let moved = NotificationRow {
            namespace: named("other"),
            version: 2,
            body: Json::null(),
            ..row.clone()
        };
        assert_eq!(bed.store.save_notification(&moved, Some(1)).await, Ok(true));
        let found = bed.store.notification(name).await.unwrap().unwrap();
        assert_eq!((found.namespace, found.version), (row.namespace, 2));
    }
    let ids = |rows: Vec<NotificationRow>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
    let listed =
        async |namespace| ids(bed.store.notifications(&namespace, None, 9).await.unwrap()).concat();
    let [default, second, team] = namespaces();
    let found = (listed(default).await, listed(second).await, listed(team).await);
    assert_eq!(found, ("da".to_owned(), "b".to_owned(), "c".to_owned()));
    assert_eq!(listed(named("other")).await, "");
    let all = async |after, limit| ids(bed.store.all_notifications(after, limit).await.unwrap());
    assert_eq!(all(None, 9).await.concat(), "abcd");
    assert_eq!(all(Some("a"), 2).await.concat(), "bc");
}
