//! Leases and claims. One process has the file, so its monotonic clock judges expiry.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use sqlx::SqliteConnection;

use crate::model::{Incarnation, Namespace, Timestamp, signed_millis};
use crate::store::rows::{RawClaim, count, row_limit};
use crate::store::{Claimed, Leases, Loss, Result};

use super::SqliteStore;
use super::fault::{Fault, answer};
use super::rows::{MAX_ROWS, room, with_list};

/// The time for which a replica that owns no thread is remembered: deaths are counted by it.
const KEPT: Duration = Duration::from_hours(1);

const ALIVE: &str =
    "SELECT EXISTS (SELECT 1 FROM replicas WHERE incarnation = ? AND lease_until > ?)";

const DUE: &str = "
SELECT thread_id, epoch + 1 AS epoch, last_seq, claims, owner AS previous_owner, pending AS mail
FROM threads WHERE owner = 0 AND wake_at IS NOT NULL AND wake_at <= ?1
  AND (?3 IS NULL
    OR substr(thread_id, 1, instr(thread_id, '/')) NOT IN (SELECT value FROM json_each(?3)))
ORDER BY wake_at LIMIT ?2";

const OWNED: &str = "
SELECT thread_id, epoch, last_seq, claims, 0 AS previous_owner, pending AS mail
FROM threads WHERE owner = ? AND owner <> 0 ORDER BY thread_id";

const ORPHANS: &str = "
SELECT thread_id, epoch + 1 AS epoch, last_seq, claims + 1 AS claims, owner AS previous_owner,
    pending AS mail, EXISTS (SELECT 1 FROM journal j WHERE j.thread_id = threads.thread_id
        AND j.seq = threads.last_seq AND j.epoch = threads.epoch) AS driven
FROM threads WHERE owner <> 0
  AND owner IN (SELECT incarnation FROM replicas WHERE lease_until <= ?1)
  AND (?3 IS NULL
    OR substr(thread_id, 1, instr(thread_id, '/')) NOT IN (SELECT value FROM json_each(?3)))
LIMIT ?2";

const TAKE: &str = "
UPDATE threads SET owner = ?, epoch = epoch + 1, claims = claims + (owner <> 0), wake_at = NULL
WHERE thread_id IN ({})";

#[async_trait]
impl Leases for SqliteStore {
    async fn register(&self, name: &str, ttl: Duration) -> Result<Incarnation> {
        let (name, until) =
            (name.to_owned(), signed_millis(self.clock.monotonic().saturating_add(ttl)));
        let now = self.clock.now();
        let work = self.write_first(move |connection| {
            async move {
                sqlx::query("UPDATE replicas SET lease_until = -1 WHERE lease_until <> -1")
                    .execute(&mut *connection)
                    .await?;
                sqlx::query(
                    "DELETE FROM replicas WHERE seen_at < ? AND NOT EXISTS
                     (SELECT 1 FROM threads WHERE owner = incarnation AND owner <> 0)",
                )
                .bind(now.millis() - signed_millis(KEPT))
                .execute(&mut *connection)
                .await?;
                let insert = "INSERT INTO replicas (name, lease_until, seen_at) VALUES (?, ?, ?)
                              RETURNING incarnation";
                let query = sqlx::query_scalar(insert).bind(name).bind(until).bind(now.millis());
                Ok(query.fetch_one(connection).await?)
            }
            .boxed()
        });
        let me = work.await?;
        // Only the first registration over this lock file finds it at its start.
        self.first_own.fetch_min(me, Ordering::AcqRel);
        Ok(me)
    }

    async fn renew(&self, me: Incarnation, ttl: Duration) -> Result<bool> {
        let now = self.clock.monotonic();
        let renew = "UPDATE replicas SET lease_until = ?, seen_at = ?
                     WHERE incarnation = ? AND lease_until > ?";
        let query = sqlx::query(renew).bind(signed_millis(now.saturating_add(ttl)));
        let query = query.bind(self.clock.now().millis()).bind(me).bind(signed_millis(now));
        let renewed = self.write_first(|connection| {
            async move { Ok(query.execute(connection).await?.rows_affected()) }.boxed()
        });
        Ok(renewed.await? == 1)
    }

    async fn retire(&self, me: Incarnation) -> Result<()> {
        let now = self.clock.now().millis();
        self.write(move |connection| {
            async move {
                sqlx::query(
                    "UPDATE replicas SET lease_until = -1, seen_at = 0 WHERE incarnation = ?",
                )
                .bind(me)
                .execute(&mut *connection)
                .await?;
                sqlx::query(
                    "UPDATE threads SET owner = 0, wake_at = ? WHERE owner = ? AND owner <> 0",
                )
                .bind(now)
                .bind(me)
                .execute(connection)
                .await?;
                Ok(())
            }
            .boxed()
        })
        .await
    }

    async fn claim(
        &self,
        me: Incarnation,
        limit: usize,
        except: &[Namespace],
    ) -> Result<Vec<Claimed>> {
        let (monotonic, now) = (signed_millis(self.clock.monotonic()), self.clock.now());
        let limit = limit.min(MAX_ROWS);
        let prefixes: Vec<String> = except.iter().map(Namespace::prefix).collect();
        // A list in JSON; none at all costs nothing.
        let except = (!prefixes.is_empty()).then(|| serde_json::Value::from(prefixes).to_string());
        let work = self.write(move |connection| {
            async move { claim(connection, me, (limit, except.as_deref()), (monotonic, now)).await }
                .boxed()
        });
        let claims = work.await?;
        let own = self.first_own.load(Ordering::Acquire);
        let claimed = claims.into_iter().map(|claim| {
            let claimed = claim.decode()?;
            let lost = loss(claimed.previous_owner, own);
            Ok(Claimed { lost, ..claimed })
        });
        claimed.collect()
    }

    async fn owned(&self, me: Incarnation) -> Result<Vec<Claimed>> {
        let query = sqlx::query_as(OWNED).bind(me);
        let rows: Vec<RawClaim> = answer(query.fetch_all(&self.readers)).await?;
        rows.into_iter().map(RawClaim::decode).collect()
    }

    async fn next_wake(&self) -> Result<Option<Timestamp>> {
        let sql = "SELECT min(wake_at) FROM threads WHERE owner = 0 AND wake_at IS NOT NULL";
        let at: Option<i64> = answer(sqlx::query_scalar(sql).fetch_one(&self.readers)).await?;
        Ok(at.map(Timestamp::from_millis))
    }

    async fn queued(&self, limit: usize) -> Result<usize> {
        let sql = "SELECT count(*) FROM (SELECT 1 FROM threads
                   WHERE owner = 0 AND wake_at IS NOT NULL AND wake_at <= ? LIMIT ?)";
        let query = sqlx::query_scalar(sql).bind(self.clock.now().millis()).bind(row_limit(limit));
        answer(query.fetch_one(&self.readers)).await.map(count)
    }
}

/// Whether an incarnation's lease has not expired at `now` on the monotonic clock.
pub(super) async fn is_alive(
    connection: &mut SqliteConnection,
    me: Incarnation,
    now: i64,
) -> Result<bool, Fault> {
    Ok(sqlx::query_scalar(ALIVE).bind(me).bind(now).fetch_one(connection).await?)
}

/// How an owner was lost: one from before our first registration is a process that has left the
/// lock file to us; a later one is this process itself.
fn loss(previous_owner: Incarnation, first_own: Incarnation) -> Option<Loss> {
    match previous_owner {
        0 => None,
        before if before < first_own => Some(Loss::SessionEnded),
        _ => Some(Loss::Silent),
    }
}

async fn claim(
    connection: &mut SqliteConnection,
    me: Incarnation,
    (limit, except): (usize, Option<&str>),
    (monotonic, now): (i64, Timestamp),
) -> Result<Vec<RawClaim>, Fault> {
    if limit == 0 || !is_alive(connection, me, monotonic).await? {
        return Ok(Vec::new());
    }
    let orphans = sqlx::query_as(ORPHANS).bind(monotonic).bind(row_limit(limit)).bind(except);
    let mut claims: Vec<RawClaim> = orphans.fetch_all(&mut *connection).await?;
    let left = row_limit(limit - claims.len());
    let due = sqlx::query_as(DUE).bind(now.millis()).bind(left).bind(except);
    claims.extend(due.fetch_all(&mut *connection).await?);
    if claims.is_empty() {
        return Ok(claims);
    }
    let room = room(claims.len());
    let mut take = sqlx::query(with_list(TAKE, room)).bind(me);
    for claim in &claims {
        take = take.bind(&claim.thread_id);
    }
    for _ in claims.len()..room {
        take = take.bind(None::<&str>);
    }
    take.execute(connection).await?;
    Ok(claims)
}
