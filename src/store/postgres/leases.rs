//! Leases and claims. Only the database's clock judges expiry.

use std::time::Duration;

use async_trait::async_trait;

use crate::model::{Incarnation, Namespace, Timestamp, signed_millis};
use crate::store::rows::{RawClaim, count, row_limit};
use crate::store::{Claimed, Leases, Result};

use super::PostgresStore;
use super::fault::answer;
use super::presence::{OPEN, shown_class};

/// Registers, and deletes rows over a day expired that own no thread.
const REGISTER: &str = "
WITH pruned AS (
    DELETE FROM @replicas r WHERE r.lease_until < clock_timestamp() - interval '1 day'
    AND NOT EXISTS (SELECT FROM @threads t WHERE t.owner = r.incarnation AND t.owner <> 0))
INSERT INTO @replicas (incarnation, name, lease_until, seen_at)
VALUES (nextval('@incarnations'), $1, clock_timestamp() + $2 * interval '1 millisecond', @now_ms())
RETURNING incarnation";

/// An expired lease is never renewed: whoever takes over relies on that. Tells the time.
const RENEW: &str = "
UPDATE @replicas SET lease_until = clock_timestamp() + $2 * interval '1 millisecond',
    seen_at = @now_ms()
WHERE incarnation = $1 AND lease_until > clock_timestamp()
RETURNING floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// Keeps the row, like that of a lost replica: a claim or start that commits just after this would
/// otherwise name an owner that nobody knows to be expired.
const RETIRE: &str = "
WITH gone AS (
    UPDATE @replicas SET lease_until = least(lease_until, clock_timestamp()),
        lost = coalesce(lost, 'retired'), seen_at = 0
    WHERE incarnation = $1),
mine AS MATERIALIZED (
    SELECT thread_id FROM @threads WHERE owner = $1 AND owner <> 0
    ORDER BY thread_id FOR UPDATE)
UPDATE @threads r SET owner = 0, wake_at = @now_ms()
FROM mine WHERE r.thread_id = mine.thread_id AND r.owner = $1";

/// Finds orphans by the list of expired incarnations. A list of live ones would steal: Postgres
/// rechecks a row that changed meanwhile, but by the old list.
///
/// How the owner was lost stands in its row; only if not, `open` is read.
///
/// The namespaces left out are told by the thread's id, which never changes: a row that is
/// rechecked passes as it did before.
const CLAIM: &str = ",
me AS MATERIALIZED (
    SELECT FROM @replicas WHERE incarnation = $1 AND lease_until > clock_timestamp()),
dead AS MATERIALIZED (
    SELECT incarnation, lost FROM @replicas WHERE lease_until <= clock_timestamp()),
orphan AS MATERIALIZED (
    SELECT thread_id, owner FROM @threads
    WHERE owner <> 0 AND owner IN (SELECT incarnation FROM dead) AND EXISTS (SELECT FROM me)
      AND left(thread_id, strpos(thread_id, '/')) <> ALL ($4)
    LIMIT $3 FOR UPDATE SKIP LOCKED),
fresh AS MATERIALIZED (
    SELECT thread_id, owner FROM @threads
    WHERE owner = 0 AND wake_at IS NOT NULL AND wake_at <= (SELECT @now_ms())
      AND EXISTS (SELECT FROM me) AND left(thread_id, strpos(thread_id, '/')) <> ALL ($4)
    ORDER BY wake_at LIMIT $3 - (SELECT count(*) FROM orphan) FOR UPDATE SKIP LOCKED)
UPDATE @threads r
SET owner = $1, epoch = r.epoch + 1, claims = r.claims + (p.owner <> 0)::int, wake_at = NULL
FROM (SELECT * FROM orphan UNION ALL SELECT * FROM fresh) p
WHERE r.thread_id = p.thread_id AND r.owner = p.owner
  AND (p.owner <> 0 OR r.wake_at IS NOT NULL)
RETURNING r.thread_id, r.epoch, r.last_seq, r.claims, p.owner AS previous_owner, r.pending AS mail,
    CASE WHEN p.owner <> 0 THEN coalesce(
        (SELECT lost FROM dead WHERE incarnation = p.owner),
        CASE WHEN p.owner & 4294967295 IN (SELECT low FROM open) THEN 'frozen' ELSE 'silent' END)
    END AS lost,
    p.owner <> 0 AND EXISTS (SELECT FROM @journal j WHERE j.thread_id = r.thread_id
        AND j.seq = r.last_seq AND j.epoch = r.epoch - 1) AS driven";

const OWNED: &str = "
SELECT thread_id, epoch, last_seq, claims, 0::bigint AS previous_owner, pending AS mail
FROM @threads WHERE owner = $1 AND owner <> 0 ORDER BY thread_id";

const NEXT_WAKE: &str = "SELECT min(wake_at) FROM @threads WHERE owner = 0 AND wake_at IS NOT NULL";

const QUEUED: &str = "
SELECT count(*) FROM (
    SELECT FROM @threads
    WHERE owner = 0 AND wake_at IS NOT NULL AND wake_at <= (SELECT @now_ms()) LIMIT $1) due";

#[async_trait]
impl Leases for PostgresStore {
    async fn register(&self, name: &str, ttl: Duration) -> Result<Incarnation> {
        let query = sqlx::query_scalar(self.sql(REGISTER)).bind(name).bind(signed_millis(ttl));
        answer(query.fetch_one(&self.leases)).await
    }

    async fn renew(&self, me: Incarnation, ttl: Duration) -> Result<bool> {
        let query = sqlx::query_scalar(self.sql(RENEW)).bind(me).bind(signed_millis(ttl));
        let time = self.timed(query.fetch_optional(&self.leases)).await?;
        Ok(time.is_some())
    }

    async fn retire(&self, me: Incarnation) -> Result<()> {
        let query = sqlx::query(self.sql(RETIRE)).bind(me);
        answer(query.execute(&self.leases)).await?;
        Ok(())
    }

    async fn claim(
        &self,
        me: Incarnation,
        limit: usize,
        except: &[Namespace],
    ) -> Result<Vec<Claimed>> {
        let query = sqlx::query_as(self.statements.claim.clone())
            .bind(me)
            .bind(shown_class(self.target.schema.name()))
            .bind(row_limit(limit))
            .bind(except.iter().map(Namespace::prefix).collect::<Vec<_>>());
        let rows: Vec<RawClaim> = answer(query.fetch_all(&self.general)).await?;
        rows.into_iter().map(RawClaim::decode).collect()
    }

    async fn owned(&self, me: Incarnation) -> Result<Vec<Claimed>> {
        let query = sqlx::query_as(self.sql(OWNED)).bind(me);
        let rows: Vec<RawClaim> = answer(query.fetch_all(&self.general)).await?;
        rows.into_iter().map(RawClaim::decode).collect()
    }

    async fn next_wake(&self) -> Result<Option<Timestamp>> {
        let query = sqlx::query_scalar(self.sql(NEXT_WAKE));
        let at: Option<i64> = answer(query.fetch_one(&self.general)).await?;
        Ok(at.map(Timestamp::from_millis))
    }

    async fn queued(&self, limit: usize) -> Result<usize> {
        let query = sqlx::query_scalar(self.sql(QUEUED)).bind(row_limit(limit));
        answer(query.fetch_one(&self.general)).await.map(count)
    }
}

/// The statement that claims.
pub(super) fn claim_statement() -> String {
    ["WITH", OPEN, CLAIM].concat()
}
