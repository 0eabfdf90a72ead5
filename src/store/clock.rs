//! The clock of a store: one for all replicas, whatever the wall clocks of their machines say.
//!
//! The clock counts what elapses on this machine, which nobody can set, and shows the database's
//! time: it is read when the database is opened, and with every heartbeat. A store that lives in
//! this process begins with the time of the wall clock, and rides out its jumps. Neither ever goes
//! backwards.

mod pace;
mod readings;

use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use self::readings::Reading;

use self::pace::{Gait, Pace};
use self::readings::Readings;
use crate::model::{Clock, Timestamp, lock};

/// Microseconds in a millisecond, and in a second.
const MILLI: i64 = 1_000;
const SECOND: i64 = 1_000 * MILLI;
/// The largest difference from the database's time that is made good little by little: events of
/// replicas that are further apart look wrong to people.
const FAR: i64 = 250 * MILLI;
/// How often the wall clock is looked at, in the stores that have no other.
const LOOK: i64 = SECOND;

/// The clock of a store.
#[derive(Debug)]
pub struct StoreClock {
    machine: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    pace: Pace,
    /// The readings of the database's clock; `None` if the time is this machine's.
    database: Option<Readings>,
}

/// What had elapsed when a clock was asked for its time.
#[derive(Debug, Clone, Copy)]
pub struct Asked(i64);

impl StoreClock {
    /// A clock that shows the time of this machine's wall clock as of now, and then what elapses.
    pub fn start(machine: Arc<dyn Clock>) -> Self {
        let pace = Pace::start(elapsed(&*machine), wall(&*machine));
        Self { machine, state: Mutex::new(State { pace, database: None }) }
    }

    /// Notes that the database is about to be asked for its time.
    pub fn ask(&self) -> Asked {
        Asked(elapsed(&*self.machine))
    }

    /// The database's answer, in microseconds since the Unix epoch, which has just come.
    pub fn answered(&self, Asked(sent): Asked, read: i64) -> Reading {
        Reading { sent, received: elapsed(&*self.machine), read }
    }

    /// Shows the database's time from now on. Before anything is recorded: the time may go back.
    pub fn follow(&self, readings: &[Reading]) {
        let mut readings = readings.to_vec();
        // The first is believed, so it should be the best.
        readings.sort_by_key(Reading::round_trip);
        for reading in readings {
            self.hear(reading);
        }
    }

    /// Takes in a reading of the database's clock. If that was set, returns by how much it is ahead
    /// of this one, in milliseconds.
    pub fn hear(&self, reading: Reading) -> Option<i64> {
        let mut state = lock(&self.state);
        let State { pace, database } = &mut *state;
        let first = database.is_none();
        let readings = database.get_or_insert_default();
        let was_set = readings.hear(reading);
        let now = elapsed(&*self.machine);
        let time = now.saturating_add(readings.offset()?);
        if first {
            *pace = Pace::start(now, time);
            return None;
        }
        let away = time.saturating_sub(pace.at(now));
        if away > FAR {
            // The database has its parked threads by that time already.
            pace.step_to(now, time);
        } else if away < -FAR {
            pace.go_to(now, time, Gait::Brake);
        } else {
            pace.go_to(now, time, Gait::Slew);
        }
        (was_set && away.abs() > FAR).then_some(away / MILLI)
    }
}

impl Clock for StoreClock {
    fn now(&self) -> Timestamp {
        let now = elapsed(&*self.machine);
        let mut state = lock(&self.state);
        if state.database.is_none() && now.saturating_sub(state.pace.since()) >= LOOK {
            state.pace.go_to(now, wall(&*self.machine), Gait::Slew);
        }
        Timestamp::from_millis(state.pace.at(now).div_euclid(MILLI))
    }

    fn monotonic(&self) -> Duration {
        self.machine.monotonic()
    }

    fn elapsed(&self) -> Duration {
        self.machine.elapsed()
    }

    fn wall(&self) -> Timestamp {
        self.machine.wall()
    }
}

fn elapsed(machine: &dyn Clock) -> i64 {
    i64::try_from(machine.elapsed().as_micros()).unwrap_or(i64::MAX)
}

fn wall(machine: &dyn Clock) -> i64 {
    machine.wall().millis().saturating_mul(MILLI)
}

#[cfg(test)]
mod tests;
