//! Subscriptions, and what each was not sent yet.

use std::time::Duration;

use rethread::model::{Json, Namespace, ThreadStatus};
use rethread::store::{
    Advanced, Append, Disposition, NOTICES_COUNTED, Notice, NotificationRow, Start, Wanted,
    WriteOutcome,
};
use secrecy::SecretSlice;

use crate::support::beds::Bed;
use crate::support::writes::{AT, FUTURE, append, appends, end, id, records, start, starts, tells};

use super::{WRITTEN, register, write};

const HOUR: Duration = Duration::from_hours(1);

pub(super) fn subscription(name: &str, minutes: u64) -> NotificationRow {
    NotificationRow {
        id: name.to_owned(),
        namespace: Namespace::default(),
        created_at: AT.plus(Duration::from_mins(minutes)),
        enabled: true,
        version: 1,
        body: Json::trusted("{\"b\":\"\\u0000ü\",\"a\":1.10}".to_owned()).unwrap(),
        secret: SecretSlice::from(vec![0, 255, 7]),
        last_success_at: None,
        last_failure_at: None,
        last_error: None,
        given_up: 0,
    }
}

pub(super) async fn subscribe(bed: &Bed, names: &[&str]) {
    for (at, name) in names.iter().enumerate() {
        let row = subscription(name, u64::try_from(at).unwrap());
        assert_eq!(bed.store.save_notification(&row, None).await, Ok(true));
    }
}

/// A thread that is driven, whose first event is told to `names`.
async fn begin(bed: &Bed, me: i64, thread: &str, names: &[&str]) {
    write(bed, me, [Start { sides: tells(names), ..start(thread, Disposition::Keep) }]).await;
}

fn told(names: &[&str], append: Append) -> Append {
    Append { sides: tells(names), ..append }
}

pub(super) async fn claim(bed: &Bed, me: i64, token: i64, wanted: &[(&str, usize)]) -> Vec<Notice> {
    let wanted: Vec<(String, usize)> =
        wanted.iter().map(|(name, limit)| ((*name).to_owned(), *limit)).collect();
    let wanted = [Wanted { most: 9_999, of: wanted }];
    let mut found = bed.store.claim_notices(me, token, HOUR, (&wanted, 9_999)).await.unwrap();
    found.sort_by(|a, b| (&a.thread_id, &a.subscription).cmp(&(&b.thread_id, &b.subscription)));
    found
}

/// What waits for a subscription: all of it, and what failed.
async fn waits(bed: &Bed, name: &str) -> (u64, u64) {
    let counts = bed.store.notice_counts().await.unwrap();
    let count = counts.into_iter().find(|count| count.subscription == name);
    count.map_or((0, 0), |count| (count.pending, count.failing))
}

pub(super) async fn subscriptions_are_kept_and_changed_by_their_version(bed: Bed) {
    subscribe(&bed, &["a", "b", "c"]).await;
    let a = subscription("a", 0);
    assert_eq!(bed.store.notification("a").await.unwrap(), Some(a.clone()));
    assert_eq!(bed.store.notification("a\0").await.unwrap(), None);
    assert_eq!(bed.store.save_notification(&a, None).await, Ok(false));
    let listed = async |before, limit| {
        let rows = bed.store.notifications(&Namespace::default(), before, limit).await.unwrap();
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>().concat()
    };
    assert_eq!(listed(None, 9).await, "cba");
    assert_eq!(listed(None, 2).await, "cb");
    let last = subscription("b", 1);
    assert_eq!(listed(Some((last.created_at, last.id)), 9).await, "a");

    let changed = NotificationRow {
        enabled: false,
        version: 2,
        body: Json::null(),
        secret: SecretSlice::from(vec![1]),
        ..a.clone()
    };
    assert_eq!(bed.store.save_notification(&changed, Some(1)).await, Ok(true));
    assert_eq!(bed.store.save_notification(&a, Some(1)).await, Ok(false));
    assert_eq!(bed.store.notification("a").await.unwrap(), Some(changed.clone()));
    bed.store.note_delivery("a", FUTURE, None).await.unwrap();
    bed.store.note_delivery("a", AT, Some("why\0")).await.unwrap();
    let noted = bed.store.notification("a").await.unwrap().unwrap();
    assert_eq!((noted.last_success_at, noted.last_failure_at), (Some(FUTURE), Some(AT)));
    assert_eq!((noted.last_error.as_deref(), noted.version), (Some("why\0"), 2));

    assert_eq!(bed.store.delete_notification("a").await, Ok(true));
    assert_eq!(bed.store.delete_notification("a").await, Ok(false));
    assert_eq!(bed.store.delete_notification("a\0").await, Ok(false));
    assert_eq!(listed(None, 9).await, "cb");
}

pub(super) async fn a_write_tells_those_it_names_until_all_is_sent(bed: Bed) {
    let me = register(&bed).await;
    subscribe(&bed, &["a", "b"]).await;
    begin(&bed, me, "t", &["a"]).await;
    // What comes on top of what waits goes with it; what nobody named does not wait.
    let more = Append { records: Some(records(2, 4)), ..append("t", 1, 1) };
    let batch = appends([told(&["a", "b"], more)]);
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WRITTEN]);
    assert_eq!(bed.store.write(me, &appends([append("t", 1, 4)])).await.unwrap(), [WRITTEN]);
    let found = claim(&bed, me, 7, &[("a", 9), ("b", 9)]).await;
    let spans: Vec<_> =
        found.iter().map(|one| (one.subscription.as_str(), one.sent, one.head)).collect();
    assert_eq!(spans, [("a", 0, 4), ("b", 1, 4)]);
    assert_eq!((waits(&bed, "a").await, waits(&bed, "b").await), ((1, 0), (1, 0)));

    let advance = async |notice, to| bed.store.advance_notice(7, notice, to, HOUR).await.unwrap();
    assert_eq!(advance(&found[0], 2).await, Advanced::More);
    assert_eq!(advance(&found[1], 5).await, Advanced::Done);
    // Written while it is being sent.
    let batch = appends([told(&["a"], append("t", 1, 5))]);
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WRITTEN]);
    assert_eq!(advance(&found[0], 4).await, Advanced::More);
    assert_eq!(advance(&found[0], 6).await, Advanced::Done);
    assert_eq!(advance(&found[0], 6).await, Advanced::Lost);
    assert_eq!(claim(&bed, me, 8, &[("a", 9), ("b", 9)]).await, []);

    // The next one begins where it stands, not where the last one ended.
    assert_eq!(bed.store.write(me, &appends([append("t", 1, 6)])).await.unwrap(), [WRITTEN]);
    let batch = appends([told(&["a"], append("t", 1, 7))]);
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WRITTEN]);
    let found = claim(&bed, me, 9, &[("a", 9)]).await;
    assert_eq!((found[0].sent, found[0].head), (7, 8));
}

pub(super) async fn a_fenced_write_and_a_subscription_that_is_gone_tell_nobody(bed: Bed) {
    let me = register(&bed).await;
    subscribe(&bed, &["a"]).await;
    begin(&bed, me, "t", &["gone"]).await;
    let batch = appends([told(&["a"], append("t", 7, 1))]);
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WriteOutcome::Fenced]);
    let again = Start { sides: tells(&["a"]), ..start("t", Disposition::Keep) };
    let outcome = bed.store.write(me, &starts([again])).await.unwrap();
    assert_eq!(outcome, [WriteOutcome::ThreadExists]);
    assert_eq!(bed.store.notice_counts().await.unwrap(), []);
    let batch = appends([told(&["gone", "a"], append("t", 1, 1))]);
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WRITTEN]);
    assert_eq!(waits(&bed, "a").await, (1, 0));
    assert_eq!(bed.store.delete_notification("a").await, Ok(true));
    assert_eq!(bed.store.notice_counts().await.unwrap(), []);
}

pub(super) async fn a_cursor_has_one_holder_at_a_time(bed: Bed) {
    let me = register(&bed).await;
    subscribe(&bed, &["a"]).await;
    begin(&bed, me, "t", &["a"]).await;
    let wanted = [Wanted { most: 9, of: vec![("a".to_owned(), 9)] }];
    // Its lease is over as soon as it begins.
    let late = bed.store.claim_notices(me, 1, Duration::ZERO, (&wanted, 9)).await.unwrap();
    let held = claim(&bed, me, 2, &[("a", 9)]).await;
    assert_eq!((late.len(), held.len()), (1, 1));
    assert_eq!(claim(&bed, me, 3, &[("a", 9)]).await, []);
    let advance = async |token| bed.store.advance_notice(token, &late[0], 1, HOUR).await.unwrap();
    assert_eq!(advance(1).await, Advanced::Lost);
    bed.store.release_notice(1, &late[0], HOUR, true).await.unwrap();
    assert_eq!(waits(&bed, "a").await, (1, 0));
    assert_eq!(advance(2).await, Advanced::Done);
}

pub(super) async fn the_cursor_of_a_dead_sender_is_free(bed: Bed) {
    let me = register(&bed).await;
    subscribe(&bed, &["a"]).await;
    begin(&bed, me, "t", &["a"]).await;
    bed.clock.advance(Duration::from_millis(1));
    let wanted = [Wanted { most: 9, of: vec![("a".to_owned(), 9)] }];
    let far = Duration::from_hours(100);
    let held = bed.store.claim_notices(me, 1, far, (&wanted, 9)).await.unwrap();
    bed.expire_leases().await;
    let other = register(&bed).await;
    let taken = claim(&bed, other, 2, &[("a", 9)]).await;
    assert_eq!(taken, held);
    assert_eq!(claim(&bed, me, 3, &[("a", 9)]).await, []);
    assert_eq!(bed.store.advance_notice(1, &held[0], 1, HOUR).await, Ok(Advanced::Lost));
}

pub(super) async fn what_was_not_taken_rests_until_its_time(bed: Bed) {
    let me = register(&bed).await;
    subscribe(&bed, &["a"]).await;
    begin(&bed, me, "t", &["a"]).await;
    let found = claim(&bed, me, 1, &[("a", 9)]).await;
    bed.store.release_notice(1, &found[0], HOUR, true).await.unwrap();
    assert_eq!(waits(&bed, "a").await, (1, 1));
    assert_eq!(claim(&bed, me, 2, &[("a", 9)]).await, []);
    assert_eq!(bed.store.hasten_notices("b").await, Ok(false));
    assert_eq!(claim(&bed, me, 2, &[("a", 9)]).await, []);
    assert_eq!(bed.store.hasten_notices("a").await, Ok(false));
    let found = claim(&bed, me, 2, &[("a", 9)]).await;
    assert_eq!(found[0].attempts, 1);
    // Given back without a failure, and later moved on: the failures are forgotten.
    bed.store.release_notice(2, &found[0], Duration::ZERO, false).await.unwrap();
    let batch = appends([told(&["a"], append("t", 1, 1))]);
    assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WRITTEN]);
    let found = claim(&bed, me, 3, &[("a", 9)]).await;
    assert_eq!((found[0].attempts, found[0].head), (1, 2));
    let moved = bed.store.advance_notice(3, &found[0], 1, HOUR).await;
    assert_eq!((moved, waits(&bed, "a").await), (Ok(Advanced::More), (1, 0)));
}

pub(super) async fn a_claim_takes_of_each_what_it_may(bed: Bed) {
    let me = register(&bed).await;
    subscribe(&bed, &["a", "b", "c"]).await;
    for thread in ["t", "u", "v"] {
        begin(&bed, me, thread, &["a", "b", "c"]).await;
    }
    let found = claim(&bed, me, 1, &[("a", 2), ("b", 1), ("none", 5)]).await;
    let of = |name: &str| found.iter().filter(|one| one.subscription == name).count();
    assert_eq!((of("a"), of("b"), found.len()), (2, 1, 3));
    assert_eq!(claim(&bed, me, 2, &[("a", 9), ("b", 9)]).await.len(), 3);
    assert_eq!(claim(&bed, me, 3, &[]).await, []);
}

pub(super) async fn a_claim_takes_of_each_group_and_of_all_what_it_may(bed: Bed) {
    let me = register(&bed).await;
    subscribe(&bed, &["a", "b", "c", "d"]).await;
    for thread in ["t", "u", "v"] {
        begin(&bed, me, thread, &["a", "b", "c", "d"]).await;
    }
    let group = |most, names: &[&str]| Wanted {
        most,
        of: names.iter().map(|name| ((*name).to_owned(), 2)).collect(),
    };
    let claimed = async |token, wanted: &[Wanted], most| {
        let found = bed.store.claim_notices(me, token, HOUR, (wanted, most)).await.unwrap();
        let of = |name: &str| found.iter().filter(|one| one.subscription == name).count();
        ["a", "b", "c", "d"].map(of)
    };
    let wanted = [group(3, &["b", "none", "a"]), group(9, &["d", "c"])];
    assert_eq!(claimed(1, &wanted, 4).await, [1, 2, 0, 1]);
    assert_eq!(claimed(2, &wanted, 0).await, [0, 0, 0, 0]);
    assert_eq!(claimed(3, &[group(0, &["a"]), group(9, &["d", "c"])], 9).await, [0, 0, 2, 2]);
    assert_eq!(
        claimed(4, &[group(9, &[]), group(9, &["a"]), group(9, &["b"])], 9).await,
        [2, 1, 0, 0]
    );
}

pub(super) async fn ended_threads_wait_for_those_who_were_not_told(bed: Bed) {
    let me = register(&bed).await;
    subscribe(&bed, &["a"]).await;
    for thread in ["t", "u"] {
        begin(&bed, me, thread, &["a"]).await;
        let batch = appends([end(thread, 1, 1, ThreadStatus::Completed)]);
        assert_eq!(bed.store.write(me, &batch).await.unwrap(), [WRITTEN]);
    }
    assert_eq!(bed.store.expire(FUTURE, 9).await, Ok(0));
    let found = claim(&bed, me, 1, &[("a", 9)]).await;
    assert_eq!(bed.store.advance_notice(1, &found[0], 2, HOUR).await, Ok(Advanced::Done));
    assert_eq!(bed.store.expire(FUTURE, 9).await, Ok(1));
    // Who deletes one by hand means it.
    assert_eq!(bed.store.delete(&id("u"), None).await, Ok(true));
    assert_eq!(bed.store.notice_counts().await.unwrap(), []);
    assert_eq!(bed.store.advance_notice(1, &found[1], 2, HOUR).await, Ok(Advanced::Lost));
}

pub(super) async fn what_waits_too_long_is_given_up(bed: Bed) {
    let me = register(&bed).await;
    subscribe(&bed, &["a", "b"]).await;
    let parked = Disposition::Release { wake_at: Some(FUTURE) };
    for (thread, names) in [("t", vec!["a"]), ("u", vec!["a", "b"]), ("v", vec!["b"])] {
        write(&bed, me, [Start { sides: tells(&names), ..start(thread, parked) }]).await;
    }
    assert_eq!(bed.store.give_up_notices(HOUR, 9).await, Ok(vec![]));
    assert_eq!(claim(&bed, me, 1, &[("a", 1)]).await.len(), 1);
    let mut given_up = bed.store.give_up_notices(Duration::ZERO, 9).await.unwrap();
    given_up.sort();
    // What is being sent is not given up.
    assert_eq!(given_up, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
    assert_eq!((waits(&bed, "a").await, waits(&bed, "b").await), ((1, 0), (0, 0)));
    assert_eq!(bed.store.notification("b").await.unwrap().unwrap().given_up, 2);
}

pub(super) async fn however_much_waits_all_of_it_is_hastened_or_goes(bed: Bed) {
    let me = register(&bed).await;
    subscribe(&bed, &["a", "b"]).await;
    let parked = Disposition::Release { wake_at: Some(FUTURE) };
    for part in 0..3 {
        let thread = |number| start(&format!("t{part}-{number}"), parked);
        let batch = (0..367).map(|number| Start { sides: tells(&["a", "b"]), ..thread(number) });
        let outcomes = bed.store.write(me, &starts(batch)).await.unwrap();
        assert!(outcomes.iter().all(|outcome| *outcome == WRITTEN));
    }
    let found = claim(&bed, me, 1, &[("a", 9_999)]).await;
    assert_eq!(found.len(), 1_101);
    for notice in &found {
        bed.store.release_notice(1, notice, HOUR, true).await.unwrap();
    }
    assert_eq!(claim(&bed, me, 2, &[("a", 9_999)]).await, []);
    assert_eq!(bed.store.hasten_notices("a").await, Ok(true));
    assert_eq!(claim(&bed, me, 3, &[("a", 9_999)]).await.len(), 500);
    while bed.store.hasten_notices("a").await.unwrap() {}
    assert_eq!(claim(&bed, me, 4, &[("a", 9_999)]).await.len(), 601);
    assert_eq!(bed.store.delete_notification("a").await, Ok(true));
    assert_eq!((waits(&bed, "a").await, waits(&bed, "b").await), ((0, 0), (1_101, 0)));
    // Deleted by and by: what is gone is neither counted nor given up meanwhile.
    assert_eq!(bed.store.give_up_notices(HOUR, 9_999).await, Ok(vec![]));
    for _ in 0..2 {
        assert_eq!(bed.store.sweep_notices().await, Ok(true));
    }
    let left = bed.store.notice_counts_of(&["a".to_owned()]).await.unwrap();
    assert_eq!(left.first().map(|count| count.pending), Some(101));
    while bed.store.sweep_notices().await.unwrap() {}
    assert_eq!(bed.store.notice_counts_of(&["a".to_owned()]).await, Ok(vec![]));
    assert_eq!(waits(&bed, "b").await, (1_101, 0));
}

pub(super) async fn what_waits_for_some_is_counted_up_to_a_bound(bed: Bed) {
    let me = register(&bed).await;
    subscribe(&bed, &["a", "b", "c"]).await;
    let parked = Disposition::Release { wake_at: Some(FUTURE) };
    let thread = |number| start(&format!("t{number}"), parked);
    let batch = (0..250).map(|number| Start { sides: tells(&["a"]), ..thread(number) });
    bed.store.write(me, &starts(batch)).await.unwrap();
    begin(&bed, me, "u", &["b", "c"]).await;
    let found = claim(&bed, me, 1, &[("b", 9)]).await;
    bed.store.release_notice(1, &found[0], HOUR, true).await.unwrap();
    let of = ["a", "b", "none"].map(str::to_owned);
    let counts = bed.store.notice_counts_of(&of).await.unwrap();
    let shown: Vec<_> =
        counts.iter().map(|one| (&*one.subscription, one.pending, one.failing)).collect();
    assert_eq!(shown, [("a", NOTICES_COUNTED, 0), ("b", 1, 1)]);
    let all = bed.store.notice_counts().await.unwrap();
    assert_eq!((all[0].pending, all[0].since, &all[1]), (250, counts[0].since, &counts[1]));
    assert_eq!(bed.store.notice_counts_of(&[]).await, Ok(vec![]));
}
