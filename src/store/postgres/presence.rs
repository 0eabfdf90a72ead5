//! A session that lives as long as the process: how peers notice within about a second that a
//! process is gone, however long its lease is.
//!
//! Its connection holds an advisory lock, tried for and never waited for. The kernel closes a killed
//! process's sockets at once, Postgres ends the session, and the lock is gone. Nothing is taken
//! from a live replica that merely lost this connection: it says so before anybody believes it, and
//! if it cannot, a wrongly ended lease costs it a new registration and the fence does the rest.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgListener;
use tokio::time::Instant;

use crate::model::{Backoff, Incarnation, lock};
use crate::store::{Presence, StoreError};

use super::PostgresStore;
use super::fault::answer;
use super::hints::{lives, open};

/// How long a session may be silent before it is asked whether it still lives: well below the time
/// after which the database gives a silent client up.
const SILENCE: Duration = Duration::from_secs(2);
/// Timeout of its answer.
const ANSWER: Duration = Duration::from_secs(1);
/// Between tries to get the lock: an earlier session of ours may not be quite gone yet.
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Tries to get the lock over one connection.
const LOCK_TRIES: u32 = 50;
/// Pause before the next connection when one could not be made.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest such pause: peers judge by the lease alone until there is a session again.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Timeout of withdrawing the announcement, while the next session is made.
const WITHDRAWAL: Duration = Duration::from_secs(1);
/// Between the first and the second look at the least: a live replica needs less to hold its lock
/// again, or to take its announcement back.
const SECOND_LOOK: Duration = Duration::from_millis(400);
/// Between two looks in a row at the most: a looker that stood still begins afresh.
const FORGOTTEN: Duration = Duration::from_secs(5);

const LOCK: &str = "SELECT pg_try_advisory_lock($1, $2)";

const ANNOUNCE: &str = "
UPDATE @replicas SET attended = $2
WHERE incarnation = $1 AND attended <> $2 AND lease_until > clock_timestamp()";

/// The low halves of the incarnations whose sessions are open, for statements of `leases.rs` too.
/// `$2` is this schema's class of locks.
pub(super) const OPEN: &str = "
open AS MATERIALIZED (
    SELECT objid::bigint AS low, pid FROM pg_locks
    WHERE locktype = 'advisory' AND classid::bigint = $2 AND objsubid = 2 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))";

/// Attended incarnations without an open session, as far as the looker may judge: its own session
/// must be older than any that a restart of the database, or a lost network, has just ended.
/// It also records how leases ran out.
const LOOK: &str = ",
noted AS (
    UPDATE @replicas SET lost =
        CASE WHEN incarnation & 4294967295 IN (SELECT low FROM open) THEN 'frozen' ELSE 'silent' END
    WHERE lease_until <= clock_timestamp() AND lost IS NULL)
SELECT incarnation FROM @replicas
WHERE attended AND lease_until > clock_timestamp() AND incarnation <> $1
  AND incarnation & 4294967295 NOT IN (SELECT low FROM open)
  AND EXISTS (SELECT FROM open JOIN pg_stat_activity a USING (pid)
    WHERE low = $1 & 4294967295 AND a.backend_start < clock_timestamp() - interval '2 seconds')";

/// Ends leases; looks a third time. An expired lease is never renewed, so that the incarnation, if
/// it lives after all, has to register anew.
const EXPIRE: &str = "
UPDATE @replicas SET lease_until = clock_timestamp(), lost = 'session_ended'
WHERE incarnation = ANY($3) AND attended AND lease_until > clock_timestamp()
  AND incarnation & 4294967295 NOT IN (SELECT low FROM open)
  AND EXISTS (SELECT FROM @replicas m
    WHERE m.incarnation = $1 AND m.lease_until > clock_timestamp())
RETURNING incarnation, name";

/// This schema's class of advisory locks, as Postgres takes it.
pub(super) fn class(schema: &str) -> i32 {
    // FNV-1a: the same in every version of this server. Schemas that share a class hold each
    // other's locks at worst, and are judged by their leases then.
    let hash = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    "rethread/session/".bytes().chain(schema.bytes()).fold(0x811c_9dc5_u32, hash).cast_signed()
}

/// The class as `pg_locks` shows it.
pub(super) fn shown_class(schema: &str) -> i64 {
    i64::from(class(schema).cast_unsigned())
}

/// The low half of an incarnation, as Postgres takes it.
fn low(me: Incarnation) -> i32 {
    let half = me.cast_unsigned() & u64::from(u32::MAX);
    u32::try_from(half).unwrap_or_default().cast_signed()
}

#[async_trait]
impl Presence for PostgresStore {
    async fn announce_presence(&self, me: Incarnation) {
        if self.hints.is_none() {
            return std::future::pending().await;
        }
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut session = self.locked(me).await;
        loop {
            match session {
                Ok(listener) => {
                    backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
                    self.show(me, listener).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot make the session that shows we live");
                    tokio::time::sleep(backoff.advance()).await;
                }
            }
            session = self.locked_again(me).await;
        }
    }

    async fn expire_lost(&self, me: Incarnation) -> Result<usize, StoreError> {
        if self.hints.is_none() {
            return Ok(0);
        }
        let class = shown_class(self.target.schema.name());
        let look = sqlx::query_scalar(self.sql(&["WITH", OPEN, LOOK].concat())).bind(me);
        let seen =
            answer::<Vec<Incarnation>, StoreError>(look.bind(class).fetch_all(&self.general));
        let gone = self.believe(&seen.await.inspect_err(|_| self.forget())?);
        if gone.is_empty() {
            return Ok(0);
        }
        let expire = sqlx::query_as(self.sql(&["WITH", OPEN, EXPIRE].concat()));
        let expire = expire.bind(me).bind(class).bind(gone);
        let expired: Vec<(Incarnation, String)> =
            answer::<_, StoreError>(expire.fetch_all(&self.general)).await?;
        for (incarnation, name) in &expired {
            tracing::warn!(incarnation, replica = %name, "its session has ended: its lease is too");
        }
        Ok(expired.len())
    }
}

impl PostgresStore {
    /// Says that there is a session, and returns when it is gone.
    async fn show(&self, me: Incarnation, session: PgListener) {
        match self.announce(me, true).await {
            Ok(()) => lost(session).await,
            Err(error) => return tracing::warn!(%error, "cannot announce the session"),
        }
        tracing::info!(incarnation = me, "the session that shows we live was lost");
    }

    /// Makes the next session, and meanwhile takes the announcement of the last one back: over
    /// connections that are there already, so that it works while no new one can be made.
    async fn locked_again(&self, me: Incarnation) -> Result<PgListener, StoreError> {
        let withdrawal = tokio::time::timeout(WITHDRAWAL, self.announce(me, false));
        let (withdrawn, session) = tokio::join!(withdrawal, self.locked(me));
        if !matches!(withdrawn, Ok(Ok(()))) {
            tracing::warn!(incarnation = me, "cannot say that the session was lost");
        }
        session
    }

    /// A session that holds the lock.
    async fn locked(&self, me: Incarnation) -> Result<PgListener, StoreError> {
        let mut listener = open(&self.target).await?;
        for _ in 0..LOCK_TRIES {
            let class = class(self.target.schema.name());
            let query = sqlx::query_scalar(LOCK).bind(class).bind(low(me));
            if answer::<bool, StoreError>(query.fetch_one(&mut listener)).await? {
                return Ok(listener);
            }
            tokio::time::sleep(LOCK_PAUSE).await;
        }
        Err(StoreError::Unavailable("somebody else holds our session's lock".to_owned()))
    }

    async fn announce(&self, me: Incarnation, attended: bool) -> Result<(), StoreError> {
        let query = sqlx::query(self.sql(ANNOUNCE)).bind(me).bind(attended);
        answer::<_, StoreError>(query.execute(&self.leases)).await?;
        Ok(())
    }

    /// The incarnations that were without a session at the look before as well.
    fn believe(&self, seen: &[Incarnation]) -> Vec<Incarnation> {
        let now = Instant::now();
        // A panic while it was held cannot leave a map of times half changed.
        let mut missed = lock(&self.missed);
        missed.retain(|who, (_, last)| seen.contains(who) && now.duration_since(*last) < FORGOTTEN);
        for who in seen {
            missed.entry(*who).or_insert((now, now)).1 = now;
        }
        let long = |first: Instant| now.duration_since(first) >= SECOND_LOOK;
        missed.iter().filter(|(_, (first, _))| long(*first)).map(|(who, _)| *who).collect()
    }

    fn forget(&self) {
        lock(&self.missed).clear();
    }
}

/// Resolves when the session is gone.
async fn lost(mut listener: PgListener) {
    loop {
        match tokio::time::timeout(SILENCE, listener.try_recv()).await {
            // Nothing is sent here; whatever comes shows that it lives.
            Ok(Ok(Some(_))) => {}
            Ok(Ok(None) | Err(_)) => return,
            Err(_silence) if lives(&mut listener, ANSWER).await => {}
            Err(_silence) => return,
        }
    }
}
