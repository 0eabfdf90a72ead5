//! Subscriptions to events, and their cursors: the last event sent, by subscription and thread.
//!
//! A cursor is a row for a subscription and a thread. The append of an event that the subscription
//! asks for writes it in the same statement. It is deleted once all is sent: events without a
//! subscription cost nothing. A sender holds a cursor by a lease with a token of its own, so that
//! only one sends a thread's events at a time, and another replaces a dead one. The runtime's
//! senders call this; nothing here reads events.

use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretSlice};

use crate::model::{Incarnation, Json, Namespace, Seq, ThreadId, Timestamp};

use super::Result;
use super::rows::{json, thread_id, unreadable};

/// A subscription.
#[derive(Debug, Clone)]
pub struct NotificationRow {
    /// Its id, unique among all namespaces.
    pub id: String,
    /// The namespace of the threads it is for.
    pub namespace: Namespace,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether events are sent.
    pub enabled: bool,
    /// Grows with every change by a client.
    pub version: i64,
    /// All else that clients chose, opaque to the store.
    pub body: Json,
    /// The key that signs its messages; never shown, never logged.
    pub secret: SecretSlice<u8>,
    /// When a delivery last succeeded.
    pub last_success_at: Option<Timestamp>,
    /// When a delivery last failed.
    pub last_failure_at: Option<Timestamp>,
    /// Its error.
    pub last_error: Option<String>,
    /// Threads whose events were given up.
    pub given_up: u64,
}

impl PartialEq for NotificationRow {
    fn eq(&self, other: &Self) -> bool {
        let shown = |row: &Self| {
            let times = (row.created_at, row.last_success_at, row.last_failure_at);
            let id = (row.id.clone(), row.namespace.clone());
            (id, times, row.enabled, row.version, row.given_up)
        };
        shown(self) == shown(other)
            && (&self.body, &self.last_error) == (&other.body, &other.last_error)
            && self.secret.expose_secret() == other.secret.expose_secret()
    }
}

/// A claimed cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The subscription.
    pub subscription: String,
    /// The thread.
    pub thread_id: ThreadId,
    /// The last event that needs no sending.
    pub sent: Seq,
    /// The newest event to send.
    pub head: Seq,
    /// Failed attempts since the last success.
    pub attempts: u32,
}

/// The cursors that are wanted of some subscriptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The most of them all.
    pub most: usize,
    /// The subscriptions, and the most of each; the first ones go first.
    pub of: Vec<(String, usize)>,
}

/// The result of [`Notices::advance_notice`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advanced {
    /// Everything is sent: the cursor is gone.
    Done,
    /// More is to be sent; the lease is renewed.
    More,
    /// Somebody else holds the cursor, or it is gone.
    Lost,
}

/// The backlog of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeCount {
    /// The subscription.
    pub subscription: String,
    /// Threads with unsent events.
    pub pending: u64,
    /// Pending threads whose last attempt failed.
    pub failing: u64,
    /// When the oldest pending one began to wait.
    pub since: Option<Timestamp>,
}

/// The most cursors of a subscription that [`Notices::notice_counts_of`] looks at.
pub const NOTICES_COUNTED: u64 = 200;

/// Subscriptions and their cursors.
#[async_trait]
pub trait Notices: Send + Sync {
    /// Inserts a subscription, or updates `enabled`, `body`, `secret` and `version` of the one at
    /// version `replaces`. `false`: the id is taken or the version differs; nothing changed.
    async fn save_notification(&self, row: &NotificationRow, replaces: Option<i64>)
    -> Result<bool>;

    /// A subscription.
    async fn notification(&self, id: &str) -> Result<Option<NotificationRow>>;

    /// At most `limit` subscriptions of a namespace, newest first, older than `before`: (created
    /// at, id) of the last item seen.
    async fn notifications(
        &self,
        namespace: &Namespace,
        before: Option<(Timestamp, String)>,
        limit: usize,
    ) -> Result<Vec<NotificationRow>>;

    /// At most `limit` subscriptions of all namespaces by id, after the id `after`.
    async fn all_notifications(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<NotificationRow>>;

    /// Deletes a subscription; its cursors count no more, and [`Notices::sweep_notices`] deletes them.
    /// `false`: there is none.
    async fn delete_notification(&self, id: &str) -> Result<bool>;

    /// Hands out due cursors that nobody holds, for `lease`, at most the number beside `wanted`: of
    /// each group and each subscription at most the given number, of each subscription longest due
    /// first. A holder whose own lease has expired ([`super::Leases::renew`]) holds none. Each call
    /// needs a new `token`.
    async fn claim_notices(
        &self,
        me: Incarnation,
        token: i64,
        lease: Duration,
        wanted: (&[Wanted], usize),
    ) -> Result<Vec<Notice>>;

    /// Marks events up to `to` as done.
    async fn advance_notice(
        &self,
        token: i64,
        notice: &Notice,
        to: Seq,
        lease: Duration,
    ) -> Result<Advanced>;

    /// Gives a cursor back, due after `wait`; `failed` counts a failed attempt.
    async fn release_notice(
        &self,
        token: i64,
        notice: &Notice,
        wait: Duration,
        failed: bool,
    ) -> Result<()>;

    /// Makes a part of a subscription's cursors due, those that are due first; returns whether more
    /// may be left. All at once could be so many that other writes wait for long.
    async fn hasten_notices(&self, subscription: &str) -> Result<bool>;

    /// Deletes a part of the cursors whose subscription is gone; returns whether more may be left.
    async fn sweep_notices(&self) -> Result<bool>;

    /// Records a delivery, or the error of one that failed.
    async fn note_delivery(
        &self,
        subscription: &str,
        at: Timestamp,
        error: Option<&str>,
    ) -> Result<()>;

    /// Deletes at most `limit` cursors that have waited for `age` without a success; returns their
    /// number by existing subscription.
    async fn give_up_notices(&self, age: Duration, limit: usize) -> Result<Vec<(String, u64)>>;

    /// Counts of pending threads by subscription, in the order of their ids.
    async fn notice_counts(&self) -> Result<Vec<NoticeCount>>;

    /// Counts of pending threads of these subscriptions, of each at most [`NOTICES_COUNTED`]; those
    /// without any are left out. Takes an index: the cursors of others cost nothing.
    async fn notice_counts_of(&self, subscriptions: &[String]) -> Result<Vec<NoticeCount>>;
}

/// The columns of [`RawNotification`].
pub(super) const NOTIFICATION_COLUMNS: &str = "id, namespace, created_at, enabled, version, body, \
    secret, last_success_at, last_failure_at, last_error, given_up";

/// A row of `notifications`.
#[derive(sqlx::FromRow)]
pub(super) struct RawNotification {
    id: String,
    namespace: String,
    created_at: i64,
    enabled: bool,
    version: i64,
    body: Vec<u8>,
    secret: Vec<u8>,
    last_success_at: Option<i64>,
    last_failure_at: Option<i64>,
    last_error: Option<Vec<u8>>,
    given_up: i64,
}

impl RawNotification {
    /// The subscription as the runtime sees it.
    pub(super) fn decode(self) -> Result<NotificationRow> {
        let error = self.last_error.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let namespace = Namespace::parse(&self.namespace);
        Ok(NotificationRow {
            id: self.id,
            namespace: namespace.ok_or_else(|| unreadable("no namespace has this name"))?,
            created_at: Timestamp::from_millis(self.created_at),
            enabled: self.enabled,
            version: self.version,
            body: json(self.body)?,
            secret: SecretSlice::from(self.secret),
            last_success_at: self.last_success_at.map(Timestamp::from_millis),
            last_failure_at: self.last_failure_at.map(Timestamp::from_millis),
            last_error: error,
            given_up: self.given_up.cast_unsigned(),
        })
    }
}

/// A claimed row: subscription, thread, sent, head, attempts.
pub(super) type RawNotice = (String, String, i64, i64, i32);

/// Decodes a claimed row.
pub(super) fn notice((subscription, thread, sent, head, attempts): RawNotice) -> Result<Notice> {
    Ok(Notice {
        subscription,
        thread_id: thread_id(&thread)?,
        sent: sent.cast_unsigned(),
        head: head.cast_unsigned(),
        attempts: attempts.cast_unsigned(),
    })
}

/// Decodes a row: subscription, pending, failing, since.
pub(super) fn notice_count(
    (subscription, pending, failing, since): (String, i64, i64, Option<i64>),
) -> NoticeCount {
    NoticeCount {
        subscription,
        pending: pending.cast_unsigned(),
        failing: failing.cast_unsigned(),
        since: since.map(Timestamp::from_millis),
    }
}
