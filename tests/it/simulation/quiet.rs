//! Nobody subscribes in a simulation: what a store keeps of notifications is passed on as it is.

use std::time::Duration;

use async_trait::async_trait;
use rethread::model::{Incarnation, Namespace, Seq, Timestamp};
use rethread::store::{
    Advanced, AuditFilter, AuditRow, Audits, Notice, NoticeCount, Notices, NotificationRow,
    StoreError,
};

use super::faulty::FaultyStore;

#[async_trait]
impl Audits for FaultyStore {
    async fn keep_audit(&self, entries: &[AuditRow]) -> Result<(), StoreError> {
        self.world.store.keep_audit(entries).await
    }

    async fn audit(&self, filter: &AuditFilter, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
        self.world.store.audit(filter, limit).await
    }

    async fn expire_audit(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.world.store.expire_audit(before, limit).await
    }
}

macro_rules! forward {
    ($($name:ident($($arg:ident: $kind:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl Notices for FaultyStore {
            $(async fn $name(&self, $($arg: $kind),*) -> Result<$answer, StoreError> {
                self.world.store.$name($($arg),*).await
            })*
        }
    };
}

forward! {
    save_notification(row: &NotificationRow, replaces: Option<i64>) -> bool;
    notification(id: &str) -> Option<NotificationRow>;
    notifications(namespace: &Namespace, before: Option<(Timestamp, String)>, limit: usize) -> Vec<NotificationRow>;
    all_notifications(after: Option<&str>, limit: usize) -> Vec<NotificationRow>;
    delete_notification(id: &str) -> bool;
    claim_notices(me: Incarnation, token: i64, lease: Duration, wanted: &[(String, usize)]) -> Vec<Notice>;
    advance_notice(token: i64, notice: &Notice, to: Seq, lease: Duration) -> Advanced;
    release_notice(token: i64, notice: &Notice, wait: Duration, failed: bool) -> ();
    hasten_notices(subscription: &str) -> ();
    note_delivery(subscription: &str, at: Timestamp, error: Option<&str>) -> ();
    give_up_notices(age: Duration, limit: usize) -> Vec<(String, u64)>;
    notice_counts() -> Vec<NoticeCount>;
}
