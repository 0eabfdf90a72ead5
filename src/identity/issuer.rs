//! The issuer whose tokens are accepted. Its keys are fetched anew from time to time, and when a
//! token names an unknown key.
//!
//! One task fetches ([`Issuer::run`]); requests notify it and wait. So there is one fetch at a
//! time, and a stranger who makes up ids of keys cannot have the issuer asked more often than every
//! [`ASK_EVERY`].

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use tokio::sync::{Notify, watch};

use super::claims::{ClaimNames, Claimed};
use super::crypto;
use super::discovery::{self, FETCH_TIMEOUT};
use super::keys::{SigningKey, SigningKeys};
use super::refusal::Refusal;
use super::token::{self, LEEWAY, Told};
use crate::model::Clock;

/// The time between two fetches when all is well: a key that the issuer withdraws is not accepted
/// for longer.
const REFRESH_EVERY: Duration = Duration::from_mins(5);
/// The shortest time between two fetches, whatever tokens come and however the last one ended.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// The time for which keys are accepted while the issuer cannot be reached. A day's outage of the
/// issuer must not be one of this server, and a key that was withdrawn before must not be accepted
/// for ever.
const STALE_AFTER: Duration = Duration::from_hours(24);
/// The time that a request waits for a fetch, which reads two documents.
const PATIENCE: Duration = FETCH_TIMEOUT.saturating_mul(2);

/// The settings for accepted tokens, and for reading them.
#[derive(Debug, Clone)]
pub struct IssuerSettings {
    /// The issuer, exactly as its tokens name it.
    pub issuer: String,
    /// The audience that tokens must have.
    pub audience: String,
    /// The claims that give their bearer's role and namespace.
    pub claims: ClaimNames,
}

/// The state of the issuer's keys.
#[derive(Debug, Default)]
struct Known {
    /// The newest keys, and the time at which they were fetched.
    keys: Option<(Arc<SigningKeys>, Duration)>,
    /// The start of the last fetch.
    asked: Option<Duration>,
    /// Whether that fetch still goes on.
    asking: bool,
    /// The number of fetches that have ended.
    ended: u64,
    /// The number of failed fetches since the last one that succeeded.
    failures: u32,
}

/// The state of the issuer's keys, for the operators of the server.
#[derive(Debug, Clone, Copy)]
pub struct Freshness {
    /// The number of keys that tokens may be signed with.
    pub keys: usize,
    /// The age of the set; `None` if no tokens can be checked.
    pub age: Option<Duration>,
    /// The number of failed fetches since the last one that succeeded.
    pub failures: u32,
}

/// An issuer of tokens.
#[derive(Debug)]
pub struct Issuer {
    settings: IssuerSettings,
    client: Client,
    clock: Arc<dyn Clock>,
    known: watch::Sender<Known>,
    wanted: Notify,
}

impl Issuer {
    /// Makes an issuer without keys yet; [`Self::run`] fetches them. A process-wide rustls provider
    /// must be installed.
    pub fn new(settings: IssuerSettings, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        crypto::install();
        let client = discovery::client()?;
        let (known, wanted) = (watch::Sender::default(), Notify::new());
        Ok(Self { settings, client, clock, known, wanted })
    }

    /// Returns the caller that a token names, if the token is valid.
    pub async fn verify(&self, token: &str) -> Result<Claimed, Refusal> {
        let told = token::told(token)?;
        let key = self.key(&told).await?;
        let terms = (self.settings.issuer.as_str(), self.settings.audience.as_str());
        let claims = token::claims(token, (&key, told.algorithm), terms)?;
        self.settings.claims.read(&claims, LEEWAY)
    }

    /// Returns the state of the issuer's keys.
    pub fn freshness(&self) -> Freshness {
        let known = self.known.borrow();
        let now = self.clock.monotonic();
        let fresh = known.keys(now).zip(known.keys.as_ref());
        Freshness {
            keys: fresh.map_or(0, |(keys, _)| keys.count()),
            age: fresh.map(|(_, (_, fetched))| now.saturating_sub(*fetched)),
            failures: known.failures,
        }
    }

    /// Keeps the keys fresh, for ever.
    pub async fn run(&self) -> Infallible {
        loop {
            self.refresh().await;
            let failed = self.known.borrow().failures > 0;
            let pause = tokio::time::sleep(if failed { ASK_EVERY } else { REFRESH_EVERY });
            let asked = async {
                loop {
                    self.wanted.notified().await;
                    // A request that came during the last fetch has its answer.
                    if self.known.borrow().may_be_asked(self.clock.monotonic()) {
                        return;
                    }
                }
            };
            tokio::select! {
                () = pause => {}
                () = asked => {}
            }
        }
    }

    /// Returns the key that a token's header means: a known one, or one that the issuer has now.
    async fn key(&self, told: &Told) -> Result<SigningKey, Refusal> {
        let mut known = self.known.subscribe();
        let now = self.clock.monotonic();
        let (seen, wait) = {
            let known = known.borrow_and_update();
            if let Some(key) = known.find(told, now) {
                return Ok(key);
            }
            (known.ended, known.asking || known.may_be_asked(now))
        };
        if wait {
            self.wanted.notify_one();
            let ended = known.wait_for(|known| known.ended > seen);
            // The known keys are looked at whatever the result, and also if none came in time.
            if tokio::time::timeout(PATIENCE, ended).await.is_err() {
                tracing::debug!("the issuer takes long");
            }
        }
        let known = self.known.borrow();
        let now = self.clock.monotonic();
        if let Some(key) = known.find(told, now) {
            return Ok(key);
        }
        if known.asking || known.failures > 0 || known.keys(now).is_none() {
            return Err(Refusal::Unavailable { retry_after: ASK_EVERY });
        }
        Err(Refusal::invalid("the token is signed with no key of the issuer"))
    }

    async fn refresh(&self) {
        let began = self.clock.monotonic();
        self.known.send_modify(|known| {
            known.asked = Some(began);
            known.asking = true;
        });
        let fetched = discovery::fetch(&self.client, &self.settings.issuer).await;
        let failures = self.known.borrow().failures;
        log(&fetched, failures);
        self.known.send_modify(|known| {
            known.asking = false;
            known.ended += 1;
            match fetched {
                Ok(keys) => {
                    known.keys = Some((Arc::new(keys), began));
                    known.failures = 0;
                }
                Err(_) => known.failures = known.failures.saturating_add(1),
            }
        });
    }
}

/// Logs that the issuer has gone away or come back; `failures` is the number before this fetch.
fn log(fetched: &anyhow::Result<SigningKeys>, failures: u32) {
    match fetched {
        Ok(keys) if failures > 0 => {
            tracing::info!(keys = keys.count(), "the issuer of tokens answers again");
        }
        Err(error) if failures == 0 => tracing::warn!(
            error = format!("{error:#}"),
            "the issuer's keys cannot be fetched; those from before are taken for a day, and it is \
             tried again"
        ),
        Ok(_) | Err(_) => {}
    }
}

impl Known {
    /// Returns the keys, unless they are too old.
    fn keys(&self, now: Duration) -> Option<&SigningKeys> {
        let (keys, fetched) = self.keys.as_ref()?;
        (now.saturating_sub(*fetched) < STALE_AFTER).then_some(keys)
    }

    fn find(&self, told: &Told, now: Duration) -> Option<SigningKey> {
        self.keys(now)?.find(told.key.as_deref(), told.algorithm).cloned()
    }

    /// Returns whether the last fetch is long enough ago for another one.
    fn may_be_asked(&self, now: Duration) -> bool {
        self.asked.is_none_or(|asked| now.saturating_sub(asked) >= ASK_EVERY)
    }
}
