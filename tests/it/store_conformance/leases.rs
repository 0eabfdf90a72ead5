//! Leases, claims and handing over.

use rethread::model::Namespace;
use rethread::store::{Append, Claimed, Disposition, Loss, Ownership, WriteOutcome};

use super::{WRITTEN, post, register, row, write};
use crate::support::beds::{Bed, TTL};
use crate::support::writes::{ASLEEP, DUE, FUTURE, PAST, append, appends, id, release, start};

pub(super) async fn an_expired_lease_is_never_renewed(bed: Bed) {
    let me = register(&bed).await;
    assert!(bed.store.renew(me, TTL).await.unwrap());
    bed.expire_leases().await;
    assert!(!bed.store.renew(me, TTL).await.unwrap());
    assert!(!bed.store.renew(me + 99, TTL).await.unwrap());
    let next = register(&bed).await;
    assert!(next > me);
    assert!(!bed.store.renew(me, TTL).await.unwrap());
    assert!(bed.store.renew(next, TTL).await.unwrap());
}

pub(super) async fn due_threads_are_claimed_and_sleeping_ones_are_not(bed: Bed) {
    let me = register(&bed).await;
    let later = Disposition::Release { wake_at: Some(FUTURE) };
    write(&bed, me, [start("due", DUE), start("asleep", ASLEEP), start("later", later)]).await;
    assert_eq!(bed.store.queued(10).await, Ok(1));
    assert_eq!(bed.store.next_wake().await, Ok(Some(PAST)));
    let claimed = bed.store.claim(me, 10, &[]).await.unwrap();
    let expected = Claimed {
        thread_id: id("due"),
        epoch: 1,
        last_seq: 1,
        claims: 0,
        previous_owner: 0,
        lost: None,
        driven: false,
        mail: 0,
    };
    assert_eq!(claimed, [expected]);
    assert_eq!(bed.store.claim(me, 10, &[]).await, Ok(vec![]));
    assert_eq!(bed.store.queued(10).await, Ok(0));
    assert_eq!(bed.store.next_wake().await, Ok(Some(FUTURE)));
}

pub(super) async fn losses_count_until_there_is_progress(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("t", Disposition::Keep)]).await;
    let mut heir = me;
    for loss in 1..=3_u32 {
        bed.expire_leases().await;
        heir = register(&bed).await;
        let claimed = bed.store.claim(heir, 1, &[]).await.unwrap().remove(0);
        assert_eq!((claimed.claims, claimed.epoch), (loss, i64::from(loss) + 1));
        assert_eq!(row(&bed, "t").await.claims, loss);
    }
    let write = appends([Append { progress: true, ..append("t", 4, 1) }]);
    assert_eq!(bed.store.write(heir, &write).await.unwrap(), [WRITTEN]);
    assert_eq!(row(&bed, "t").await.claims, 0);
}

pub(super) async fn waking_up_is_no_loss(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("t", DUE)]).await;
    for round in 1..=3_i64 {
        let claimed = bed.store.claim(me, 1, &[]).await.unwrap().remove(0);
        assert_eq!((claimed.epoch, claimed.claims, claimed.previous_owner), (round, 0, 0));
        let write = appends([release("t", round, 1, DUE)]);
        assert_eq!(bed.store.write(me, &write).await.unwrap(), [WRITTEN]);
    }
    // A loss in between is remembered beyond the thread's next sleep.
    assert_eq!(bed.store.claim(me, 1, &[]).await.unwrap()[0].epoch, 4);
    bed.expire_leases().await;
    let heir = register(&bed).await;
    assert_eq!(bed.store.claim(heir, 1, &[]).await.unwrap()[0].claims, 1);
    let write = appends([release("t", 5, 1, DUE)]);
    assert_eq!(bed.store.write(heir, &write).await.unwrap(), [WRITTEN]);
    assert_eq!(bed.store.claim(heir, 1, &[]).await.unwrap()[0].claims, 1);
}

pub(super) async fn nothing_is_taken_from_a_live_owner(bed: Bed) {
    if bed.is_alone() {
        return;
    }
    let (me, other) = (register(&bed).await, register(&bed).await);
    write(&bed, me, [start("t", Disposition::Keep), start("u", DUE)]).await;
    assert_eq!(bed.store.claim(me, 9, &[]).await.unwrap().len(), 1);
    assert_eq!(bed.store.claim(other, 9, &[]).await, Ok(vec![]));
}

pub(super) async fn orphans_of_an_expired_owner_are_claimed(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("t", Disposition::Keep)]).await;
    bed.expire_leases().await;
    let heir = register(&bed).await;
    let claimed = bed.store.claim(heir, 9, &[]).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!((claimed[0].epoch, claimed[0].claims, claimed[0].previous_owner), (2, 1, me));
    // Nobody attended it, and its process is not known to be gone.
    assert_eq!(claimed[0].lost, Some(Loss::Silent));
    assert_eq!(row(&bed, "t").await.owner, heir);
}

pub(super) async fn who_only_claimed_a_thread_has_not_driven_it(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("t", Disposition::Keep), start("due", DUE)]).await;
    let mut heir = me;
    for (round, driven) in [true, false, true, false].into_iter().enumerate() {
        bed.expire_leases().await;
        heir = register(&bed).await;
        let claimed = bed.store.claim(heir, 1, &[]).await.unwrap().remove(0);
        assert_eq!((claimed.thread_id, claimed.driven), (id("t"), driven), "round {round}");
        if round == 1 {
            let write = appends([append("t", 3, 1)]);
            assert_eq!(bed.store.write(heir, &write).await.unwrap(), [WRITTEN]);
        }
    }
    assert!(!bed.store.owned(heir).await.unwrap()[0].driven);
    assert!(!bed.store.claim(heir, 9, &[]).await.unwrap()[0].driven);
}

pub(super) async fn a_predecessor_behind_a_lock_is_gone(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("t", Disposition::Keep)]).await;
    let alone = bed.is_alone();
    let Some(bed) = bed.reopened().await else { return };
    if !alone {
        bed.expire_leases().await;
    }
    let heir = register(&bed).await;
    let claimed = bed.store.claim(heir, 9, &[]).await.unwrap();
    let expected = if alone { Loss::SessionEnded } else { Loss::Silent };
    assert_eq!((claimed[0].previous_owner, claimed[0].lost), (me, Some(expected)));
}

pub(super) async fn an_owner_is_named_while_its_lease_holds(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("t", Disposition::Keep), start("asleep", ASLEEP)]).await;
    assert_eq!(bed.store.owner(&id("t")).await, Ok(Some("test".to_owned())));
    assert_eq!(bed.store.owner(&id("asleep")).await, Ok(None));
    assert_eq!(bed.store.owner(&id("nosuch")).await, Ok(None));
    bed.expire_leases().await;
    assert_eq!(bed.store.owner(&id("t")).await, Ok(None));
    let heir = register(&bed).await;
    assert_eq!(bed.store.claim(heir, 9, &[]).await.unwrap().len(), 1);
    assert_eq!(bed.store.owner(&id("t")).await, Ok(Some("test".to_owned())));
}

pub(super) async fn an_expired_replica_claims_nothing(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("t", DUE)]).await;
    bed.expire_leases().await;
    assert_eq!(bed.store.claim(me, 9, &[]).await, Ok(vec![]));
    assert_eq!(bed.store.claim(me + 7, 9, &[]).await, Ok(vec![]));
}

pub(super) async fn retiring_hands_over_at_once(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("t", Disposition::Keep), start("asleep", ASLEEP)]).await;
    bed.store.retire(me).await.unwrap();
    assert!(!bed.store.renew(me, TTL).await.unwrap());
    let heir = register(&bed).await;
    let claimed = bed.store.claim(heir, 9, &[]).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!((claimed[0].epoch, claimed[0].previous_owner), (2, 0));
    assert_eq!(claimed[0].lost, None);
    let late = appends([append("t", 1, 1)]);
    assert_eq!(bed.store.write(me, &late).await.unwrap(), [WriteOutcome::Fenced]);
}

pub(super) async fn a_claim_hands_out_at_most_its_limit(bed: Bed) {
    let me = register(&bed).await;
    let orphans = (0..5).map(|n| start(&format!("o{n}"), Disposition::Keep));
    write(&bed, me, orphans).await;
    bed.expire_leases().await;
    let heir = register(&bed).await;
    write(&bed, heir, (0..5).map(|n| start(&format!("d{n}"), DUE))).await;
    assert_eq!(bed.store.claim(heir, 0, &[]).await.unwrap().len(), 0);
    assert_eq!(bed.store.claim(heir, 3, &[]).await.unwrap().len(), 3);
    assert_eq!(bed.store.claim(heir, 4, &[]).await.unwrap().len(), 4);
    assert_eq!(bed.store.claim(heir, 9, &[]).await.unwrap().len(), 3);
}

pub(super) async fn orphans_do_not_wait_behind_a_queue(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, [start("lost", Disposition::Keep)]).await;
    bed.expire_leases().await;
    let heir = register(&bed).await;
    write(&bed, heir, (0..5).map(|n| start(&format!("d{n}"), DUE))).await;
    // A replica that is nearly full claims one thread at a time, and the queue need never end.
    let claimed = bed.store.claim(heir, 1, &[]).await.unwrap();
    assert_eq!((claimed.len(), &claimed[0].thread_id), (1, &id("lost")));
    assert_eq!(bed.store.claim(heir, 9, &[]).await.unwrap().len(), 5);
}

pub(super) async fn a_claim_leaves_the_threads_of_some_namespaces(bed: Bed) {
    let me = register(&bed).await;
    write(&bed, me, ["a/lost", "b/lost"].map(|key| start(key, Disposition::Keep))).await;
    bed.expire_leases().await;
    let heir = register(&bed).await;
    write(&bed, heir, (0..5).map(|n| start(&format!("a/d{n}"), DUE))).await;
    write(&bed, heir, ["a/due", "a-b/due", "b/due", "due"].map(|key| start(key, DUE))).await;
    let claim = async |limit: usize, except: &[&str]| {
        let except: Vec<_> = except.iter().map(|space| space_named(space)).collect();
        let claimed = bed.store.claim(heir, limit, &except).await.unwrap();
        let mut ids: Vec<_> = claimed.iter().map(|one| one.thread_id.as_str().to_owned()).collect();
        ids.sort();
        ids
    };
    assert_eq!(claim(9, &["a", "a-b", "b", "default"]).await, [""; 0]);
    assert_eq!(claim(1, &["a", "default"]).await, ["b/lost"], "lost ones first");
    assert_eq!(claim(9, &["a", "default", "nobody"]).await, ["a-b/due", "b/due"]);
    assert_eq!(claim(1, &["a"]).await, ["due"]);
    assert_eq!(claim(1, &["default", "b"]).await, ["a/lost"]);
    assert_eq!(claim(9, &[]).await.len(), 6);
    let row = row(&bed, "a/lost").await;
    assert_eq!((row.claims, row.epoch), (1, 2), "a claim that leaves it counts no loss");
}

fn space_named(name: &str) -> Namespace {
    Namespace::parse(name).unwrap()
}

pub(super) async fn a_standing_tells_the_holder_the_queue_and_the_mail(bed: Bed) {
    let me = register(&bed).await;
    let later = Disposition::Release { wake_at: Some(FUTURE) };
    write(&bed, me, [start("held", Disposition::Keep), start("asleep", ASLEEP)]).await;
    write(&bed, me, [start("due", DUE), start("later", later)]).await;
    post(&bed, "asleep", "k").await;
    let ownership = async |name: &str| bed.store.ownership(&id(name)).await.unwrap();
    assert_eq!(ownership("nosuch").await, None);
    let held = ownership("held").await.unwrap();
    let holder = held.holder.clone().unwrap();
    assert_eq!(holder.replica, "test");
    let ttl = i64::try_from(TTL.as_millis()).unwrap();
    assert!((1..=ttl).contains(&holder.lease_left_ms), "{holder:?}");
    assert_eq!(
        Ownership { holder: None, ..held },
        Ownership { replicas: 1, ..Ownership::default() }
    );
    let due = Ownership { replicas: 1, ..Ownership::default() };
    assert_eq!(ownership("due").await, Some(due.clone()));
    // The message has woken the one that slept, after the one that is due.
    assert_eq!(ownership("asleep").await, Some(Ownership { ahead: 1, mail: 1, ..due.clone() }));
    assert_eq!(ownership("later").await, Some(Ownership { ahead: 2, ..due }));
    bed.expire_leases().await;
    let lost = ownership("held").await.unwrap();
    assert_eq!(lost.replicas, 0);
    let holder = lost.holder.unwrap();
    assert!(holder.lease_left_ms <= 0 && holder.replica == "test", "{holder:?}");
}
