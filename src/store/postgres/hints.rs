//! Hints between replicas by LISTEN and NOTIFY.
//!
//! A notification takes a lock on all commits of the database for a moment: it is sent alone, on a
//! connection of its own and without waiting for the disk, and never beside a write. Called by
//! the loops in `runtime/feed/hints.rs`; behind a pooler both do nothing.

use std::fmt::Write as _;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgListener;
use sqlx::{AssertSqlSafe, Executor};

use crate::model::{Incarnation, ThreadId};
use crate::store::{Hint, Hints, Received, Result};

use super::PostgresStore;
use super::fault::answer;
use super::settings::{ACQUIRE_TIMEOUT, Target};

/// Longest payload in bytes: half of what Postgres takes, so that no overhead can matter.
const MAX_PAYLOAD: usize = 4_000;
/// How long a listening connection may be silent before it is asked whether it still lives.
const SILENCE: Duration = Duration::from_secs(10);
/// Timeout of its answer.
const ANSWER: Duration = Duration::from_secs(2);
/// Longest name of a channel that Postgres takes, in bytes.
const MAX_CHANNEL: usize = 63;

const NOTIFY: &str = "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload";

/// The channel of a schema: two schemas in one database do not receive each other's hints.
fn channel(schema: &str) -> String {
    // Cut off here, as Postgres refuses a longer name; two very long names may share a channel, which
    // costs hints of threads that do not exist here.
    let name = format!("rethread:{schema}");
    name.chars().take(MAX_CHANNEL).collect()
}

/// Hints as payloads: a line with the sender, then a line each.
fn encode(me: Incarnation, hints: &[Hint]) -> Vec<String> {
    let head = format!("1 {me}");
    let mut payloads: Vec<String> = Vec::new();
    for one in hints {
        let mut line = String::from("\n");
        let _infallible = match one {
            Hint::Head(thread, seq) => write!(line, "h {seq} {}", thread.as_str()),
            Hint::Message(thread) => write!(line, "m {}", thread.as_str()),
            Hint::Work => write!(line, "w"),
            Hint::Followers => write!(line, "f"),
        };
        match payloads.last_mut() {
            Some(payload) if payload.len() + line.len() <= MAX_PAYLOAD => payload.push_str(&line),
            _ => payloads.push(format!("{head}{line}")),
        }
    }
    payloads
}

/// The hints of a payload; lines that this version does not understand are left out.
fn decode(payload: &str) -> Option<Received> {
    let mut lines = payload.lines();
    let from = lines.next()?.strip_prefix("1 ")?.parse().ok()?;
    let hint = |line: &str| {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        match kind {
            "h" => {
                let (seq, thread) = rest.split_once(' ')?;
                Some(Hint::Head(ThreadId::from_key(thread).ok()?, seq.parse().ok()?))
            }
            "m" => Some(Hint::Message(ThreadId::from_key(rest).ok()?)),
            "w" => Some(Hint::Work),
            "f" => Some(Hint::Followers),
            _ => None,
        }
    };
    Some(Received::Hints { from, hints: lines.filter_map(hint).collect() })
}

#[async_trait]
impl Hints for PostgresStore {
    async fn publish(&self, me: Incarnation, hints: &[Hint]) -> Result<()> {
        let Some(pool) = &self.hints else { return Ok(()) };
        let query =
            sqlx::query(NOTIFY).bind(channel(self.target.schema.name())).bind(encode(me, hints));
        answer(query.execute(pool)).await?;
        Ok(())
    }

    async fn receive(&self) -> Result<Received> {
        if self.hints.is_none() {
            return std::future::pending().await;
        }
        let mut listener = self.listener.lock().await;
        loop {
            let Some(connected) = listener.as_mut() else {
                *listener = Some(listen(&self.target).await?);
                return Ok(Received::Subscribed);
            };
            match next(connected).await {
                Some(payload) => {
                    if let Some(received) = decode(&payload) {
                        return Ok(received);
                    }
                }
                None => *listener = None,
            }
        }
    }
}

impl PostgresStore {
    /// Ends the listening connection.
    pub(super) fn unsubscribe(&self) {
        // A call of `receive` that is under way holds the lock, and the connection ends with it.
        if let Ok(mut listener) = self.listener.try_lock() {
            *listener = None;
        }
    }
}

async fn listen(target: &Target) -> Result<PgListener> {
    let mut listener = open(target).await?;
    let channel = channel(target.schema.name());
    let done = tokio::time::timeout(ACQUIRE_TIMEOUT, listener.listen(&channel)).await;
    done.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
    Ok(listener)
}

/// A connection that notices its end at once.
pub(super) async fn open(target: &Target) -> Result<PgListener> {
    // A pool for each: the driver gives a dead connection's place back only when TCP says so.
    let pool = target.single();
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.ignore_pool_close_event(true);
    Ok(listener)
}

/// The next payload; `None`: the connection is gone.
async fn next(listener: &mut PgListener) -> Option<String> {
    loop {
        match tokio::time::timeout(SILENCE, listener.try_recv()).await {
            Ok(Ok(Some(notification))) => return Some(notification.payload().to_owned()),
            Ok(Ok(None) | Err(_)) => return None,
            Err(_silence) if lives(listener, ANSWER).await => {}
            Err(_silence) => return None,
        }
    }
}

/// Whether a silent connection answers in time.
pub(super) async fn lives(listener: &mut PgListener, within: Duration) -> bool {
    let asked = listener.execute(AssertSqlSafe("SELECT 1"));
    matches!(tokio::time::timeout(within, asked).await, Ok(Ok(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> ThreadId {
        // The longest there may be.
        ThreadId::parse(&format!("{n:0>128}")).unwrap()
    }

    #[test]
    fn hints_come_back_as_they_were_sent_and_no_payload_is_too_long() {
        let heads = (0..500).map(|n| Hint::Head(id(n), u64::MAX));
        let others = [Hint::Work, Hint::Followers, Hint::Message(id(7))];
        let sent: Vec<_> = others.into_iter().chain(heads).collect();
        let payloads = encode(i64::MAX, &sent);
        assert!(payloads.len() > 1 && payloads.iter().all(|one| one.len() <= MAX_PAYLOAD));
        let mut heard = Vec::new();
        for payload in &payloads {
            let Some(Received::Hints { from: i64::MAX, hints }) = decode(payload) else {
                panic!("{payload}")
            };
            heard.extend(hints);
        }
        assert_eq!(heard, sent);
    }

    #[test]
    fn what_is_not_understood_is_left_out() {
        let heard = decode("1 7\nx y z\nm A/b\nh x a\nw\nm a");
        let hints = vec![Hint::Work, Hint::Message(ThreadId::parse("a").unwrap())];
        assert_eq!(heard, Some(Received::Hints { from: 7, hints }));
        for payload in ["", "2 7\nw", "1 x\nw", "hello"] {
            assert_eq!(decode(payload), None, "{payload}");
        }
    }

    #[test]
    fn every_schema_has_its_own_channel() {
        assert_ne!(channel("a"), channel("b"));
        assert_eq!(channel(&"x".repeat(63)).len(), MAX_CHANNEL);
    }
}
