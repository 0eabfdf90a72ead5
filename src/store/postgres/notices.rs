//! Subscriptions to events, and the cursors of their unsent events.
//!
//! Each statement is short and runs on the general pool: an append waits for a cursor's row no
//! longer than that. The database's clock judges leases and due times.

use std::time::Duration;

use async_trait::async_trait;
use secrecy::ExposeSecret;

use crate::model::{Incarnation, Namespace, Seq, Timestamp, signed_millis};
use crate::store::notices::{
    NOTIFICATION_COLUMNS, RawNotice, RawNotification, notice, notice_count,
};
use crate::store::rows::row_limit;
use crate::store::{
    Advanced, NOTICES_COUNTED, Notice, NoticeCount, Notices, NotificationRow, Result, Wanted,
};

use super::PostgresStore;
use super::fault::answer;

const INSERT: &str = "
INSERT INTO @notifications (id, created_at, enabled, version, body, secret, namespace)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";

const UPDATE: &str = "
UPDATE @notifications SET enabled = $2, version = $3, body = $4, secret = $5
WHERE id = $1 AND version = $6";

const DELETE: &str = "DELETE FROM @notifications WHERE id = $1";

/// The most cursors that a statement hastens or sweeps: appends wait
/// for these rows until it commits. The statements contain the number: the planner takes an unknown
/// limit for a tenth of the table, and reads all of that.
const PART: u64 = 500;

/// Steps from one subscription to the next in the index, whatever number of cursors each has.
const GONE: &str = "
WITH RECURSIVE found (id) AS (
    (SELECT subscription FROM @notification_cursors ORDER BY subscription LIMIT 1)
    UNION ALL
    SELECT (SELECT c.subscription FROM @notification_cursors c
            WHERE c.subscription > found.id ORDER BY c.subscription LIMIT 1)
    FROM found WHERE found.id IS NOT NULL)
SELECT id FROM found
WHERE id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM @notifications n WHERE n.id = found.id)
LIMIT 1";

/// Locks in the order of appends, so that no deadlock arises.
const SWEEP: &str = "
WITH rest AS MATERIALIZED (
    SELECT thread_id, subscription FROM @notification_cursors WHERE subscription = $1 LIMIT 500),
held AS MATERIALIZED (
    SELECT c.thread_id, c.subscription FROM rest JOIN @notification_cursors c
        USING (thread_id, subscription)
    ORDER BY c.thread_id, c.subscription FOR UPDATE OF c)
DELETE FROM @notification_cursors c USING held
WHERE c.thread_id = held.thread_id AND c.subscription = held.subscription";

/// `(SELECT @now_ms())` reads the clock once, so that the index can be searched with it. `dead`
/// lists expired incarnations, as for threads. Picked rows are found again by `ctid`: for a join
/// the planner expects so many that it would read the whole table. A row that an append has just
/// moved is found by the next claim.
const CLAIM: &str = "
WITH dead AS MATERIALIZED (
    SELECT incarnation FROM @replicas WHERE lease_until <= clock_timestamp())
UPDATE @notification_cursors r SET token = $3, holder = $5, leased_until = @now_ms() + $4
WHERE r.ctid = ANY(ARRAY(
    SELECT f.place
    FROM unnest($6::bigint[], $7::integer[], $8::integer[]) AS g(n, low, high)
    CROSS JOIN LATERAL (
        SELECT c.place
        FROM unnest(($1::text[])[g.low:g.high], ($2::bigint[])[g.low:g.high]) AS w(id, n)
        CROSS JOIN LATERAL (
            SELECT ctid AS place FROM @notification_cursors
            WHERE subscription = w.id AND due_at <= (SELECT @now_ms())
              AND (leased_until <= (SELECT @now_ms()) OR holder IN (SELECT incarnation FROM dead))
            ORDER BY due_at LIMIT w.n FOR UPDATE SKIP LOCKED) c
        LIMIT g.n) f
    LIMIT $9))
  AND (r.leased_until <= @now_ms() OR r.holder IN (SELECT incarnation FROM dead))
RETURNING r.subscription, r.thread_id, r.sent, r.head, r.attempts";

const ADVANCE: &str = "
UPDATE @notification_cursors SET sent = greatest(sent, $4), since = @now_ms(), attempts = 0,
    leased_until = @now_ms() + $5
WHERE thread_id = $1 AND subscription = $2 AND token = $3 AND leased_until > @now_ms()
RETURNING head";

/// Postgres rechecks a row that an append held: no event is lost.
const FINISH: &str = "
DELETE FROM @notification_cursors
WHERE thread_id = $1 AND subscription = $2 AND token = $3 AND head <= sent";

const RELEASE: &str = "
UPDATE @notification_cursors SET leased_until = 0, due_at = @now_ms() + $4,
    attempts = attempts + $5
WHERE thread_id = $1 AND subscription = $2 AND token = $3";

/// Locks in the order of appends, so that no deadlock arises.
const HASTEN: &str = "
WITH late AS MATERIALIZED (
    SELECT thread_id, subscription FROM @notification_cursors
    WHERE subscription = $1 AND due_at > (SELECT @now_ms()) ORDER BY due_at LIMIT 500),
held AS MATERIALIZED (
    SELECT c.thread_id, c.subscription FROM late JOIN @notification_cursors c
        USING (thread_id, subscription)
    ORDER BY c.thread_id, c.subscription FOR UPDATE OF c)
UPDATE @notification_cursors c SET due_at = @now_ms() FROM held
WHERE c.thread_id = held.thread_id AND c.subscription = held.subscription";

const NOTE_SUCCESS: &str = "UPDATE @notifications SET last_success_at = $2 WHERE id = $1";

const NOTE_FAILURE: &str =
    "UPDATE @notifications SET last_failure_at = $2, last_error = $3 WHERE id = $1";

const GIVE_UP: &str = "
WITH old AS MATERIALIZED (
    SELECT thread_id, subscription FROM @notification_cursors
    WHERE since <= (SELECT @now_ms()) - $1 AND leased_until <= (SELECT @now_ms())
    LIMIT $2 FOR UPDATE SKIP LOCKED),
gone AS (
    DELETE FROM @notification_cursors c USING old
    WHERE c.thread_id = old.thread_id AND c.subscription = old.subscription
    RETURNING c.subscription),
counted AS (SELECT subscription, count(*) AS n FROM gone GROUP BY subscription)
UPDATE @notifications s SET given_up = s.given_up + c.n
FROM counted c WHERE s.id = c.subscription
RETURNING s.id, c.n";

const COUNTS: &str = "
SELECT subscription, count(*), count(*) FILTER (WHERE attempts > 0), min(since)
FROM @notification_cursors WHERE subscription IN (SELECT id FROM @notifications)
GROUP BY subscription ORDER BY subscription";

/// The limit is [`NOTICES_COUNTED`].
const COUNTS_OF: &str = "
SELECT w.id, count(*), count(*) FILTER (WHERE c.attempts > 0), min(c.since)
FROM unnest($1::text[]) AS w(id)
CROSS JOIN LATERAL (
    SELECT attempts, since FROM @notification_cursors WHERE subscription = w.id LIMIT 200) c
GROUP BY w.id ORDER BY w.id";
const _: () = assert!(NOTICES_COUNTED == 200);

#[async_trait]
impl Notices for PostgresStore {
    async fn save_notification(
        &self,
        row: &NotificationRow,
        replaces: Option<i64>,
    ) -> Result<bool> {
        let body = row.body.as_str().as_bytes();
        let query = match replaces {
            None => sqlx::query(self.sql(INSERT))
                .bind(&row.id)
                .bind(row.created_at.millis())
                .bind(row.enabled)
                .bind(row.version)
                .bind(body)
                .bind(row.secret.expose_secret())
                .bind(row.namespace.as_str()),
            Some(version) => sqlx::query(self.sql(UPDATE))
                .bind(&row.id)
                .bind(row.enabled)
                .bind(row.version)
                .bind(body)
                .bind(row.secret.expose_secret())
                .bind(version),
        };
        Ok(self.execute(query).await? == 1)
    }

    async fn notification(&self, id: &str) -> Result<Option<NotificationRow>> {
        // Postgres text holds no NUL: no id has one.
        if id.contains('\0') {
            return Ok(None);
        }
        let sql = format!("SELECT {NOTIFICATION_COLUMNS} FROM @notifications WHERE id = $1");
        let query = sqlx::query_as(self.sql(&sql)).bind(id);
        let row: Option<RawNotification> = answer(query.fetch_optional(&self.general)).await?;
        row.map(RawNotification::decode).transpose()
    }

    async fn notifications(
        &self,
        namespace: &Namespace,
        before: Option<(Timestamp, String)>,
        limit: usize,
    ) -> Result<Vec<NotificationRow>> {
        let sql = format!(
            "SELECT {NOTIFICATION_COLUMNS} FROM @notifications
             WHERE namespace = $4 AND ($1::bigint IS NULL OR (created_at, id) < ($1, $2))
             ORDER BY created_at DESC, id DESC LIMIT $3"
        );
        let (at, id) = before.map(|(at, id)| (at.millis(), id.replace('\0', ""))).unzip();
        let query = sqlx::query_as(self.sql(&sql)).bind(at).bind(id).bind(row_limit(limit));
        let query = query.bind(namespace.as_str());
        let rows: Vec<RawNotification> = answer(query.fetch_all(&self.general)).await?;
        rows.into_iter().map(RawNotification::decode).collect()
    }

    async fn all_notifications(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<NotificationRow>> {
        let sql = format!(
            "SELECT {NOTIFICATION_COLUMNS} FROM @notifications
             WHERE $1::text IS NULL OR id > $1 ORDER BY id LIMIT $2"
        );
        let query = sqlx::query_as(self.sql(&sql)).bind(after).bind(row_limit(limit));
        let rows: Vec<RawNotification> = answer(query.fetch_all(&self.general)).await?;
        rows.into_iter().map(RawNotification::decode).collect()
    }

    async fn delete_notification(&self, id: &str) -> Result<bool> {
        if id.contains('\0') {
            return Ok(false);
        }
        let query = sqlx::query(self.sql(DELETE)).bind(id);
        Ok(self.execute(query).await? == 1)
    }

    async fn claim_notices(
        &self,
        me: Incarnation,
        token: i64,
        lease: Duration,
        (wanted, most): (&[Wanted], usize),
    ) -> Result<Vec<Notice>> {
        let each = wanted.iter().flat_map(|group| &group.of);
        let (ids, limits): (Vec<&str>, Vec<i64>) =
            each.map(|(id, limit)| (id.as_str(), row_limit(*limit))).unzip();
        let of_group: Vec<i64> = wanted.iter().map(|group| row_limit(group.most)).collect();
        // The part of the lists that is the group's; they begin with 1.
        let (mut lows, mut highs, mut end) = (Vec::new(), Vec::new(), 0_i32);
        for group in wanted {
            lows.push(end.saturating_add(1));
            end = end.saturating_add(i32::try_from(group.of.len()).unwrap_or(i32::MAX));
            highs.push(end);
        }
        let query = sqlx::query_as(self.sql(CLAIM)).bind(ids).bind(limits);
        let query = query.bind(token).bind(signed_millis(lease)).bind(me);
        let query = query.bind(of_group).bind(lows).bind(highs).bind(row_limit(most));
        let rows: Vec<RawNotice> = answer(query.fetch_all(&self.general)).await?;
        rows.into_iter().map(notice).collect()
    }

    async fn advance_notice(
        &self,
        token: i64,
        notice: &Notice,
        to: Seq,
        lease: Duration,
    ) -> Result<Advanced> {
        let query = sqlx::query_scalar(self.sql(ADVANCE))
            .bind(notice.thread_id.as_str())
            .bind(&notice.subscription)
            .bind(token)
            .bind(to.cast_signed())
            .bind(signed_millis(lease));
        let head: Option<i64> = answer(query.fetch_optional(&self.general)).await?;
        let Some(head) = head else { return Ok(Advanced::Lost) };
        if head > to.cast_signed() {
            return Ok(Advanced::More);
        }
        let query = sqlx::query(self.sql(FINISH))
            .bind(notice.thread_id.as_str())
            .bind(&notice.subscription)
            .bind(token);
        let done = self.execute(query).await?;
        Ok(if done == 1 { Advanced::Done } else { Advanced::More })
    }

    async fn release_notice(
        &self,
        token: i64,
        notice: &Notice,
        wait: Duration,
        failed: bool,
    ) -> Result<()> {
        let query = sqlx::query(self.sql(RELEASE))
            .bind(notice.thread_id.as_str())
            .bind(&notice.subscription)
            .bind(token)
            .bind(signed_millis(wait))
            .bind(i32::from(failed));
        self.execute(query).await.map(drop)
    }

    async fn hasten_notices(&self, subscription: &str) -> Result<bool> {
        let query = sqlx::query(self.sql(HASTEN)).bind(subscription);
        Ok(self.execute(query).await? == PART)
    }

    async fn sweep_notices(&self) -> Result<bool> {
        let query = sqlx::query_scalar(self.sql(GONE));
        let gone: Option<String> = answer(query.fetch_optional(&self.general)).await?;
        let Some(gone) = gone else { return Ok(false) };
        // There may be another one.
        self.execute(sqlx::query(self.sql(SWEEP)).bind(gone)).await?;
        Ok(true)
    }

    async fn note_delivery(
        &self,
        subscription: &str,
        at: Timestamp,
        error: Option<&str>,
    ) -> Result<()> {
        let query = match error {
            None => sqlx::query(self.sql(NOTE_SUCCESS)).bind(subscription).bind(at.millis()),
            Some(error) => sqlx::query(self.sql(NOTE_FAILURE))
                .bind(subscription)
                .bind(at.millis())
                .bind(error.as_bytes()),
        };
        self.execute(query).await.map(drop)
    }

    async fn give_up_notices(&self, age: Duration, limit: usize) -> Result<Vec<(String, u64)>> {
        let query =
            sqlx::query_as(self.sql(GIVE_UP)).bind(signed_millis(age)).bind(row_limit(limit));
        let rows: Vec<(String, i64)> = answer(query.fetch_all(&self.general)).await?;
        Ok(rows.into_iter().map(|(id, count)| (id, count.cast_unsigned())).collect())
    }

    async fn notice_counts(&self) -> Result<Vec<NoticeCount>> {
        let query = sqlx::query_as(self.sql(COUNTS));
        let rows = answer(query.fetch_all(&self.general)).await?;
        Ok(rows.into_iter().map(notice_count).collect())
    }

    async fn notice_counts_of(&self, subscriptions: &[String]) -> Result<Vec<NoticeCount>> {
        let query = sqlx::query_as(self.sql(COUNTS_OF)).bind(subscriptions);
        let rows = answer(query.fetch_all(&self.general)).await?;
        Ok(rows.into_iter().map(notice_count).collect())
    }
}
