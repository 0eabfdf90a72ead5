//! The issuer whose tokens are taken: its keys, fetched anew from time to time and when a token names
//! a key that is not known.
//!
//! One task fetches ([`Issuer::run`]); requests ask it to and wait. So there is one fetch at a time, and
//! a stranger who makes up keys' ids cannot have the issuer asked more often than [`ASK_EVERY`].

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

/// Between two fetches when all is well: a key that the issuer withdraws is not taken for longer.
const REFRESH_EVERY: Duration = Duration::from_mins(5);
/// Least time between two fetches, whatever tokens come and however the last one ended.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// How long keys are taken while the issuer cannot be asked: a day's outage of the issuer is not one
/// of this server, and a key that was withdrawn before does not open it for ever.
const STALE_AFTER: Duration = Duration::from_hours(24);
/// How long a request waits for a fetch: the two documents of one.
const PATIENCE: Duration = FETCH_TIMEOUT.saturating_mul(2);

/// Which tokens are taken, and how they are read.
#[derive(Debug, Clone)]
pub struct IssuerSettings {
    /// The issuer, exactly as its tokens name it.
    pub issuer: String,
    /// What tokens must be for.
    pub audience: String,
    /// Where they say what their bearer may do, and where.
    pub claims: ClaimNames,
}

/// What is known of the issuer's keys.
#[derive(Debug, Default)]
struct Known {
    /// The newest keys, and when they were fetched.
    keys: Option<(Arc<SigningKeys>, Duration)>,
    /// When the last fetch began.
    asked: Option<Duration>,
    /// Whether it still goes on.
    asking: bool,
    /// Fetches that ended.
    ended: u64,
    /// Fetches that failed since one did not.
    failures: u32,
}

/// How the issuer's keys are, for whoever looks after the server.
#[derive(Debug, Clone, Copy)]
pub struct Freshness {
    /// Keys that tokens may be signed with.
    pub keys: usize,
    /// The age of the set; `None` if no tokens can be checked.
    pub age: Option<Duration>,
    /// Fetches that failed since one did not.
    pub failures: u32,
}

/// The issuer.
#[derive(Debug)]
pub struct Issuer {
    settings: IssuerSettings,
    client: Client,
    clock: Arc<dyn Clock>,
    known: watch::Sender<Known>,
    wanted: Notify,
}

impl Issuer {
    /// An issuer that nobody has asked yet: [`Self::run`] does. A process-wide rustls provider must be
    /// installed.
    pub fn new(settings: IssuerSettings, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        crypto::install();
        let client = discovery::client()?;
        let (known, wanted) = (watch::Sender::default(), Notify::new());
        Ok(Self { settings, client, clock, known, wanted })
    }

    /// Whom a token names, if it holds.
    pub async fn verify(&self, token: &str) -> Result<Claimed, Refusal> {
        let told = token::told(token)?;
        let key = self.key(&told).await?;
        let terms = (self.settings.issuer.as_str(), self.settings.audience.as_str());
        let claims = token::claims(token, (&key, told.algorithm), terms)?;
        self.settings.claims.read(&claims, LEEWAY)
    }

    /// How the issuer's keys are.
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

    /// Keeps the keys new, for ever.
    pub async fn run(&self) -> Infallible {
        loop {
            self.refresh().await;
            let failed = self.known.borrow().failures > 0;
            let pause = tokio::time::sleep(if failed { ASK_EVERY } else { REFRESH_EVERY });
            let asked = async {
                loop {
                    self.wanted.notified().await;
                    // Whoever asked during the last fetch has its answer.
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

    /// The key that a token's header means: one that is known, or that the issuer has now.
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
            // Whatever came of it, and should nothing have come: what is known is looked at.
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

/// Logs that the issuer has gone away or come back; `failures` are those before this fetch.
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
    /// The keys, unless they are too old.
    fn keys(&self, now: Duration) -> Option<&SigningKeys> {
        let (keys, fetched) = self.keys.as_ref()?;
        (now.saturating_sub(*fetched) < STALE_AFTER).then_some(keys)
    }

    fn find(&self, told: &Told, now: Duration) -> Option<SigningKey> {
        self.keys(now)?.find(told.key.as_deref(), told.algorithm).cloned()
    }

    /// Whether the last fetch is long enough ago.
    fn may_be_asked(&self, now: Duration) -> bool {
        self.asked.is_none_or(|asked| now.saturating_sub(asked) >= ASK_EVERY)
    }
}
