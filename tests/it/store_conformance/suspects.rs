//! What is known against threads that were lost, and the deaths of replicas.

use rethread::model::{Incarnation, Json, ThreadStatus, Timestamp};
use rethread::store::{Append, Disposition, SuspectRow};

use super::{WRITTEN, register, write};
use crate::support::beds::Bed;
use crate::support::writes::{DUE, append, appends, id, start, summary};

fn suspect(thread: &str, (lost_with, exposed_to): (Incarnation, Incarnation)) -> SuspectRow {
    let body = Json::parse(&format!(r#"{{"points":{lost_with}}}"#)).unwrap();
    SuspectRow { thread_id: id(thread), lost_with, exposed_to, body }
}

fn ids(mut rows: Vec<SuspectRow>) -> Vec<String> {
    rows.sort_by(|a, b| a.thread_id.cmp(&b.thread_id));
    rows.iter().map(|row| row.thread_id.to_string()).collect()
}

pub(super) async fn suspects_are_kept_once_and_found_by_thread_and_incarnation(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, ["a", "b", "c"].map(|thread| start(thread, DUE))).await;
    let rows = [suspect("a", (1, 0)), suspect("b", (1, 2)), suspect("gone", (1, 0))];
    bed.store.keep_suspects(&rows).await.unwrap();
    bed.store.keep_suspects(&[suspect("a", (2, 3)), suspect("c", (3, 0))]).await.unwrap();
    let all = [id("a"), id("b"), id("c"), id("gone")];
    assert_eq!(ids(bed.store.suspects(&all).await.unwrap()), ["a", "b", "c"]);
    assert_eq!(bed.store.suspects(&all[..1]).await.unwrap(), [suspect("a", (2, 3))]);
    for (incarnation, found) in [(1, &["b"][..]), (2, &["a", "b"]), (3, &["a", "c"]), (4, &[])] {
        let rows = bed.store.suspects_of(incarnation).await.unwrap();
        assert_eq!(ids(rows), found, "{incarnation}");
    }
    bed.store.forget_suspects(&[id("a"), id("gone")]).await.unwrap();
    assert_eq!(ids(bed.store.suspects(&all).await.unwrap()), ["b", "c"]);
    bed.store.keep_suspects(&[]).await.unwrap();
    bed.store.forget_suspects(&[]).await.unwrap();
    assert_eq!(bed.store.suspects(&[]).await.unwrap(), []);
}

pub(super) async fn a_suspect_goes_with_its_thread(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("a", Disposition::Keep)]).await;
    bed.store.keep_suspects(&[suspect("a", (1, 0))]).await.unwrap();
    let end = Append {
        summary: summary(ThreadStatus::Completed),
        disposition: Disposition::Release { wake_at: None },
        ..append("a", 1, 1)
    };
    assert_eq!(bed.store.write(me, &appends([end])).await.unwrap(), [WRITTEN]);
    assert_eq!(bed.store.delete(&id("a"), None).await, Ok(true));
    bed.store.sweep().await.unwrap();
    assert_eq!(bed.store.suspects(&[id("a")]).await.unwrap(), []);
}

pub(super) async fn deaths_are_those_of_replicas_that_were_not_retired(bed: Bed) {
    let deaths = async |since: i64| {
        let deaths = bed.store.deaths(Timestamp::from_millis(since)).await.unwrap();
        deaths.into_iter().map(|death| (death.incarnation, death.seen_at)).collect::<Vec<_>>()
    };
    let lost = register(&bed).await;
    // A replica that owns threads is remembered however long it is gone.
    write(&bed, lost, [start("a", Disposition::Keep)]).await;
    assert_eq!(deaths(0).await, [], "it lives");
    bed.expire_leases().await;
    let now = bed.now().await;
    let heir = register(&bed).await;
    let known = deaths(0).await;
    assert_eq!(known.len(), 1, "{known:?}");
    assert_eq!(known[0].0, lost);
    assert!(known[0].1.millis() <= *now.end(), "{known:?}");
    assert_eq!(deaths(known[0].1.millis()).await, known);
    assert_eq!(deaths(known[0].1.millis() + 1).await, []);
    bed.store.retire(heir).await.unwrap();
    assert_eq!(deaths(0).await, known, "who leaves in good order was not lost");
}
