//! The audit list.

use std::time::Duration;

use rethread::model::{Json, Timestamp};
use rethread::store::{AuditFilter, AuditRow};

use crate::support::beds::Bed;
use crate::support::writes::AT;

fn at(minutes: u64) -> Timestamp {
    AT.plus(Duration::from_mins(minutes))
}

fn entry(id: &str, minutes: u64, by: &str, action: &str) -> AuditRow {
    AuditRow {
        id: id.to_owned(),
        at: at(minutes),
        namespace: "default".to_owned(),
        by: by.to_owned(),
        action: action.to_owned(),
        body: Json::trusted("{\"b\":\"\\u0000ü\",\"a\":1.10}".to_owned()).unwrap(),
    }
}

fn all() -> AuditFilter {
    AuditFilter { namespace: "default".to_owned(), ..AuditFilter::default() }
}

async fn ids(bed: &Bed, filter: AuditFilter, limit: usize) -> Vec<String> {
    let found = bed.store.audit(&filter, limit).await.unwrap();
    found.into_iter().map(|entry| entry.id).collect()
}

pub(super) async fn audit_entries_are_listed_newest_first_by_filter_and_page(bed: Bed) {
    let entries = [
        entry("a", 1, "ann", "refused"),
        entry("b", 2, "bob", "refused"),
        entry("d", 3, "ann", "thread_deleted"),
        entry("c", 3, "ann", "refused"),
        AuditRow { namespace: "other".to_owned(), ..entry("e", 4, "ann", "refused") },
    ];
    bed.store.keep_audit(&entries).await.unwrap();
    assert_eq!(ids(&bed, all(), 10).await, ["d", "c", "b", "a"]);
    assert_eq!(ids(&bed, all(), 2).await, ["d", "c"]);
    let before = Some((at(3), "c".to_owned()));
    assert_eq!(ids(&bed, AuditFilter { before, ..all() }, 10).await, ["b", "a"]);
    let by = Some("ann".to_owned());
    assert_eq!(ids(&bed, AuditFilter { by: by.clone(), ..all() }, 10).await, ["d", "c", "a"]);
    let action = Some("refused".to_owned());
    assert_eq!(ids(&bed, AuditFilter { by, action, ..all() }, 10).await, ["c", "a"]);
    let since = Some(at(2));
    assert_eq!(ids(&bed, AuditFilter { since, ..all() }, 10).await, ["d", "c", "b"]);
    let odd = Some("\0'ann".to_owned());
    assert!(ids(&bed, AuditFilter { by: odd, ..all() }, 10).await.is_empty());
    let other = AuditFilter { namespace: "other".to_owned(), ..AuditFilter::default() };
    assert_eq!(bed.store.audit(&other, 10).await.unwrap(), entries[4..]);
}

pub(super) async fn an_audit_entry_of_the_same_id_takes_the_place_of_the_first(bed: Bed) {
    let first = entry("a", 1, "ann", "refused");
    bed.store.keep_audit(std::slice::from_ref(&first)).await.unwrap();
    let second = AuditRow { body: Json::parse("{\"times\":2}").unwrap(), ..first };
    bed.store.keep_audit(std::slice::from_ref(&second)).await.unwrap();
    assert_eq!(bed.store.audit(&all(), 10).await.unwrap(), [second]);
}

pub(super) async fn old_audit_entries_expire_and_threads_take_none_with_them(bed: Bed) {
    let entries: Vec<_> =
        (1..=5).map(|minute| entry(&format!("e{minute}"), minute, "ann", "refused")).collect();
    bed.store.keep_audit(&entries).await.unwrap();
    bed.store.expire(at(60), 10).await.unwrap();
    assert_eq!(bed.store.expire_audit(at(4), 2).await, Ok(2));
    assert_eq!(bed.store.expire_audit(at(4), 2).await, Ok(1));
    assert_eq!(bed.store.expire_audit(at(4), 2).await, Ok(0));
    assert_eq!(ids(&bed, all(), 10).await, ["e5", "e4"]);
}
