//! Hints between replicas by LISTEN and NOTIFY.
//!
//! A notification takes a lock on all commits of the database for a moment: it is sent alone, on a
//! connection of its own and without waiting for the disk, and never beside a write. Called by the
//! runtime's outbox and its listener; behind a pooler both do nothing.

use std::fmt::Write as _;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgListener;
use sqlx::{AssertSqlSafe, Executor};

use crate::model::{Incarnation, ThreadId};
use crate::store::{Heard, Hints, News, StoreError};

use super::PostgresStore;
use super::fault::answer;
use super::settings::{ACQUIRE_TIMEOUT, Target};

/// Longest payload in bytes: half of what Postgres takes, so that no overhead can matter.
const MAX_PAYLOAD: usize = 4_000;
/// How long a listening connection may be silent before it is asked whether it still lives.
const SILENCE: Duration = Duration::from_secs(10);
/// What it gets to answer that.
const ANSWER: Duration = Duration::from_secs(2);
/// Longest name of a channel that Postgres takes, in bytes.
const MAX_CHANNEL: usize = 63;

const NOTIFY: &str = "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload";

/// The channel of a schema: two schemas in one database do not hear each other.
fn channel(schema: &str) -> String {
    // Cut off by hand where Postgres would refuse; a channel that is shared by two very long names
    // costs hints that nobody understands.
    let name = format!("rethread:{schema}");
    name.chars().take(MAX_CHANNEL).collect()
}

/// Hints as payloads: a line with the sender, then a line each.
fn encode(me: Incarnation, news: &[News]) -> Vec<String> {
    let head = format!("1 {me}");
    let mut payloads: Vec<String> = Vec::new();
    for one in news {
        let mut line = String::from("\n");
        let _infallible = match one {
            News::Head(thread, seq) => write!(line, "h {seq} {}", thread.as_str()),
            News::Mail(thread) => write!(line, "m {}", thread.as_str()),
            News::Work => write!(line, "w"),
            News::Followers => write!(line, "f"),
        };
        match payloads.last_mut() {
            Some(payload) if payload.len() + line.len() <= MAX_PAYLOAD => payload.push_str(&line),
            _ => payloads.push(format!("{head}{line}")),
        }
    }
    payloads
}

/// The hints of a payload; what is not understood (by this version) is left out.
fn decode(payload: &str) -> Option<Heard> {
    let mut lines = payload.lines();
    let from = lines.next()?.strip_prefix("1 ")?.parse().ok()?;
    let hint = |line: &str| {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        match kind {
            "h" => {
                let (seq, thread) = rest.split_once(' ')?;
                Some(News::Head(ThreadId::from_key(thread).ok()?, seq.parse().ok()?))
            }
            "m" => Some(News::Mail(ThreadId::from_key(rest).ok()?)),
            "w" => Some(News::Work),
            "f" => Some(News::Followers),
            _ => None,
        }
    };
    Some(Heard::News { from, news: lines.filter_map(hint).collect() })
}

#[async_trait]
impl Hints for PostgresStore {
    async fn tell(&self, me: Incarnation, news: &[News]) -> Result<(), StoreError> {
        let Some(pool) = &self.hints else { return Ok(()) };
        let query =
            sqlx::query(NOTIFY).bind(channel(self.target.schema.name())).bind(encode(me, news));
        answer::<_, StoreError>(query.execute(pool)).await?;
        Ok(())
    }

    async fn hear(&self) -> Result<Heard, StoreError> {
        if self.hints.is_none() {
            return std::future::pending().await;
        }
        let mut ear = self.ear.lock().await;
        loop {
            let Some(listener) = ear.as_mut() else {
                *ear = Some(listen(&self.target).await?);
                return Ok(Heard::Anew);
            };
            match next(listener).await {
                Some(payload) => {
                    if let Some(heard) = decode(&payload) {
                        return Ok(heard);
                    }
                }
                None => *ear = None,
            }
        }
    }
}

impl PostgresStore {
    /// Ends the listening connection.
    pub(super) fn stop_hearing(&self) {
        // Whoever still listens has it: then it ends with them.
        if let Ok(mut ear) = self.ear.try_lock() {
            *ear = None;
        }
    }
}

async fn listen(target: &Target) -> Result<PgListener, StoreError> {
    let mut listener = open(target).await?;
    let channel = channel(target.schema.name());
    let done = tokio::time::timeout(ACQUIRE_TIMEOUT, listener.listen(&channel)).await;
    done.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
    Ok(listener)
}

/// A connection that notices its end at once.
pub(super) async fn open(target: &Target) -> Result<PgListener, StoreError> {
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
        let heads = (0..500).map(|n| News::Head(id(n), u64::MAX));
        let others = [News::Work, News::Followers, News::Mail(id(7))];
        let sent: Vec<_> = others.into_iter().chain(heads).collect();
        let payloads = encode(i64::MAX, &sent);
        assert!(payloads.len() > 1 && payloads.iter().all(|one| one.len() <= MAX_PAYLOAD));
        let mut heard = Vec::new();
        for payload in &payloads {
            let Some(Heard::News { from: i64::MAX, news }) = decode(payload) else {
                panic!("{payload}")
            };
            heard.extend(news);
        }
        assert_eq!(heard, sent);
    }

    #[test]
    fn what_is_not_understood_is_left_out() {
        let heard = decode("1 7\nx y z\nm A/b\nh x a\nw\nm a");
        let news = vec![News::Work, News::Mail(ThreadId::parse("a").unwrap())];
        assert_eq!(heard, Some(Heard::News { from: 7, news }));
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
