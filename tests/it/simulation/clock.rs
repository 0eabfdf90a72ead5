//! A clock that advances only when nothing else can happen, and continues from process to process.

use std::sync::Mutex;
use std::time::Duration;

use rethread::model::{Clock, Timestamp};
use tokio::time::Instant;

/// The time at which every simulation begins, in milliseconds since the Unix epoch.
const DAWN: i64 = 1_700_000_000_000;

/// The time of the simulated world.
#[derive(Debug)]
pub(super) struct SimClock(Mutex<Reading>);

#[derive(Debug, Clone, Copy)]
struct Reading {
    /// The time that had passed when the present process began.
    before: Duration,
    /// The beginning of the process, by the paused clock of its own runtime; absent between two
    /// processes.
    began: Option<Instant>,
}

impl SimClock {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Reading { before: Duration::from_secs(1), began: None }))
    }

    /// Begins a process; call it inside the process's runtime.
    pub(super) fn begin(&self) {
        self.0.lock().unwrap().began = Some(Instant::now());
    }

    /// Notes that the process is about to end; call it inside the process's runtime.
    pub(super) fn end(&self) {
        let passed = self.monotonic();
        *self.0.lock().unwrap() = Reading { before: passed, began: None };
    }

    /// Lets time pass at once, without firing a timer: between two processes, or while the whole
    /// machine stands still.
    pub(super) fn skip(&self, by: Duration) {
        self.0.lock().unwrap().before += by;
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(DAWN).plus(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        let Reading { before, began } = *self.0.lock().unwrap();
        before + began.map_or(Duration::ZERO, |began| began.elapsed())
    }
}

/// A replica's clock, whose wall clock is off by a constant.
#[derive(Debug)]
pub(super) struct SkewedClock {
    pub(super) clock: std::sync::Arc<SimClock>,
    pub(super) skew_ms: i64,
}

impl Clock for SkewedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.clock.now().millis() + self.skew_ms)
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }
}
