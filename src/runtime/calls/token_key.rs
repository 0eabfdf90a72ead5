//! The key that signs stream tokens and the cookies of browsers.
//!
//! Anybody may send a token or a cookie, so none of them costs a statement: the key is kept, and read
//! again now and then. A database that was restored may lack it; then the one that is kept is offered,
//! so that what was signed with it stays valid.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use crate::model::lock;
use crate::runtime::types::RuntimeError;

/// The time after which the key is read again: how long replicas of a restored database may differ.
const FRESH_FOR: Duration = Duration::from_secs(10);
/// How long the caller that reads the key again waits for it before it uses the one it knows.
const PATIENCE: Duration = Duration::from_millis(250);

type Key = [u8; 32];

/// The key, once it was read.
#[derive(Default)]
pub(in crate::runtime) struct TokenKey {
    known: Mutex<Option<Known>>,
    /// Held by the caller that reads the key for the first time.
    first: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy)]
struct Known {
    key: Key,
    /// The monotonic time at which it was read, or somebody began to read it again.
    asked_at: Duration,
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey").finish_non_exhaustive()
    }
}

impl TokenKey {
    /// Returns the key at a monotonic time. `read` offers the store a key, and returns the one it has.
    /// A failure is not remembered.
    pub(in crate::runtime) async fn of<F>(
        &self,
        now: Duration,
        fresh: impl FnOnce() -> Key,
        read: impl FnOnce(Key) -> F,
    ) -> Result<Key, RuntimeError>
    where
        F: Future<Output = Result<Key, RuntimeError>>,
    {
        let Some(known) = self.known() else {
            // Whoever else needs the key waits, so that a crowd makes one statement at a time.
            let _first = self.first.lock().await;
            if let Some(known) = self.known() {
                return Ok(known.key);
            }
            let key = read(fresh()).await?;
            self.keep(key, now);
            return Ok(key);
        };
        if now.saturating_sub(known.asked_at) < FRESH_FOR {
            return Ok(known.key);
        }
        // Other callers use it as it is while this one reads it again.
        self.keep(known.key, now);
        if let Ok(Ok(key)) = tokio::time::timeout(PATIENCE, read(known.key)).await {
            self.keep(key, now);
            return Ok(key);
        }
        Ok(known.key)
    }

    fn known(&self) -> Option<Known> {
        *lock(&self.known)
    }

    fn keep(&self, key: Key, asked_at: Duration) {
        *lock(&self.known) = Some(Known { key, asked_at });
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::runtime::calls::patience::unavailable;

    const START: Duration = Duration::from_secs(100);

    /// A store of one secret that counts how often it is asked.
    #[derive(Default)]
    struct Secret {
        value: Cell<Option<Key>>,
        is_away: Cell<bool>,
        asked: Cell<usize>,
    }

    impl Secret {
        fn offer(&self, candidate: Key) -> Result<Key, RuntimeError> {
            self.asked.set(self.asked.get() + 1);
            if self.is_away.get() {
                return Err(unavailable("a test"));
            }
            let value = self.value.get().unwrap_or(candidate);
            self.value.set(Some(value));
            Ok(value)
        }

        async fn key(&self, kept: &TokenKey, now: Duration) -> Result<Key, RuntimeError> {
            kept.of(now, || [1; 32], |candidate| std::future::ready(self.offer(candidate))).await
        }
    }

    #[tokio::test]
    async fn any_number_of_callers_makes_one_statement_and_a_failure_is_not_kept() {
        let (store, kept) = (Secret::default(), TokenKey::default());
        store.is_away.set(true);
        assert!(store.key(&kept, START).await.is_err());
        store.is_away.set(false);
        let crowd = (0..100).map(|_| store.key(&kept, START));
        for key in futures_util::future::join_all(crowd).await {
            assert_eq!(key.ok(), Some([1; 32]));
        }
        assert_eq!(store.asked.get(), 2);
    }

    #[tokio::test]
    async fn a_crowd_asks_a_store_that_does_not_answer_once() {
        let (asked, kept) = (Cell::new(0), TokenKey::default());
        let hang = |_| {
            asked.set(asked.get() + 1);
            std::future::pending()
        };
        let mut one = Box::pin(kept.of(START, || [1; 32], hang));
        let mut two = Box::pin(kept.of(START, || [1; 32], hang));
        assert!((&mut one).now_or_never().is_none() && (&mut two).now_or_never().is_none());
        assert_eq!(asked.get(), 1);
    }

    #[tokio::test]
    async fn a_restored_database_gets_the_key_that_is_kept_and_keeps_its_own() {
        let (store, kept) = (Secret::default(), TokenKey::default());
        assert_eq!(store.key(&kept, START).await.ok(), Some([1; 32]));
        for (restored, wanted) in [(None, [1; 32]), (Some([2; 32]), [2; 32]), (None, [2; 32])] {
            let now = START + FRESH_FOR * u32::try_from(store.asked.get()).unwrap();
            store.value.set(restored);
            assert_eq!(store.key(&kept, now).await.ok(), Some(wanted));
            assert_eq!(store.value.get(), Some(wanted));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_key_is_known_while_the_store_is_away_or_does_not_answer() {
        let (store, kept) = (Secret::default(), TokenKey::default());
        store.key(&kept, START).await.ok().unwrap();
        store.is_away.set(true);
        assert_eq!(store.key(&kept, START + FRESH_FOR).await.ok(), Some([1; 32]));
        let hangs = kept.of(START + FRESH_FOR * 2, || [3; 32], |_| std::future::pending());
        assert_eq!(hangs.await.ok(), Some([1; 32]));
        assert_eq!(store.asked.get(), 2);
    }
}
