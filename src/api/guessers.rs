//! Finds the key of a secret, and slows guessing: per minute and address the server looks up a
//! limited number of wrong keys, and refuses the others unseen.
//!
//! An address that used up its allowance may be a proxy with all its clients behind it, so keys
//! that were right from there before are still looked up. Every other key, right or wrong, then
//! gets the same answer: a guesser learns nothing. The log names the address, never the key.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use governor::Quota;
use sha2::{Digest, Sha256};

use super::buckets::{Buckets, MOST_BUCKETS, Short};
use super::keys::{ApiKey, Keys};
use super::problem::{Problem, TOO_MANY_WRONG_KEYS, UNAUTHENTICATED};
use super::settings::HttpMetrics;
use crate::model::{Clock, lock};

/// How long a right key counts as known at an address: it outlasts a weekend for a daily user, and
/// ends days after the key's holder has moved.
const KNOWN_FOR: Duration = Duration::from_hours(72);
/// How often a right key is noted again: each request would add nothing.
const NOTED_EVERY: Duration = Duration::from_mins(1);
/// The most keys that are known at addresses: each takes some 60 bytes. More are not remembered.
const MOST_KNOWN: usize = 10_000;
/// The least time between two log lines about an address.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// Stands for all addresses without room in the book.
const OTHERS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The book of tries. One lock is held while a digest is compared with all keys: of many tries at
/// once, none beyond the allowance is looked up.
#[derive(Debug)]
pub(super) struct Guessers {
    book: Mutex<Book>,
    clock: Arc<dyn Clock>,
    metrics: Arc<dyn HttpMetrics>,
}

#[derive(Debug)]
struct Book {
    /// The wrong keys still to be looked up, by address; `None`: all.
    allowance: Option<Buckets<IpAddr>>,
    /// When a key, by its digest, was last noted at an address.
    known: HashMap<(IpAddr, [u8; 32]), Duration>,
    told: HashMap<IpAddr, Told>,
}

/// The last log line about an address, and wrong keys since.
#[derive(Debug)]
struct Told {
    at: Duration,
    since: u64,
}

/// A secret that belongs to no key, or one that is not looked up for this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wrong(Option<Duration>);

impl Wrong {
    /// Returns the refusal; `detail` is for a secret that was looked up.
    pub(super) fn problem(self, detail: &str) -> Problem {
        match self.0 {
            None => Problem::new(&UNAUTHENTICATED, detail),
            Some(wait) => {
                let detail = "too many wrong keys came from this address: for now, no key is looked at that \
                              was not right from here before";
                Problem::new(&TOO_MANY_WRONG_KEYS, detail).retry_after(wait)
            }
        }
    }
}

impl Guessers {
    /// Makes a book; `per_minute` bounds the wrong keys looked up per address (`None`: no bound).
    pub(super) fn new(
        per_minute: Option<NonZeroU32>,
        clock: Arc<dyn Clock>,
        metrics: Arc<dyn HttpMetrics>,
    ) -> Self {
        let allowance = per_minute
            .map(|number| Buckets::new(Quota::per_minute(number), Arc::clone(&clock), OTHERS));
        let book = Book { allowance, known: HashMap::new(), told: HashMap::new() };
        Self { book: Mutex::new(book), clock, metrics }
    }

    /// Finds the key of a secret that came from a network.
    pub(super) fn find(&self, keys: &Keys, network: IpAddr, secret: &str) -> Result<ApiKey, Wrong> {
        let digest: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
        let now = self.clock.monotonic();
        // A panic while the lock was held cannot leave counts half changed.
        let mut book = lock(&self.book);
        let found = book.find(keys, (network, digest), now);
        let told = found.is_err().then(|| book.tell(network, now)).flatten();
        drop(book);
        if let Err(Wrong(wait)) = &found {
            self.metrics.wrong_key(wait.is_none());
        }
        if let Some(wrong) = told {
            let refused = found.as_ref().is_err_and(|wrong| wrong.0.is_some());
            tracing::warn!(address = %network, wrong, refused, "requests had keys that are not known");
        }
        found
    }
}

impl Book {
    fn find(
        &mut self,
        keys: &Keys,
        (network, digest): (IpAddr, [u8; 32]),
        now: Duration,
    ) -> Result<ApiKey, Wrong> {
        // A try is taken before it is known whether the key is right, and returned if it is.
        let taken = self.allowance.as_ref().map(|all| all.take(&network, NonZeroU32::MIN));
        let (found, wait) = match &taken {
            None | Some(Ok(_)) => (keys.find(&digest, |_| true), None),
            Some(Err(short)) => {
                let is_known = |key: &ApiKey| self.is_known(network, key, now);
                // One try is never more than a bucket holds.
                let wait = if let Short::For(wait) = short { *wait } else { Duration::MAX };
                (keys.find(&digest, is_known), Some(wait))
            }
        };
        let Some(key) = found else { return Err(Wrong(wait)) };
        if let (Some(all), Some(taken)) = (&self.allowance, taken) {
            if let Ok(taken) = taken {
                all.give_back(taken);
            }
            self.note(network, digest, now);
        }
        Ok(key)
    }

    fn is_known(&self, network: IpAddr, key: &ApiKey, now: Duration) -> bool {
        let noted = self.known.get(&(network, key.digest));
        noted.is_some_and(|at| now.saturating_sub(*at) < KNOWN_FOR)
    }

    /// Notes a right key.
    fn note(&mut self, network: IpAddr, digest: [u8; 32], now: Duration) {
        if let Some(at) = self.known.get_mut(&(network, digest)) {
            if now.saturating_sub(*at) >= NOTED_EVERY {
                *at = now;
            }
            return;
        }
        if self.known.len() >= MOST_KNOWN {
            self.known.retain(|_, at| now.saturating_sub(*at) < KNOWN_FOR);
        }
        if self.known.len() < MOST_KNOWN {
            self.known.insert((network, digest), now);
        }
    }

    /// Counts a wrong key. Returns the number since the last log line, if a line is due now.
    fn tell(&mut self, network: IpAddr, now: Duration) -> Option<u64> {
        if !self.told.contains_key(&network) && self.told.len() >= MOST_BUCKETS {
            self.told.retain(|_, told| now.saturating_sub(told.at) < TOLD_EVERY);
        }
        let full = !self.told.contains_key(&network) && self.told.len() >= MOST_BUCKETS;
        let who = if full { OTHERS } else { network };
        let Some(told) = self.told.get_mut(&who) else {
            self.told.insert(who, Told { at: now, since: 0 });
            return Some(1);
        };
        told.since += 1;
        if now.saturating_sub(told.at) < TOLD_EVERY {
            return None;
        }
        told.at = now;
        Some(std::mem::take(&mut told.since))
    }
}

#[cfg(test)]
mod tests {
    use super::super::buckets::tests::HandClock;
    use super::super::settings::NoMetrics;
    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

    fn guessers(per_minute: u32) -> (Guessers, Keys, Arc<HandClock>) {
        let clock = Arc::new(HandClock::default());
        let time = Arc::<HandClock>::clone(&clock);
        let guessers = Guessers::new(NonZeroU32::new(per_minute), time, Arc::new(NoMetrics));
        (guessers, Keys::new(vec![ApiKey::new("ops", "s3cret"), ApiKey::new("ci", "other")]), clock)
    }

    fn name(found: Result<ApiKey, Wrong>) -> Result<String, Wrong> {
        found.map(|key| key.name.as_ref().to_owned())
    }

    #[test]
    fn beyond_the_allowance_a_right_key_is_answered_like_a_wrong_one() {
        let (guessers, keys, clock) = guessers(3);
        for _ in 0..3 {
            assert_eq!(name(guessers.find(&keys, HERE, "guess")), Err(Wrong(None)));
        }
        let refused = Wrong(Some(Duration::from_secs(20)));
        assert_eq!(name(guessers.find(&keys, HERE, "guess")), Err(refused));
        assert_eq!(name(guessers.find(&keys, HERE, "s3cret")), Err(refused));
        assert_eq!(name(guessers.find(&keys, THERE, "s3cret")).as_deref(), Ok("ops"));
        clock.advance(Duration::from_secs(20));
        assert_eq!(name(guessers.find(&keys, HERE, "s3cret")).as_deref(), Ok("ops"));
        assert_eq!(
            name(guessers.find(&keys, HERE, "guess")),
            Err(Wrong(None)),
            "it was given back"
        );
        assert_eq!(name(guessers.find(&keys, HERE, "guess")), Err(refused));
    }

    #[test]
    fn a_key_that_was_right_from_an_address_goes_on_there_whatever_else_comes_from_it() {
        let (guessers, keys, clock) = guessers(3);
        name(guessers.find(&keys, HERE, "s3cret")).unwrap();
        for _ in 0..50 {
            name(guessers.find(&keys, HERE, "guess")).unwrap_err();
        }
        assert_eq!(name(guessers.find(&keys, HERE, "s3cret")).as_deref(), Ok("ops"));
        assert!(name(guessers.find(&keys, HERE, "other")).is_err(), "this one is not known here");
        keys.replace(vec![ApiKey::new("ci", "other")]);
        assert!(name(guessers.find(&keys, HERE, "s3cret")).is_err(), "it is no key any more");
        clock.advance(KNOWN_FOR);
        keys.replace(vec![ApiKey::new("ops", "s3cret")]);
        for _ in 0..3 {
            name(guessers.find(&keys, HERE, "guess")).unwrap_err();
        }
        assert!(name(guessers.find(&keys, HERE, "s3cret")).is_err(), "that is long ago");
    }

    #[test]
    fn without_a_bound_every_key_is_looked_at() {
        let (guessers, keys, _) = guessers(0);
        for _ in 0..1_000 {
            assert_eq!(name(guessers.find(&keys, HERE, "guess")), Err(Wrong(None)));
        }
        assert_eq!(name(guessers.find(&keys, HERE, "s3cret")).as_deref(), Ok("ops"));
    }

    #[test]
    fn the_log_is_told_once_a_second_of_an_address_and_how_many_there_were() {
        let (guessers, _, _) = guessers(3);
        let mut book = guessers.book.lock().unwrap();
        let at = Duration::from_millis;
        let told = [0, 1, 999, 1_000, 1_001].map(|millis| book.tell(HERE, at(millis)));
        assert_eq!(told, [Some(1), None, None, Some(3), None]);
        assert_eq!(book.tell(THERE, at(1_001)), Some(1));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (guessers, keys, _) = guessers(3);
        for number in 0..30_000_u32 {
            let address = IpAddr::V4(Ipv4Addr::from(number));
            drop(guessers.find(&keys, address, if number % 2 == 0 { "s3cret" } else { "guess" }));
        }
        let book = guessers.book.lock().unwrap();
        assert_eq!(book.known.len(), MOST_KNOWN);
        assert!(book.told.len() <= MOST_BUCKETS + 1, "{}", book.told.len());
        let buckets = book.allowance.as_ref().map(Buckets::count);
        assert!(buckets <= Some(MOST_BUCKETS + 1), "{buckets:?}");
    }
}
