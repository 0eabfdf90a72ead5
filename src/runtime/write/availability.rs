//! Whether the store takes this replica's calls, as these calls found it.
//!
//! An outage is told in two lines of the log, however many calls fail in it: one when the first fails, one
//! when calls have been answered for a while. Whoever makes calls in the background reports failures here
//! instead of logging them. While an outage lasts, `upkeep::disk` tries each second whether it is over.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{lock, millis};
use crate::observe::Metrics;
use crate::runtime::types::{Cause, RuntimeError};
use crate::store::StoreError;

/// The time without a failed call after which an outage is over: a store that fails one call in ten
/// has not come back with each call that it answers.
const CALM: Duration = Duration::from_secs(2);

/// Why a store that answers refuses every write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::runtime) enum Refusal {
    /// It is read-only.
    ReadOnly,
    /// Its disk is full.
    Full,
}

/// The state of the store; shared by all parts of the runtime.
#[derive(Debug)]
pub(in crate::runtime) struct Availability {
    state: Mutex<State>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct State {
    outage: Option<Outage>,
    /// Until a later write has landed, or a trial of one.
    refusal: Option<(Refusal, Instant)>,
    /// Writes that failed and are made again now.
    pending: usize,
    /// Failed calls since one was answered.
    failures: u32,
}

#[derive(Debug)]
struct Outage {
    began: Instant,
    /// When a call last failed.
    last: Instant,
    reason: String,
    calls: u64,
    lost_lease: bool,
}

impl Availability {
    /// Makes the state of a store that takes calls.
    pub(in crate::runtime) fn new(metrics: Arc<Metrics>) -> Self {
        Self { state: Mutex::default(), metrics }
    }

    /// Records a failed call; an outage begins with the first that may succeed later.
    pub(in crate::runtime) fn failed(&self, call: &'static str, error: &StoreError) {
        if error.is_transient() {
            self.lost(call, Refusal::of(error), &error.to_string());
        } else {
            tracing::error!(%error, call, "the store fails a call for good");
        }
    }

    /// Records that a client was answered that the store is away.
    pub(in crate::runtime) fn failed_client(&self, error: &RuntimeError) {
        if error.is_of_an_outage()
            && let Some(Cause(reason)) = error.cause()
        {
            self.lost("a client's call", None, &reason);
        }
    }

    fn lost(&self, call: &'static str, refusal: Option<Refusal>, reason: &str) {
        let now = Instant::now();
        let begins = {
            let mut state = lock(&self.state);
            state.failures = state.failures.saturating_add(1);
            if let Some(refusal) = refusal {
                state.refusal = Some((refusal, now));
            }
            let begins = state.outage.is_none();
            let outage = state.outage.get_or_insert_with(|| Outage::new(now));
            (outage.last, outage.calls) = (now, outage.calls + 1);
            reason.clone_into(&mut outage.reason);
            begins
        };
        if begins {
            tracing::warn!(reason, call, "storage is lost, or fails calls: they are made again");
        } else {
            tracing::debug!(reason, call, "a call of the store failed");
        }
    }

    /// Records a heartbeat, and how long its answer took.
    pub(in crate::runtime) fn beat(&self, sent: Instant, error: Option<&StoreError>) {
        self.metrics.beat(sent.elapsed(), error.is_none());
        if let Some(error) = error {
            self.failed("the heartbeat", error);
        } else {
            self.answered(sent, &[Refusal::ReadOnly]);
        }
    }

    /// Records that events became durable by a write that was sent then.
    pub(in crate::runtime) fn wrote(&self, sent: Instant) {
        self.answered(sent, &[Refusal::ReadOnly, Refusal::Full]);
    }

    /// Records the result of a trial, which ends the outage if it was the last failure for long.
    pub(in crate::runtime) fn tried(&self, sent: Instant, error: Option<&StoreError>) {
        if let Some(error) = error {
            self.failed("the trial of a write", error);
        } else {
            self.answered(sent, &[Refusal::ReadOnly, Refusal::Full]);
            self.settle(sent);
        }
    }

    /// Records that the lease was lost; returns whether that follows from an outage, which is told as a
    /// whole once it is over.
    pub(in crate::runtime) fn lost_lease(&self) -> bool {
        let mut state = lock(&self.state);
        let Some(outage) = &mut state.outage else { return false };
        outage.lost_lease = true;
        true
    }

    /// Returns whether calls have failed and the outage is not over.
    pub(in crate::runtime) fn is_out(&self) -> bool {
        lock(&self.state).outage.is_some()
    }

    /// Returns why every write is refused, if it is.
    pub(in crate::runtime) fn refusal(&self) -> Option<Refusal> {
        lock(&self.state).refusal.map(|(refusal, _)| refusal)
    }

    /// Returns the number of calls that failed in a row.
    pub(in crate::runtime) fn failures(&self) -> u32 {
        lock(&self.state).failures
    }

    /// Returns the last failure of an outage that is not over.
    pub(in crate::runtime) fn reason(&self) -> Option<String> {
        lock(&self.state).outage.as_ref().map(|outage| outage.reason.clone())
    }

    /// Keeps an outage from ending while a write that failed is made again.
    pub(in crate::runtime) fn pending(&self) -> Pending<'_> {
        lock(&self.state).pending += 1;
        Pending(self)
    }

    fn answered(&self, sent: Instant, disproved: &[Refusal]) {
        let mut state = lock(&self.state);
        state.failures = 0;
        if state.refusal.is_some_and(|(refusal, at)| at < sent && disproved.contains(&refusal)) {
            state.refusal = None;
        }
    }

    fn settle(&self, sent: Instant) {
        let over = {
            let mut state = lock(&self.state);
            let goes_on = state.pending > 0 || state.refusal.is_some();
            let calm = |outage: &mut Outage| sent.saturating_duration_since(outage.last) >= CALM;
            if goes_on { None } else { state.outage.take_if(calm) }
        };
        let Some(Outage { began, last, reason, calls, lost_lease }) = over else { return };
        let outage_ms = millis(last.saturating_duration_since(began));
        tracing::info!(
            reason,
            outage_ms,
            failed_calls = calls,
            threads_dropped = lost_lease,
            "storage is back"
        );
    }
}

/// A write that is made again.
#[derive(Debug)]
pub(in crate::runtime) struct Pending<'a>(&'a Availability);

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).pending -= 1;
    }
}

impl Refusal {
    const fn of(error: &StoreError) -> Option<Self> {
        match error {
            StoreError::ReadOnly(_) => Some(Self::ReadOnly),
            StoreError::Full(_) => Some(Self::Full),
            StoreError::Unavailable(_) | StoreError::Corrupt { .. } | StoreError::Fatal(_) => None,
        }
    }
}

impl Outage {
    const fn new(now: Instant) -> Self {
        Self { began: now, last: now, reason: String::new(), calls: 0, lost_lease: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> StoreError {
        StoreError::Full("no space left".to_owned())
    }

    fn read_only() -> StoreError {
        StoreError::ReadOnly("a standby".to_owned())
    }

    async fn pass(time: Duration) -> Instant {
        tokio::time::advance(time).await;
        Instant::now()
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_ends_when_a_trial_passes_long_after_the_last_failure() {
        let store = Availability::new(Arc::default());
        let away = StoreError::Unavailable("gone".to_owned());
        store.failed("a test", &away);
        assert!(store.is_out() && store.refusal().is_none() && store.reason().is_some());
        store.tried(pass(CALM / 2).await, None);
        assert!(store.is_out(), "it is not calm yet");
        let pending = store.pending();
        store.tried(pass(CALM).await, None);
        assert!(store.is_out(), "a write is still made again");
        drop(pending);
        store.beat(pass(CALM).await, None);
        assert!(store.is_out(), "a heartbeat does not tell of room");
        store.tried(pass(CALM).await, None);
        assert!(!store.is_out());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_lasts_until_what_disproves_it_was_sent_later() {
        let store = Availability::new(Arc::default());
        let before = Instant::now();
        pass(CALM).await;
        store.failed("a test", &full());
        store.wrote(before);
        store.beat(pass(CALM).await, None);
        assert_eq!(store.refusal(), Some(Refusal::Full), "an older write, and one in place");
        store.wrote(pass(CALM).await);
        assert_eq!(store.refusal(), None);
        store.failed("a test", &read_only());
        store.beat(pass(CALM).await, None);
        assert_eq!(store.refusal(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_are_counted() {
        let store = Availability::new(Arc::default());
        for _ in 0..3 {
            store.beat(Instant::now(), Some(&full()));
        }
        assert_eq!(store.failures(), 3);
        store.beat(pass(CALM).await, None);
        assert_eq!(store.failures(), 0);
        assert!(!store.lost_lease() || store.is_out());
    }
}
