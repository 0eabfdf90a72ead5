//! Readings of another clock, and the best of them.
//!
//! An answer was made between its question and its arrival: that bounds how far the other clock is
//! from what has elapsed here, the more tightly the faster the answer came. Two answers whose
//! bounds do not overlap prove that one of the clocks was set meanwhile.

/// The number of readings in a row that must contradict the earlier ones and agree with each other
/// until they are believed: one may come from elsewhere, as behind a proxy of several databases.
const BELIEVED: usize = 3;
/// How much one clock may gain on the other, as a divisor: 500 millionths, as fast as NTP sets a
/// clock that runs.
const DRIFT: i64 = 2_000;
/// The resolution of both, in microseconds, and then some.
const GRAIN: i64 = 50;

/// One reading of another clock. All in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// What had elapsed here when it was asked for.
    pub(super) sent: i64,
    /// What had elapsed here when it had come.
    pub(super) received: i64,
    /// The time that was read, since the Unix epoch.
    pub(super) read: i64,
}

impl Reading {
    /// How long it was under way.
    pub(super) const fn round_trip(&self) -> i64 {
        self.received.saturating_sub(self.sent)
    }

    /// How far the other clock is ahead of what has elapsed here: the likeliest value.
    const fn offset(&self) -> i64 {
        self.read.saturating_sub(self.sent).saturating_sub(self.round_trip() / 2)
    }

    /// How far from the likeliest value that may be by now.
    fn doubt(&self, now: i64) -> i64 {
        let age = now.saturating_sub(self.received).max(0);
        self.round_trip() / 2 + age / DRIFT + GRAIN
    }

    fn agrees(&self, other: &Self, now: i64) -> bool {
        let apart = self.offset().abs_diff(other.offset());
        apart <= self.doubt(now).saturating_add(other.doubt(now)).unsigned_abs()
    }
}

/// The readings of one clock: of those that agree, the one that leaves the least doubt by now.
#[derive(Debug, Default)]
pub(super) struct Readings {
    best: Option<Reading>,
    /// Those that contradict the best one, and agree with each other.
    strangers: Vec<Reading>,
}

impl Readings {
    /// Takes one in. `true`: the other clock was set, as several readings show by now.
    pub(super) fn hear(&mut self, reading: Reading) -> bool {
        let now = reading.received;
        if self.best.is_none_or(|best| best.agrees(&reading, now)) {
            self.strangers.clear();
            if self.best.is_none_or(|best| reading.doubt(now) <= best.doubt(now)) {
                self.best = Some(reading);
            }
            return false;
        }
        self.strangers.retain(|stranger| stranger.agrees(&reading, now));
        self.strangers.push(reading);
        if self.strangers.len() < BELIEVED {
            return false;
        }
        self.best = self.strangers.drain(..).min_by_key(|reading| reading.doubt(now));
        true
    }

    /// How far the other clock is ahead of what has elapsed here; `None` if nothing is known.
    pub(super) fn offset(&self) -> Option<i64> {
        self.best.as_ref().map(Reading::offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const MILLI: i64 = 1_000;

    /// Asked for at `at`, answered after `round_trip` by a clock that is ahead by `offset`, at this
    /// part of the way.
    fn reading(at: i64, (round_trip, part): (i64, i64), offset: i64) -> Reading {
        let read = at + round_trip * part / 100 + offset;
        Reading { sent: at, received: at + round_trip, read }
    }

    #[test]
    fn the_fastest_answer_counts() {
        let mut readings = Readings::default();
        for (n, round_trip) in [(0, 900 * MILLI), (1, 2 * MILLI), (2, 700 * MILLI)] {
            // The slow ones are answered at the very end of their way: half of it is error.
            assert!(!readings.hear(reading(n * 3 * SECOND, (round_trip, 100), 5 * SECOND)));
        }
        let offset = readings.offset().unwrap();
        assert_eq!(offset, 5 * SECOND + MILLI);
    }

    #[test]
    fn a_fast_answer_counts_less_as_it_ages() {
        let mut readings = Readings::default();
        readings.hear(reading(0, (MILLI, 50), 0));
        // Clocks that drift by a ten-thousandth: 1 ms in ten seconds.
        for n in 1..=6 {
            readings.hear(reading(n * 10 * SECOND, (4 * MILLI, 50), n * MILLI));
        }
        assert_eq!(readings.offset(), Some(6 * MILLI));
    }

    #[test]
    fn a_clock_that_was_set_is_believed_the_third_time() {
        for by in [3_600 * SECOND, -3_600 * SECOND, 20 * MILLI] {
            let mut readings = Readings::default();
            for n in 0..8 {
                assert!(!readings.hear(reading(n * SECOND, (2 * MILLI, 50), 0)));
            }
            let told: Vec<bool> =
                (20..24).map(|n| readings.hear(reading(n * SECOND, (2 * MILLI, 50), by))).collect();
            assert_eq!(told, [false, false, true, false], "{by}");
            assert_eq!(readings.offset(), Some(by));
        }
    }

    #[test]
    fn one_that_stands_alone_is_not_believed() {
        let mut readings = Readings::default();
        for n in 0..40 {
            let by = if n % 3 == 2 { 3_600 * SECOND } else { 0 };
            assert!(!readings.hear(reading(n * SECOND, (2 * MILLI, 50), by)));
        }
        // Nor are several that contradict each other as well.
        for n in 40..60 {
            assert!(!readings.hear(reading(n * SECOND, (2 * MILLI, 50), n * 60 * SECOND)));
        }
        assert_eq!(readings.offset(), Some(0));
    }

    #[test]
    fn a_slow_answer_contradicts_nothing() {
        let mut readings = Readings::default();
        readings.hear(reading(0, (2 * MILLI, 50), 0));
        for n in 1..6 {
            assert!(!readings.hear(reading(n * 20 * SECOND, (10 * SECOND, 0), 0)));
            assert!(!readings.hear(reading(n * 20 * SECOND, (10 * SECOND, 100), 0)));
        }
        assert_eq!(readings.offset(), Some(0));
    }
}
