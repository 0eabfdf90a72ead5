//! Each replica keeps one session that holds an advisory lock. When the process dies, the kernel
//! closes its sockets and Postgres releases the lock: peers see that within about a second, before
//! the lease expires.
//!
//! The lock is tried for and never waited for. A live replica that only lost this connection
//! withdraws its announcement before peers act. If it cannot, they end its lease: it registers
//! anew, and the fence keeps its late writes out.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgListener;
use tokio::time::Instant;

use crate::model::{Backoff, Incarnation, lock};
use crate::store::{Presence, Result, StoreError};

use super::PostgresStore;
use super::fault::answer;
use super::hints::{lives, open};

/// How long a session may be silent before it is pinged: well below the time after which the
/// database drops a silent client.
const SILENCE: Duration = Duration::from_secs(2);
/// Timeout of that ping.
const ANSWER: Duration = Duration::from_secs(1);
/// Pause between tries for the lock: an earlier session of ours may linger.
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Tries to get the lock over one connection.
const LOCK_TRIES: u32 = 50;
/// First pause after a failed connection.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest such pause: peers judge by the lease alone until there is a session again.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The time without a session after which that is told.
const LONG_ABSENCE: Duration = Duration::from_secs(30);
/// Timeout of withdrawing the announcement, while the next session is made.
const WITHDRAWAL: Duration = Duration::from_secs(1);
/// The shortest time that a replica must be absent: a live one regains its lock or withdraws its
/// announcement sooner.
const SECOND_LOOK: Duration = Duration::from_millis(400);
/// If two looks are further apart than this, an absence begins anew.
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

/// Announced incarnations without an open session. Finds none unless the caller's own session is
/// two seconds old: after a restart of the database or of a network, peers need time to reconnect.
/// Also sets `lost` of expired leases: `frozen` if the session is still open, `silent` if not.
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

/// Ends the leases of incarnations that two looks have missed, if they are still missing. An expired lease is never renewed: an incarnation that lives
/// after all has to register anew.
const EXPIRE: &str = "
UPDATE @replicas SET lease_until = clock_timestamp(), lost = 'session_ended'
WHERE incarnation = ANY($3) AND attended AND lease_until > clock_timestamp()
  AND incarnation & 4294967295 NOT IN (SELECT low FROM open)
  AND EXISTS (SELECT FROM @replicas m
    WHERE m.incarnation = $1 AND m.lease_until > clock_timestamp())
RETURNING incarnation, name";

/// This schema's class of advisory locks, as Postgres takes it.
pub(super) fn class(schema: &str) -> i32 {
    // FNV-1a: the same in every version of this server. Replicas of schemas that share a class may
    // block each other's locks; then their leases decide.
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
        let mut absence = Absence::default();
        let mut session = self.locked(me).await;
        loop {
            match session {
                Ok(listener) => match self.announce(me, true).await {
                    Ok(()) => {
                        backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
                        absence = Absence::default();
                        lost(listener).await;
                        tracing::debug!(incarnation = me, "the presence session was lost");
                    }
                    Err(error) => {
                        absence.tell(me, &error);
                        tokio::time::sleep(backoff.advance()).await;
                    }
                },
                Err(error) => {
                    absence.tell(me, &error);
                    tokio::time::sleep(backoff.advance()).await;
                }
            }
            session = self.locked_again(me).await;
        }
    }

    async fn expire_lost(&self, me: Incarnation) -> Result<usize> {
        if self.hints.is_none() {
            return Ok(0);
        }
        let class = shown_class(self.target.schema.name());
        let look = sqlx::query_scalar(self.sql(&["WITH", OPEN, LOOK].concat())).bind(me);
        let seen = answer::<Vec<Incarnation>>(look.bind(class).fetch_all(&self.general));
        let gone = self.believe(&seen.await.inspect_err(|_| self.forget())?);
        if gone.is_empty() {
            return Ok(0);
        }
        let expire = sqlx::query_as(self.sql(&["WITH", OPEN, EXPIRE].concat()));
        let expire = expire.bind(me).bind(class).bind(gone);
        let expired: Vec<(Incarnation, String)> = answer(expire.fetch_all(&self.general)).await?;
        for (incarnation, name) in &expired {
            tracing::warn!(incarnation, replica = %name, "a replica's session has ended: its lease is ended");
        }
        Ok(expired.len())
    }
}

/// The time for which there was no session.
#[derive(Debug, Default)]
struct Absence {
    since: Option<Instant>,
    told: bool,
}

impl Absence {
    /// Logs a failure, loudly once it has lasted: an outage, which ends sooner with the lease, is told as
    /// a whole by the caller.
    fn tell(&mut self, me: Incarnation, error: &StoreError) {
        let long = self.since.get_or_insert_with(Instant::now).elapsed() >= LONG_ABSENCE;
        if long && !self.told {
            self.told = true;
            tracing::warn!(incarnation = me, %error, "no presence session for long: if this replica dies, its lease has to run out");
        } else {
            tracing::debug!(incarnation = me, %error, "no presence session");
        }
    }
}

impl PostgresStore {
    /// Makes the next session and meanwhile withdraws the last announcement, over existing
    /// connections: this works even while no new one can be made.
    async fn locked_again(&self, me: Incarnation) -> Result<PgListener> {
        let withdrawal = tokio::time::timeout(WITHDRAWAL, self.announce(me, false));
        let (withdrawn, session) = tokio::join!(withdrawal, self.locked(me));
        if !matches!(withdrawn, Ok(Ok(()))) {
            tracing::debug!(incarnation = me, "cannot withdraw the announcement of the session");
        }
        session
    }

    /// A session that holds the lock.
    async fn locked(&self, me: Incarnation) -> Result<PgListener> {
        let mut listener = open(&self.target).await?;
        for _ in 0..LOCK_TRIES {
            let class = class(self.target.schema.name());
            let query = sqlx::query_scalar(LOCK).bind(class).bind(low(me));
            if answer::<bool>(query.fetch_one(&mut listener)).await? {
                return Ok(listener);
            }
            tokio::time::sleep(LOCK_PAUSE).await;
        }
        Err(StoreError::Unavailable(
            "another session still holds the lock of this replica".to_owned(),
        ))
    }

    async fn announce(&self, me: Incarnation, attended: bool) -> Result<()> {
        let query = sqlx::query(self.sql(ANNOUNCE)).bind(me).bind(attended);
        answer(query.execute(&self.leases)).await?;
        Ok(())
    }

    /// Returns the incarnations that have been missing for [`SECOND_LOOK`] or longer.
    fn believe(&self, seen: &[Incarnation]) -> Vec<Incarnation> {
        let now = Instant::now();
        // No panic can leave the map half changed.
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
            // Nothing is expected; anything shows that it lives.
            Ok(Ok(Some(_))) => {}
            Ok(Ok(None) | Err(_)) => return,
            Err(_silence) if lives(&mut listener, ANSWER).await => {}
            Err(_silence) => return,
        }
    }
}
