//! Wrappers of a store, for tests: the signatures of all calls in one place, so that a wrapper
//! writes only those calls by hand that it answers in its own way. `tests/it` includes this file
//! too.

/// Implements nouns of a store for a wrapper: each call goes to `wrapped()`, through the method `via`,
/// which is handed the call's name and its future.
macro_rules! delegate {
    ($wrapper:ty, $via:ident: $($noun:ident),+) => {
        $(delegate! { @$noun $wrapper, $via })+
    };
    ($wrapper:ty, $via:ident, $noun:ident {
        $($name:ident($($arg:ident: $kind:ty),*) -> $answer:ty;)*
    }) => {
        #[async_trait]
        impl $noun for $wrapper {
            $(async fn $name(&self, $($arg: $kind),*) -> Result<$answer, StoreError> {
                self.$via(stringify!($name), self.wrapped().$name($($arg),*)).await
            })*
        }
    };
    (@Threads $wrapper:ty, $via:ident) => { delegate! { $wrapper, $via, Threads {
        thread(thread: &ThreadId) -> Option<ThreadRow>;
        threads(filter: &ThreadFilter, limit: usize) -> Vec<ThreadRow>;
        owner(thread: &ThreadId) -> Option<String>;
        ownership(thread: &ThreadId) -> Option<Ownership>;
        by_idempotency_key(key: &str) -> Option<(ThreadId, String)>;
        durations(namespace: &Namespace, workflow: &str, limit: usize) -> Vec<u64>;
    } } };
    (@Retention $wrapper:ty, $via:ident) => { delegate! { $wrapper, $via, Retention {
        delete(thread: &ThreadId, head: Option<Seq>) -> bool;
        expire(before: Timestamp, limit: usize) -> usize;
        sweep() -> ();
    } } };
    (@Leases $wrapper:ty, $via:ident) => { delegate! { $wrapper, $via, Leases {
        register(name: &str, ttl: Duration) -> Incarnation;
        renew(me: Incarnation, ttl: Duration) -> bool;
        retire(me: Incarnation) -> ();
        claim(me: Incarnation, limit: usize, except: &[Namespace]) -> Vec<Claimed>;
        owned(me: Incarnation) -> Vec<Claimed>;
        next_wake() -> Option<Timestamp>;
        queued(limit: usize) -> usize;
    } } };
    (@Inbox $wrapper:ty, $via:ident) => { delegate! { $wrapper, $via, Inbox {
        post(thread: &ThreadId, message: &Message) -> Posted;
        inbox(thread: &ThreadId) -> Vec<Message>;
        inbox_of(thread: &ThreadId, kind: &str) -> Vec<Message>;
        mail(me: Incarnation) -> Vec<ThreadId>;
        answer(thread: &ThreadId, key: &str) -> Option<Json>;
    } } };
    (@Definitions $wrapper:ty, $via:ident) => { delegate! { $wrapper, $via, Definitions {
        definition(hash: &str) -> Option<String>;
        save_workflow(name: &str, hash: &str, text: &str, now: Timestamp) -> (WorkflowRow, bool);
        workflow(name: &str, version: Option<u32>) -> Option<WorkflowRow>;
        workflows(namespace: &Namespace, after: Option<&str>, limit: usize) -> Vec<WorkflowRow>;
    } } };
    (@Suspects $wrapper:ty, $via:ident) => { delegate! { $wrapper, $via, Suspects {
        suspects(threads: &[ThreadId]) -> Vec<SuspectRow>;
        suspects_of(incarnation: Incarnation) -> Vec<SuspectRow>;
        keep_suspects(rows: &[SuspectRow]) -> ();
        forget_suspects(threads: &[ThreadId]) -> ();
        deaths(since: Timestamp) -> Vec<Death>;
    } } };
    (@Interventions $wrapper:ty, $via:ident) => { delegate! { $wrapper, $via, Interventions {
        intervention(id: &str) -> Option<InterventionRow>;
        interventions(filter: &InterventionFilter, limit: usize) -> Vec<InterventionRow>;
        intervention_counts(namespace: &Namespace) -> InterventionCounts;
    } } };
    (@Tallies $wrapper:ty, $via:ident) => { delegate! { $wrapper, $via, Tallies {
        add_tallies(at: Timestamp, tallies: &[(String, u64)]) -> ();
        tallies(since: Timestamp) -> Vec<(String, u64)>;
    } } };
    (@Audits $wrapper:ty, $via:ident) => { delegate! { $wrapper, $via, Audits {
        keep_audit(entries: &[AuditRow]) -> ();
        audit(filter: &AuditFilter, limit: usize) -> Vec<AuditRow>;
        expire_audit(before: Timestamp, limit: usize) -> usize;
    } } };
    (@Notices $wrapper:ty, $via:ident) => { delegate! { $wrapper, $via, Notices {
        save_notification(row: &NotificationRow, replaces: Option<i64>) -> bool;
        notification(id: &str) -> Option<NotificationRow>;
        notifications(namespace: &Namespace, before: Option<(Timestamp, String)>, limit: usize)
            -> Vec<NotificationRow>;
        all_notifications(after: Option<&str>, limit: usize) -> Vec<NotificationRow>;
        delete_notification(id: &str) -> bool;
        claim_notices(me: Incarnation, token: i64, lease: Duration, wanted: (&[Wanted], usize))
            -> Vec<Notice>;
        advance_notice(token: i64, notice: &Notice, to: Seq, lease: Duration) -> Advanced;
        release_notice(token: i64, notice: &Notice, wait: Duration, failed: bool) -> ();
        hasten_notices(subscription: &str) -> bool;
        sweep_notices() -> bool;
        note_delivery(subscription: &str, at: Timestamp, error: Option<&str>) -> ();
        give_up_notices(age: Duration, limit: usize) -> Vec<(String, u64)>;
        notice_counts() -> Vec<NoticeCount>;
        notice_counts_of(subscriptions: &[String]) -> Vec<NoticeCount>;
    } } };
}

pub(crate) use delegate;
