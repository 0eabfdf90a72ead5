//! The messages under way to one subscription, and the recent results of its receiver.
//!
//! A receiver that takes nothing is tried now and then with one message, instead of with every
//! waiting one: thousands of threads may wait for it, and each claim, attempt and result costs the
//! store a write. These are the observations of this replica, in memory alone; the store has the
//! pauses of single cursors.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::model::Backoff;

/// The messages under way to one subscription at once: a receiver that hangs delays only these, and
/// a fast one is not flooded.
const AT_ONCE: usize = 4;
/// The failures in a row after which a receiver counts as down: one thread's message that it will
/// never take must not keep the others from it.
const DOWN_AFTER: u32 = 4;
/// The first pause of a receiver that is down.
const FIRST_REST: Duration = Duration::from_secs(1);
/// The longest pause of a receiver that is down: how late an alert may come once it is back.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// The least time between two times that all waiting messages are sent at once: a receiver that
/// takes every other message must not get all the others again each time.
const HASTE_INTERVAL: Duration = Duration::from_secs(10);

/// The state of sending to one receiver.
#[derive(Debug)]
pub(super) struct Lane {
    places: Arc<Semaphore>,
    /// The failures since the last success.
    failures: u32,
    rests_until: Option<Instant>,
    hastened: Option<Instant>,
    /// When it last got a place: of those that wait for one, the next is who waited longest.
    served: Option<Instant>,
}

impl Default for Lane {
    fn default() -> Self {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        Self { places, failures: 0, rests_until: None, hastened: None, served: None }
    }
}

impl Lane {
    /// Returns how many messages may be sent now, besides those under way.
    pub(super) fn free(&self, now: Instant) -> usize {
        let free = self.places.available_permits();
        if self.failures < DOWN_AFTER {
            return free;
        }
        let rests = self.rests_until.is_some_and(|until| now < until);
        usize::from(!rests && free == AT_ONCE)
    }

    /// Takes a place for a message.
    pub(super) fn place(&mut self, now: Instant) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        self.served = Some(now);
        Some(place)
    }

    /// Returns when it last got a place.
    pub(super) const fn served(&self) -> Option<Instant> {
        self.served
    }

    /// See `Desk::taken`; `waited` tells that the message was not taken at first.
    pub(super) fn taken(&mut self, waited: bool, now: Instant) -> bool {
        let back = waited || self.failures > 0;
        self.forgive();
        let lately = self.hastened.is_some_and(|at| now < at + HASTE_INTERVAL);
        let hasten = back && !lately;
        if hasten {
            self.hastened = Some(now);
        }
        hasten
    }

    /// See `Desk::not_taken`.
    pub(super) fn not_taken(&mut self, now: Instant, unit: f64) {
        self.failures = self.failures.saturating_add(1);
        // Of failures that were under way together only the first one starts a pause.
        if self.failures < DOWN_AFTER || self.rests_until.is_some_and(|until| now < until) {
            return;
        }
        let rest = Backoff::new(FIRST_REST, LONGEST_REST).after(self.failures - DOWN_AFTER);
        self.rests_until = Some(now + rest.mul_f64(0.5 + unit));
    }

    /// Forgets the failures of the receiver.
    pub(super) const fn forgive(&mut self) {
        self.failures = 0;
        self.rests_until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn second(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_receiver_that_is_down_is_asked_with_one_message_at_a_time_and_ever_less_often() {
        let (mut lane, began) = (Lane::default(), Instant::now());
        for _ in 0..3 {
            lane.not_taken(began, 0.5);
        }
        assert_eq!(lane.free(began), AT_ONCE);
        lane.not_taken(began, 0.5);
        lane.not_taken(began, 0.5);
        assert_eq!((lane.free(began), lane.free(began + second(1))), (0, 1));
        let place = lane.place(began);
        assert_eq!(lane.free(began + second(1)), 0);
        drop(place);
        let mut now = began;
        let mut rests = Vec::new();
        for _ in 0..6 {
            now = lane.rests_until.unwrap();
            lane.not_taken(now, 0.5);
            rests.push((lane.rests_until.unwrap() - now).as_secs());
        }
        assert_eq!(rests, [4, 8, 16, 30, 30, 30]);
        assert!(lane.taken(false, now));
        assert_eq!(lane.free(now), AT_ONCE);
    }

    #[test]
    fn a_success_hastens_what_waits_but_not_all_the_time() {
        let (mut lane, now) = (Lane::default(), Instant::now());
        assert!(!lane.taken(false, now) && lane.taken(true, now));
        lane.not_taken(now, 0.5);
        assert!(!lane.taken(true, now + second(9)) && lane.taken(true, now + second(10)));
    }

    #[test]
    fn a_message_that_is_never_taken_keeps_no_other_waiting() {
        let (mut lane, now) = (Lane::default(), Instant::now());
        for _ in 0..99 {
            lane.not_taken(now, 0.5);
            lane.taken(false, now);
            assert_eq!(lane.free(now), AT_ONCE);
        }
    }
}
