//! How a time follows another: it goes a little faster or slower, and never backwards.

/// A time, by the time that has elapsed; both in microseconds. It goes at the pace of what has
/// elapsed until it has somewhere to go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Where it began to go there: what had elapsed, and the time.
    since: (i64, i64),
    /// How far it has to go from there, beside what elapses.
    away: i64,
    gait: Gait,
}

/// How fast a time may go to where it has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gait {
    /// At most 1 part in 2,000, as fast as NTP sets clocks: no timer ends noticeably early or late.
    Slew,
    /// At half the speed of what elapses, so that even an hour is made good within two. Only for a
    /// time that is too late: all that it is compared with has gone back already.
    Brake,
}

impl Gait {
    const fn divisor(self) -> i64 {
        match self {
            Self::Slew => 2_000,
            Self::Brake => 2,
        }
    }
}

impl Pace {
    /// A time that is `time` once `elapsed` has elapsed.
    pub(super) const fn start(elapsed: i64, time: i64) -> Self {
        Self { since: (elapsed, time), away: 0, gait: Gait::Slew }
    }

    /// What had elapsed when it last began to go somewhere.
    pub(super) const fn since(&self) -> i64 {
        self.since.0
    }

    /// The time.
    pub(super) fn at(&self, elapsed: i64) -> i64 {
        let (began, time) = self.since;
        let passed = elapsed.saturating_sub(began).max(0);
        let most = passed / self.gait.divisor();
        time.saturating_add(passed).saturating_add(self.away.clamp(-most, most))
    }

    /// Goes to where it is `time` now, from now on.
    pub(super) fn go_to(&mut self, elapsed: i64, time: i64, gait: Gait) {
        let elapsed = elapsed.max(self.since.0);
        let now = self.at(elapsed);
        *self = Self { since: (elapsed, now), away: time.saturating_sub(now), gait };
    }

    /// Is `time` from now on, unless that is earlier.
    pub(super) fn step_to(&mut self, elapsed: i64, time: i64) {
        let elapsed = elapsed.max(self.since.0);
        *self = Self::start(elapsed, self.at(elapsed).max(time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn it_goes_there_slowly_and_then_stays() {
        let mut pace = Pace::start(0, 100 * SECOND);
        pace.go_to(0, 100 * SECOND + 1_000, Gait::Slew);
        assert_eq!(pace.at(SECOND), 101 * SECOND + 500);
        assert_eq!(pace.at(2 * SECOND), 102 * SECOND + 1_000);
        assert_eq!(pace.at(9 * SECOND), 109 * SECOND + 1_000);
        pace.go_to(9 * SECOND, 109 * SECOND, Gait::Slew);
        assert_eq!(pace.at(10 * SECOND), 110 * SECOND + 500);
        assert_eq!(pace.at(19 * SECOND), 119 * SECOND);
    }

    #[test]
    fn a_time_that_is_too_late_goes_on_at_half_its_speed() {
        let mut pace = Pace::start(0, 100 * SECOND);
        pace.go_to(0, 96 * SECOND, Gait::Brake);
        assert_eq!(pace.at(2 * SECOND), 101 * SECOND);
        assert_eq!(pace.at(8 * SECOND), 104 * SECOND);
        assert_eq!(pace.at(10 * SECOND), 106 * SECOND);
    }

    #[test]
    fn a_step_is_never_back() {
        let mut pace = Pace::start(0, 100 * SECOND);
        pace.step_to(SECOND, 3_600 * SECOND);
        assert_eq!(pace.at(2 * SECOND), 3_601 * SECOND);
        pace.step_to(3 * SECOND, 50 * SECOND);
        assert_eq!(pace.at(3 * SECOND), 3_602 * SECOND);
        // Somebody who looked at what had elapsed a little earlier.
        assert_eq!(pace.at(2 * SECOND), 3_602 * SECOND);
    }
}
