//! The turns in which suspects start in one process: those that were lost together in few turns, few
//! at a time, and trials alone.
//!
//! Pure: `bench` has one for each registration. Times are in milliseconds.

use std::collections::BTreeMap;

use crate::model::Incarnation;

/// The most threads, lost together and equally suspect, of which each is tried alone.
pub(super) const FEW: usize = 16;
/// The length of a turn: a thread that kills its process usually does so soon after its start.
pub(super) const TURN: u64 = 500;
/// The longest time for which nobody starts beside a trial: threads that live long before they kill
/// must not hold up the others.
const LONGEST_ALONE: u64 = 3_000;
/// The pause before a suspect asks again for its trial while a likelier one waits.
const ASK_AGAIN: u64 = 50;

/// The turns of one process.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// By the incarnation that they were lost with and their points: the start of the last turn, and
    /// the places taken in it.
    sets: BTreeMap<(Incarnation, u32), (u64, usize)>,
    /// The end of the last trial: nobody else starts before it.
    trial_ends: u64,
    /// The start of the last suspect in its turn.
    started: Option<u64>,
    /// By their points, the suspects that wait for their trial.
    waiting: BTreeMap<u32, usize>,
    /// The ends of controls, and the points of those that are kept away.
    controls: Vec<(u64, u32)>,
}

impl Turns {
    /// Returns when a suspect may start that was lost with `peers` like it.
    pub(super) fn turn(&mut self, set: (Incarnation, u32), peers: usize, now: u64) -> u64 {
        let width = peers.div_ceil(FEW).max(1);
        let (start, taken) = self.sets.entry(set).or_insert((now, 0));
        if start.saturating_add(TURN) <= now {
            (*start, *taken) = (now, 0);
        }
        if *taken >= width {
            (*start, *taken) = (start.saturating_add(TURN), 0);
        }
        *taken += 1;
        (*start).max(now)
    }

    /// Starts a suspect in its turn; returns when to ask again if a trial is under way.
    pub(super) fn start(&mut self, now: u64) -> Option<u64> {
        if now < self.trial_ends {
            return Some(self.trial_ends);
        }
        self.started = Some(now);
        None
    }

    /// Notes a control: suspects with less against them are not tried before its end.
    pub(super) fn control(&mut self, until: u64, points: u32) {
        self.controls.push((until, points));
    }

    /// Notes that a suspect waits for its trial.
    pub(super) fn waits(&mut self, points: u32) {
        *self.waiting.entry(points).or_default() += 1;
    }

    /// Notes that it waits no more.
    pub(super) fn waits_no_more(&mut self, points: u32) {
        if let Some(count) = self.waiting.get_mut(&points) {
            *count -= 1;
            if *count == 0 {
                self.waiting.remove(&points);
            }
        }
    }

    /// Makes room for a trial of a suspect that waits for it; returns when it starts, or when to ask
    /// again.
    pub(super) fn try_alone(&mut self, points: u32, age: u64, now: u64) -> Result<u64, u64> {
        self.controls.retain(|(until, _)| *until > now);
        let controlled = self.controls.iter().any(|(_, kept_away)| *kept_away > points);
        let likelier = self.waiting.range(points.saturating_add(1)..).next().is_some();
        if now < self.trial_ends || controlled || likelier {
            return Err(self.trial_ends.max(now.saturating_add(ASK_AGAIN)));
        }
        let start = self.started.map_or(now, |started| now.max(started.saturating_add(TURN)));
        self.trial_ends = start.saturating_add(trial_time(age).min(LONGEST_ALONE));
        Ok(start)
    }
}

/// Returns how long nobody else starts beside a trial of a thread that was lost at an age.
pub(super) const fn trial_time(age: u64) -> u64 {
    let usual = age.saturating_mul(6) / 5 + 200;
    if usual > TURN { usual } else { TURN }
}
