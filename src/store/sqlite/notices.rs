//! Subscriptions to events, and the cursors of their unsent events.
//!
//! One process has the file open, so its clock judges leases; opening it ends those of an earlier
//! one.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use secrecy::ExposeSecret;
use sqlx::AssertSqlSafe;

use crate::model::{Incarnation, Namespace, Seq, Timestamp, signed_millis};
use crate::store::notices::{
    NOTIFICATION_COLUMNS, RawNotice, RawNotification, notice, notice_count,
};
use crate::store::rows::row_limit;
use crate::store::{
    Advanced, NOTICES_COUNTED, Notice, NoticeCount, Notices, NotificationRow, Result, Wanted,
};

use super::SqliteStore;
use super::fault::answer;

const INSERT: &str = "
INSERT OR IGNORE INTO notifications (id, created_at, enabled, version, body, secret, namespace)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

const UPDATE: &str = "
UPDATE notifications SET enabled = ?3, version = ?4, body = ?5, secret = ?6
WHERE id = ?1 AND created_at = ?2 AND version = ?7";

const ANY_DUE: &str = "
SELECT EXISTS (SELECT 1 FROM notification_cursors
    WHERE subscription = ?1 AND due_at <= ?2 AND (leased_until <= ?2 OR holder <> ?3))";

const CLAIM: &str = "
UPDATE notification_cursors SET token = ?1, leased_until = ?2, holder = ?6
WHERE subscription = ?3 AND thread_id IN (
    SELECT thread_id FROM notification_cursors
    WHERE subscription = ?3 AND due_at <= ?4 AND (leased_until <= ?4
        OR holder NOT IN (SELECT incarnation FROM replicas WHERE lease_until > ?7))
    ORDER BY due_at LIMIT ?5)
RETURNING subscription, thread_id, sent, head, attempts";

const ADVANCE: &str = "
UPDATE notification_cursors SET sent = max(sent, ?4), since = ?5, attempts = 0, leased_until = ?6
WHERE thread_id = ?1 AND subscription = ?2 AND token = ?3 AND leased_until > ?5
RETURNING head > sent";

const FINISH: &str = "DELETE FROM notification_cursors WHERE thread_id = ?1 AND subscription = ?2";

const RELEASE: &str = "
UPDATE notification_cursors SET leased_until = 0, due_at = ?4, attempts = attempts + ?5
WHERE thread_id = ?1 AND subscription = ?2 AND token = ?3";

/// The most cursors that one transaction hastens or sweeps: heartbeats and appends wait for it.
const PART: u64 = 500;

const HASTEN: &str = "
UPDATE notification_cursors SET due_at = ?2
WHERE subscription = ?1 AND thread_id IN (
    SELECT thread_id FROM notification_cursors
    WHERE subscription = ?1 AND due_at > ?2 ORDER BY due_at LIMIT ?3)";

/// Steps from one subscription to the next in the index, whatever number of cursors each has.
const GONE: &str = "
WITH RECURSIVE found (id) AS (
    SELECT min(subscription) FROM notification_cursors
    UNION ALL
    SELECT (SELECT min(subscription) FROM notification_cursors WHERE subscription > found.id)
    FROM found WHERE found.id IS NOT NULL)
SELECT id FROM found WHERE id NOT IN (SELECT id FROM notifications) LIMIT 1";

/// A subscription's id is never used again: one that is gone stays so.
const SWEEP: &str = "
DELETE FROM notification_cursors WHERE subscription = ?1 AND thread_id IN (
    SELECT thread_id FROM notification_cursors WHERE subscription = ?1 LIMIT ?2)";

const NOTE_SUCCESS: &str = "UPDATE notifications SET last_success_at = ?2 WHERE id = ?1";

const NOTE_FAILURE: &str =
    "UPDATE notifications SET last_failure_at = ?2, last_error = ?3 WHERE id = ?1";

const ANY_OLD: &str = "
SELECT EXISTS (SELECT 1 FROM notification_cursors WHERE since <= ?1)";

const GIVE_UP: &str = "
DELETE FROM notification_cursors WHERE (thread_id, subscription) IN (
    SELECT thread_id, subscription FROM notification_cursors
    WHERE since <= ?1 AND leased_until <= ?2 LIMIT ?3)
RETURNING subscription";

const COUNT_GIVEN_UP: &str = "UPDATE notifications SET given_up = given_up + ?2 WHERE id = ?1";

const COUNTS: &str = "
SELECT subscription, count(*), count(*) FILTER (WHERE attempts > 0), min(since)
FROM notification_cursors WHERE subscription IN (SELECT id FROM notifications)
GROUP BY subscription ORDER BY subscription";

const COUNT_OF: &str = "
SELECT ?1, count(*), count(*) FILTER (WHERE attempts > 0), min(since) FROM (
    SELECT attempts, since FROM notification_cursors WHERE subscription = ?1 LIMIT ?2)";

#[async_trait]
impl Notices for SqliteStore {
    async fn save_notification(
        &self,
        row: &NotificationRow,
        replaces: Option<i64>,
    ) -> Result<bool> {
        let query = sqlx::query(if replaces.is_some() { UPDATE } else { INSERT })
            .bind(&row.id)
            .bind(row.created_at.millis())
            .bind(row.enabled)
            .bind(row.version)
            .bind(row.body.as_str().as_bytes())
            .bind(row.secret.expose_secret());
        let query = match replaces {
            Some(version) => query.bind(version),
            None => query.bind(row.namespace.as_str()),
        };
        Ok(self.execute(query).await? == 1)
    }

    async fn notification(&self, id: &str) -> Result<Option<NotificationRow>> {
        let sql = format!("SELECT {NOTIFICATION_COLUMNS} FROM notifications WHERE id = ?");
        let query = sqlx::query_as(AssertSqlSafe(sql)).bind(id);
        let row: Option<RawNotification> = answer(query.fetch_optional(&self.readers)).await?;
        row.map(RawNotification::decode).transpose()
    }

    async fn notifications(
        &self,
        namespace: &Namespace,
        before: Option<(Timestamp, String)>,
        limit: usize,
    ) -> Result<Vec<NotificationRow>> {
        let sql = format!(
            "SELECT {NOTIFICATION_COLUMNS} FROM notifications
             WHERE namespace = ?4 AND (?1 IS NULL OR (created_at, id) < (?1, ?2))
             ORDER BY created_at DESC, id DESC LIMIT ?3"
        );
        let (at, id) = before.map(|(at, id)| (at.millis(), id)).unzip();
        let query = sqlx::query_as(AssertSqlSafe(sql)).bind(at).bind(id).bind(row_limit(limit));
        let query = query.bind(namespace.as_str());
        let rows: Vec<RawNotification> = answer(query.fetch_all(&self.readers)).await?;
        rows.into_iter().map(RawNotification::decode).collect()
    }

    async fn all_notifications(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<NotificationRow>> {
        let sql = format!(
            "SELECT {NOTIFICATION_COLUMNS} FROM notifications
             WHERE ?1 IS NULL OR id > ?1 ORDER BY id LIMIT ?2"
        );
        let query = sqlx::query_as(AssertSqlSafe(sql)).bind(after).bind(row_limit(limit));
        let rows: Vec<RawNotification> = answer(query.fetch_all(&self.readers)).await?;
        rows.into_iter().map(RawNotification::decode).collect()
    }

    async fn delete_notification(&self, id: &str) -> Result<bool> {
        let query = sqlx::query("DELETE FROM notifications WHERE id = ?").bind(id.to_owned());
        Ok(self.execute(query).await? == 1)
    }

    async fn claim_notices(
        &self,
        me: Incarnation,
        token: i64,
        lease: Duration,
        (wanted, most): (&[Wanted], usize),
    ) -> Result<Vec<Notice>> {
        let now = self.clock.now();
        let until = now.plus(lease).millis();
        // Usually nothing is due: no need to queue for the writer.
        let mut due: Vec<Wanted> = Vec::new();
        for group in wanted {
            let mut of = Vec::new();
            for one in &group.of {
                let look = sqlx::query_scalar(ANY_DUE).bind(&one.0).bind(now.millis()).bind(me);
                if answer(look.fetch_one(&self.readers)).await? {
                    of.push(one.clone());
                }
            }
            due.push(Wanted { most: group.most, of });
        }
        if due.iter().all(|group| group.of.is_empty()) {
            return Ok(Vec::new());
        }
        let (wanted, monotonic) = (due, signed_millis(self.clock.monotonic()));
        let work = self.write(move |connection| {
            async move {
                let mut claimed: Vec<RawNotice> = Vec::new();
                for group in &wanted {
                    let mut left = group.most.min(most - claimed.len());
                    for (id, limit) in &group.of {
                        let query = sqlx::query_as(CLAIM).bind(token).bind(until).bind(id);
                        let limit = row_limit(left.min(*limit));
                        let query = query.bind(now.millis()).bind(limit).bind(me).bind(monotonic);
                        let rows: Vec<RawNotice> = query.fetch_all(&mut *connection).await?;
                        left -= rows.len();
                        claimed.extend(rows);
                    }
                }
                Ok(claimed)
            }
            .boxed()
        });
        work.await?.into_iter().map(notice).collect()
    }

    async fn advance_notice(
        &self,
        token: i64,
        notice: &Notice,
        to: Seq,
        lease: Duration,
    ) -> Result<Advanced> {
        let (now, notice) = (self.clock.now(), notice.clone());
        let until = now.plus(lease).millis();
        self.write(move |connection| {
            async move {
                let (thread, subscription) = (notice.thread_id.as_str(), &notice.subscription);
                let query = sqlx::query_scalar(ADVANCE).bind(thread).bind(subscription);
                let query = query.bind(token).bind(to.cast_signed()).bind(now.millis());
                let more: Option<bool> = query.bind(until).fetch_optional(&mut *connection).await?;
                match more {
                    None => Ok(Advanced::Lost),
                    Some(true) => Ok(Advanced::More),
                    Some(false) => {
                        let query = sqlx::query(FINISH).bind(thread).bind(subscription);
                        query.execute(connection).await?;
                        Ok(Advanced::Done)
                    }
                }
            }
            .boxed()
        })
        .await
    }

    async fn release_notice(
        &self,
        token: i64,
        notice: &Notice,
        wait: Duration,
        failed: bool,
    ) -> Result<()> {
        let due = self.clock.now().plus(wait).millis();
        let query = sqlx::query(RELEASE).bind(notice.thread_id.as_str());
        let query = query.bind(&notice.subscription).bind(token).bind(due);
        self.execute(query.bind(i32::from(failed))).await.map(drop)
    }

    async fn hasten_notices(&self, subscription: &str) -> Result<bool> {
        let query = sqlx::query(HASTEN).bind(subscription.to_owned());
        let query = query.bind(self.clock.now().millis()).bind(PART.cast_signed());
        Ok(self.execute(query).await? == PART)
    }

    async fn sweep_notices(&self) -> Result<bool> {
        let query = sqlx::query_scalar(GONE);
        let gone: Option<String> = answer(query.fetch_optional(&self.readers)).await?;
        let Some(gone) = gone else { return Ok(false) };
        // There may be another one.
        self.execute(sqlx::query(SWEEP).bind(gone).bind(PART.cast_signed())).await?;
        Ok(true)
    }

    async fn note_delivery(
        &self,
        subscription: &str,
        at: Timestamp,
        error: Option<&str>,
    ) -> Result<()> {
        let query = sqlx::query(if error.is_none() { NOTE_SUCCESS } else { NOTE_FAILURE });
        let query = query.bind(subscription).bind(at.millis());
        let query = match error {
            Some(error) => query.bind(error.as_bytes()),
            None => query,
        };
        self.execute(query).await.map(drop)
    }

    async fn give_up_notices(&self, age: Duration, limit: usize) -> Result<Vec<(String, u64)>> {
        let now = self.clock.now().millis();
        let before = now.saturating_sub(signed_millis(age));
        let look = sqlx::query_scalar(ANY_OLD).bind(before);
        if !answer(look.fetch_one(&self.readers)).await? {
            return Ok(Vec::new());
        }
        self.write(move |connection| {
            async move {
                let query = sqlx::query_scalar(GIVE_UP).bind(before).bind(now);
                let query = query.bind(row_limit(limit));
                let gone: Vec<String> = query.fetch_all(&mut *connection).await?;
                let mut counts: BTreeMap<String, i64> = BTreeMap::new();
                for id in gone {
                    *counts.entry(id).or_default() += 1;
                }
                let mut given_up = Vec::new();
                for (id, count) in counts {
                    let query = sqlx::query(COUNT_GIVEN_UP).bind(&id).bind(count);
                    if query.execute(&mut *connection).await?.rows_affected() == 1 {
                        given_up.push((id, count.cast_unsigned()));
                    }
                }
                Ok(given_up)
            }
            .boxed()
        })
        .await
    }

    async fn notice_counts(&self) -> Result<Vec<NoticeCount>> {
        let query = sqlx::query_as(COUNTS);
        let rows = answer(query.fetch_all(&self.readers)).await?;
        Ok(rows.into_iter().map(notice_count).collect())
    }

    async fn notice_counts_of(&self, subscriptions: &[String]) -> Result<Vec<NoticeCount>> {
        let mut counts = Vec::new();
        for id in subscriptions {
            let query = sqlx::query_as(COUNT_OF).bind(id).bind(NOTICES_COUNTED.cast_signed());
            counts.push(notice_count(answer(query.fetch_one(&self.readers)).await?));
        }
        counts.retain(|count| count.pending > 0);
        Ok(counts)
    }
}
