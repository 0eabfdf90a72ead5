//! The clock of a store over a machine whose clocks a test sets.

use std::sync::atomic::{AtomicI64, Ordering};

use super::*;

/// 2026-01-01T00:00:00Z.
const START: i64 = 1_767_225_600_000;
const HOUR: i64 = 3_600_000;

/// A machine, in milliseconds.
#[derive(Debug)]
struct Machine {
    elapsed: AtomicI64,
    /// How far the wall clock, and the database's, are from what has elapsed.
    wall: AtomicI64,
    database: AtomicI64,
}

impl Clock for Machine {
    fn now(&self) -> Timestamp {
        let elapsed = self.elapsed.load(Ordering::SeqCst);
        Timestamp::from_millis(elapsed + self.wall.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.elapsed.load(Ordering::SeqCst).unsigned_abs())
    }
}

/// A clock over a machine, which checks with every look that it never goes backwards.
struct Bed {
    machine: Arc<Machine>,
    clock: StoreClock,
    last: Timestamp,
}

impl Bed {
    fn new() -> Self {
        let machine = Arc::new(Machine {
            elapsed: AtomicI64::new(5_000),
            wall: AtomicI64::new(START),
            database: AtomicI64::new(START),
        });
        let clock = StoreClock::start(Arc::<Machine>::clone(&machine));
        let last = clock.now();
        Self { machine, clock, last }
    }

    fn pass(&self, millis: i64) {
        self.machine.elapsed.fetch_add(millis, Ordering::SeqCst);
    }

    /// How far the clock is ahead of what has elapsed, beyond `START`.
    #[track_caller]
    fn ahead(&mut self) -> i64 {
        let now = self.clock.now();
        assert!(now >= self.last, "{now} after {}", self.last);
        self.last = now;
        now.millis() - START - self.machine.elapsed.load(Ordering::SeqCst)
    }

    /// The database answers after this long, on the half of the way.
    fn reading(&self, round_trip: i64) -> Reading {
        let asked = self.clock.ask();
        self.pass(round_trip / 2);
        let elapsed = self.machine.elapsed.load(Ordering::SeqCst);
        let read = elapsed + self.machine.database.load(Ordering::SeqCst);
        self.pass(round_trip - round_trip / 2);
        self.clock.answered(asked, read * MILLI)
    }

    fn beat(&self, round_trip: i64) -> Option<i64> {
        self.pass(3_000);
        self.clock.hear(self.reading(round_trip))
    }
}

#[test]
fn jumps_of_the_wall_clock_are_ridden_out() {
    for by in [HOUR, -HOUR, 20 * 365 * 24 * HOUR] {
        let mut bed = Bed::new();
        bed.pass(60_000);
        assert_eq!(bed.ahead(), 0);
        bed.machine.wall.fetch_add(by, Ordering::SeqCst);
        assert_eq!(bed.ahead(), 0);
        bed.pass(10_000);
        assert_eq!(bed.ahead(), 0);
        // From then on it goes after the wall clock by a two-thousandth.
        bed.pass(20_000);
        assert_eq!(bed.ahead(), 10 * by.signum());
        let (wall, now) = (bed.clock.wall().millis(), bed.clock.now().millis());
        assert_eq!(wall - now, by - 10 * by.signum());
    }
}

#[test]
fn a_wall_clock_that_drifts_is_followed() {
    let mut bed = Bed::new();
    for _ in 0..1_000 {
        bed.pass(10_000);
        bed.machine.wall.fetch_add(1, Ordering::SeqCst);
        bed.ahead();
    }
    let behind = 1_000 - bed.ahead();
    assert!((0..10).contains(&behind), "{behind}");
}

#[test]
fn a_small_jump_is_made_good_without_a_step() {
    let mut bed = Bed::new();
    bed.machine.wall.fetch_add(-400, Ordering::SeqCst);
    for _ in 0..2_000 {
        bed.pass(1_000);
        bed.ahead();
    }
    assert_eq!(bed.ahead(), -400);
}

#[test]
fn the_database_says_the_time_from_the_start() {
    for by in [HOUR, -HOUR] {
        let bed = Bed::new();
        bed.machine.database.fetch_add(by, Ordering::SeqCst);
        let readings: Vec<Reading> = [40, 2, 30].map(|trip| bed.reading(trip)).into();
        bed.clock.follow(&readings);
        let mut bed = Bed { last: bed.clock.now(), ..bed };
        assert_eq!(bed.ahead(), by);
        // What the wall clock does is nothing to it.
        bed.machine.wall.fetch_add(7 * HOUR, Ordering::SeqCst);
        for _ in 0..100 {
            assert_eq!(bed.beat(2), None);
            assert_eq!(bed.ahead(), by);
        }
    }
}

#[test]
fn a_database_whose_clock_drifts_is_followed() {
    let mut bed = Bed::new();
    bed.clock.follow(&[bed.reading(2)]);
    for n in 0..1_000 {
        // A ten-thousandth, seen through answers of which most are slow.
        bed.machine.database.fetch_add(i64::from(n % 3 == 0), Ordering::SeqCst);
        assert_eq!(bed.beat(if n % 5 == 0 { 2 } else { 400 }), None);
        let apart = bed.machine.database.load(Ordering::SeqCst) - START - bed.ahead();
        assert!(apart.abs() <= 25, "{apart}");
    }
}

#[test]
fn a_database_whose_clock_is_set_forward_is_followed_at_once() {
    let mut bed = Bed::new();
    bed.clock.follow(&[bed.reading(2)]);
    bed.machine.database.fetch_add(HOUR, Ordering::SeqCst);
    assert_eq!([bed.beat(2), bed.beat(2)], [None, None]);
    assert_eq!(bed.ahead(), 0);
    assert_eq!(bed.beat(2), Some(HOUR));
    assert_eq!(bed.ahead(), HOUR);
}

#[test]
fn a_database_whose_clock_is_set_back_is_waited_for() {
    let mut bed = Bed::new();
    bed.clock.follow(&[bed.reading(2)]);
    bed.machine.database.fetch_sub(60_000, Ordering::SeqCst);
    let told: Vec<_> = (0..4).map(|_| bed.beat(2)).collect();
    assert_eq!(told, [None, None, Some(-60_000), None]);
    bed.ahead();
    for _ in 0..50 {
        bed.beat(2);
        bed.ahead();
    }
    let apart = bed.ahead() + 60_000;
    assert!((0..=250).contains(&apart), "{apart}");
}

#[test]
fn a_single_strange_answer_changes_nothing() {
    let mut bed = Bed::new();
    bed.clock.follow(&[bed.reading(2)]);
    for by in [HOUR, -HOUR] {
        bed.machine.database.fetch_add(by, Ordering::SeqCst);
        assert_eq!(bed.beat(2), None);
        bed.machine.database.fetch_sub(by, Ordering::SeqCst);
        assert_eq!(bed.beat(2), None);
        assert_eq!(bed.ahead(), 0);
    }
}

#[test]
fn a_very_slow_answer_changes_nothing() {
    let mut bed = Bed::new();
    bed.clock.follow(&[bed.reading(2)]);
    let asked = bed.clock.ask();
    let read = bed.machine.now().millis();
    bed.pass(20_000);
    assert_eq!(bed.clock.hear(bed.clock.answered(asked, read * MILLI)), None);
    bed.pass(100);
    assert_eq!(bed.ahead(), 0);
}
