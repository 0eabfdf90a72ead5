//! Sends the events of one delivery cursor, one after the other.
//!
//! The cursor advances only when the receiver has taken an event, so a crash may send it twice:
//! receivers detect repeats by `webhook-id`. If an event is not taken, the errand ends and the
//! cursor pauses: later events of the thread never overtake it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::capacity::{PAGE_BYTES, Slot};
use super::desk::Subscription;
use super::post::{ATTEMPT_TIMEOUT, post};
use super::signature::message_id;
use super::subscriptions::disable;
use crate::executor::WebhookFault;
use crate::model::{Event, Seq, Timestamp};
use crate::observe::Overloaded;
use crate::runtime::core::Core;
use crate::store::{Advanced, Notice, Records, StoreError};

/// The time for which a sender holds a cursor without renewing it: longer than an attempt takes, so
/// that no other sender sends the same event. If a sender's replica dies, its cursors are free once
/// that replica's lease has expired; this lease is for a sender that lives but sends no more.
pub(super) const LEASE: Duration = Duration::from_secs(30);
/// The part of a lease that must be left after an attempt, so that its result is stored in time.
const LEASE_MARGIN: Duration = Duration::from_secs(5);
/// The time for which a message under way may be answered once the server drains; then another
/// replica, or the next start, sends it again.
const LAST_ANSWER: Duration = Duration::from_secs(2);
/// The number of events read at a time.
const PAGE: usize = 100;
/// The bytes of events that an errand holds, plus one event at most: many errands may wait for
/// receivers that are slow. The rest of a page is read again.
const HELD_BYTES: usize = 64 << 10;
/// The pause of a cursor for whose events there was no memory.
const ROOM_PAUSE: Duration = Duration::from_secs(1);
/// The number of pages sent before the cursor is released, so that other threads get their turn.
const PAGES: usize = 10;
/// The pauses after failed attempts, each drawn from 50 % to 150 % of itself; the last one repeats.
/// The first are short, because these are alerts.
const PAUSES: [Duration; 8] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_mins(2),
    Duration::from_mins(5),
    Duration::from_mins(15),
    Duration::from_mins(30),
    Duration::from_hours(1),
];
/// The longest `Retry-After` that is honoured: a receiver that asks for more may be back before.
const LONGEST_PAUSE: Duration = Duration::from_hours(6);

/// The error stored for a receiver that wants no more messages.
const GONE: &str = "the receiver answered 410 Gone";

/// A claimed cursor.
pub(super) struct Errand {
    pub(super) core: Arc<Core>,
    pub(super) notice: Notice,
    pub(super) token: i64,
    /// The time of the claim or last advance.
    pub(super) leased: Instant,
    /// Its place, and the memory of the events that it holds.
    pub(super) slot: Slot,
}

/// An event to be sent, and its time.
struct Waiting {
    seq: Seq,
    at: Timestamp,
    event: String,
}

/// The end of an errand.
enum End {
    /// Everything is sent, or another sender goes on.
    Over,
    /// The cursor is released, to be claimed again at once.
    Back,
    /// There is no memory for its events now: the cursor is released for a moment.
    Crowded,
    /// The store failed, or the journal is damaged: the receiver is not to blame.
    Stored(StoreError),
    /// The receiver did not take an event: the cursor pauses.
    Failed { detail: String, retry_after: Option<Duration> },
}

impl From<Overloaded> for End {
    fn from(_: Overloaded) -> Self {
        Self::Crowded
    }
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        Self::Stored(error)
    }
}

/// Sends the events of a cursor.
pub(super) async fn deliver(mut errand: Errand) {
    let end = errand.run().await.err().unwrap_or(End::Back);
    let (core, notice) = (&errand.core, &errand.notice);
    let (wait, failed) = match end {
        End::Over => return,
        End::Back => (Duration::ZERO, false),
        End::Crowded => (ROOM_PAUSE, false),
        End::Stored(error) => (not_read(core, notice, &error), true),
        End::Failed { detail, retry_after } => {
            let wait = not_taken(core, notice, (&detail, retry_after));
            core.notices.not_taken(&notice.subscription, Instant::now(), core.parts.entropy.unit());
            note(core, &notice.subscription, Some(&detail)).await;
            (wait, true)
        }
    };
    if let Err(error) = core.store().release_notice(errand.token, notice, wait, failed).await {
        core.availability.failed("the release of a notification", &error);
    }
}

/// Logs a failure of the store; returns the pause before the store is asked again.
fn not_read(core: &Core, notice: &Notice, error: &StoreError) -> Duration {
    tracing::debug!(%error, thread = %notice.thread_id, "a notification cannot be sent now");
    core.availability.failed("the read of a notification's events", error);
    pause(notice.attempts, core.parts.entropy.unit(), None)
}

/// Logs and counts a failed attempt; returns the pause before the next one.
fn not_taken(
    core: &Core,
    notice: &Notice,
    (detail, retry_after): (&str, Option<Duration>),
) -> Duration {
    let wait = pause(notice.attempts, core.parts.entropy.unit(), retry_after);
    core.parts.metrics.notifications.failed.inc();
    tracing::warn!(
        subscription = notice.subscription, thread = %notice.thread_id,
        attempts = notice.attempts + 1, wait_ms = wait.as_millis(), detail,
        "a notification was not taken; it is sent again"
    );
    wait
}

impl Errand {
    /// Sends up to [`PAGES`] pages; returns `Ok` if more may be left.
    async fn run(&mut self) -> Result<(), End> {
        for _ in 0..PAGES {
            let mut at = self.notice.sent;
            let Some((mut left, last)) = self.read().await? else {
                // The thread was deleted, or the cursor was not closed.
                self.advance(self.notice.head).await?;
                continue;
            };
            let mut held: usize = left.iter().map(|waiting| waiting.event.len()).sum();
            while let Some(Waiting { seq, at: decided, event }) = left.pop_front() {
                let subscription = self.subscription()?;
                self.slot.hold(held)?;
                held -= event.len();
                if !subscription.wants(Event::kind_of(&event)) {
                    continue;
                }
                let id = message_id(&self.notice.thread_id, seq, decided);
                self.send(&subscription, (&id, &event.into())).await?;
                // Skip unwanted events at the page's end with the same write.
                at = if left.is_empty() { last } else { seq };
                let waited = self.notice.attempts > 0;
                let advanced = self.advance(at).await;
                self.taken(&subscription, waited).await;
                advanced?;
            }
            if at < last {
                self.advance(last).await?;
            }
        }
        Ok(())
    }

    /// Reads the next page; returns its wanted events as [`wanted`] does, `None` if nothing is left.
    async fn read(&mut self) -> Result<Option<(VecDeque<Waiting>, Seq)>, End> {
        self.slot.hold(PAGE_BYTES)?;
        let (thread, sent) = (&self.notice.thread_id, self.notice.sent);
        let page = self.core.store().read(thread, sent, PAGE).await?;
        let bytes = page.iter().flat_map(|records| &records.events).map(String::len).sum();
        self.slot.hold(PAGE_BYTES.max(bytes))?;
        let Some(last) = page.last().map(Records::last) else { return Ok(None) };
        Ok(Some(wanted(page, &*self.subscription()?, last)))
    }

    /// Returns the current subscription: it may have changed or been disabled meanwhile.
    fn subscription(&self) -> Result<Arc<Subscription>, End> {
        self.core.notices.get(&self.notice.subscription).ok_or(End::Back)
    }

    /// Moves the cursor on: events up to `to` are done.
    async fn advance(&mut self, to: Seq) -> Result<(), End> {
        let now = Instant::now();
        let store = self.core.store();
        match store.advance_notice(self.token, &self.notice, to, LEASE).await? {
            Advanced::Done | Advanced::Lost => Err(End::Over),
            Advanced::More => {
                self.notice.sent = to;
                self.notice.attempts = 0;
                self.leased = now;
                Ok(())
            }
        }
    }

    /// Sends one event; the receiver has taken it if this succeeds.
    async fn send(&self, to: &Arc<Subscription>, message: (&str, &Bytes)) -> Result<(), End> {
        let core = &self.core;
        if core.draining.is_cancelled()
            || !core.authority().holds()
            || self.leased.elapsed() + ATTEMPT_TIMEOUT + LEASE_MARGIN > LEASE
        {
            return Err(End::Back);
        }
        let sent = post(core, to, message);
        let answer = tokio::select! {
            biased;
            answer = sent => answer,
            () = last_answer(core) => return Err(End::Back),
        };
        match answer {
            Ok(()) => {
                core.parts.metrics.notifications.sent.inc();
                Ok(())
            }
            Err(WebhookFault::Gone) => {
                tracing::warn!(subscription = to.id, "the receiver is gone: it is sent no more");
                core.parts.metrics.notifications.failed.inc();
                note(core, &to.id, Some(GONE)).await;
                disable(core, &to.id, (&to.settings.url, GONE)).await;
                Err(End::Back)
            }
            Err(WebhookFault::Failed { detail, retry_after }) => {
                Err(End::Failed { detail, retry_after })
            }
        }
    }

    /// Records that a receiver took an event and, if it is back, sends it all waiting messages.
    /// Called after the cursor has advanced: a slow store repeats no event.
    async fn taken(&self, to: &Arc<Subscription>, waited: bool) {
        if self.core.notices.taken(&to.id, waited, Instant::now()) {
            self.core.notices.hasten(&to.id);
        }
        if !to.noted.swap(true, Ordering::Relaxed) {
            note(&self.core, &to.id, None).await;
        }
    }
}

/// Returns the wanted events of a page with their numbers, as many as may wait in memory, and the
/// cursor's position once they are sent. `last` is the page's last event.
fn wanted(page: Vec<Records>, to: &Subscription, last: Seq) -> (VecDeque<Waiting>, Seq) {
    let (mut found, mut bytes) = (VecDeque::new(), 0);
    for records in page {
        for (seq, event) in (records.first..).zip(records.events) {
            if !to.wants(Event::kind_of(&event)) {
                continue;
            }
            bytes += event.len();
            found.push_back(Waiting { seq, at: records.at, event });
            if bytes >= HELD_BYTES {
                return (found, seq);
            }
        }
    }
    (found, last)
}

async fn last_answer(core: &Core) {
    core.draining.cancelled().await;
    tokio::time::sleep(LAST_ANSWER).await;
}

async fn note(core: &Core, subscription: &str, error: Option<&str>) {
    let at: Timestamp = core.parts.clock.now();
    if let Err(error) = core.store().note_delivery(subscription, at, error).await {
        tracing::debug!(%error, "the state of a notification is not noted");
    }
}

/// Returns the pause after the attempt that follows `failed` failed ones; `unit` is in [0, 1).
fn pause(failed: u32, unit: f64, retry_after: Option<Duration>) -> Duration {
    let step = usize::try_from(failed).unwrap_or(usize::MAX).min(PAUSES.len() - 1);
    let planned = PAUSES.get(step).copied().unwrap_or(LONGEST_PAUSE).mul_f64(0.5 + unit);
    planned.max(retry_after.unwrap_or(Duration::ZERO).min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_a_receiver_may_ask_for_more() {
        let seconds = |failed, asked: Option<u64>| {
            pause(failed, 0.5, asked.map(Duration::from_secs)).as_secs()
        };
        assert_eq!([0, 1, 2, 7, 99].map(|n| seconds(n, None)), [1, 5, 30, 3_600, 3_600]);
        assert_eq!(seconds(0, Some(60)), 60);
        assert_eq!(seconds(2, Some(3)), 30);
        assert_eq!(seconds(0, Some(10_000_000)), LONGEST_PAUSE.as_secs());
        assert_eq!(pause(0, 0.0, None), Duration::from_millis(500));
    }

    #[test]
    fn an_attempt_fits_into_a_lease() {
        assert!(ATTEMPT_TIMEOUT + LEASE_MARGIN < LEASE);
    }
}
