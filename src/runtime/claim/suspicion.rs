//! Judges threads that were lost with their replicas, from evidence alone: finds the thread that
//! kills its process among those that only shared it, and tells it from one that was killed with a
//! process from outside.
//!
//! A thread is *exposed* to a process from before it is loaded until it leaves. A death at which it
//! was exposed speaks against it; one at which it was not speaks for it, and so does a life that is
//! longer than the one before. Threads with much against them start in few at a time (`turns`), the
//! likeliest one alone: its *trial*. If it dies at once with its process, it is kept away for a
//! *control*: the trial counts if nothing else dies meanwhile. Who dies in so many trials that it is
//! no coincidence is paused.
//!
//! Pure: `bench` gathers the evidence and `adopt` acts on the verdict. Times are in milliseconds.

use serde::{Deserialize, Serialize};

use super::turns::{FEW, trial_time};
use crate::model::Incarnation;

/// The points against a thread for a death at which it was exposed.
const AGAINST: u32 = 2;
/// The points that it loses for a death at which it was not: fewer, so that two threads that kill in
/// turn do not acquit each other for ever.
const FOR: u32 = 1;
/// The points from which a thread waits for its turn: a first loss slows nobody down.
const ISOLATED: u32 = 2 * AGAINST;
/// The points from which a thread is tried alone, if few others are as suspect.
const TRIED: u32 = 3 * AGAINST;
/// The longest time that a thread waits for its turns, all lives of its replicas together.
const LONGEST_WAIT: u64 = 20_000;
/// The longest time that it waits in one life for its turn or its trial.
const LONGEST_TURN: u64 = 8_000;
/// The longest time that it waits for its second trial, after its control.
const LONGEST_SECOND: u64 = 2_000;
/// The longest time that it waits for a control and the trial after it.
const LONGEST_TRIAL: u64 = 28_000;
/// The shortest and the longest control, and by how much the longest grows with each trial: a thread
/// that died once with its process must not wait for long when the cause is gone.
const CONTROL: (u64, u64) = (6_000, 20_000);
const CONTROL_PER_TRIAL: u64 = 6_000;
/// The length of a control as a multiple of the thread's age at its death. A process that is killed
/// from outside is then likelier to die in the control than in the trial.
const CONTROL_PER_AGE: u64 = 10;
/// The time over which deaths elsewhere are counted. Without any, one in this time is assumed.
pub(super) const WINDOW: u64 = 600_000;
/// The deaths that it takes to narrow a culprit down, which speak against it alone.
const NARROWED: usize = 4;
/// The chance below which deaths in trials are no coincidence, and the fewest trials.
const COINCIDENCE: f64 = 1e-7;
const FEWEST_TRIALS: usize = 3;
/// The last deaths that are remembered of each thread.
const REMEMBERED: usize = 16;
/// How much longer than another one a thread may have lived, to be as suspect of its deaths.
const BESIDE: u64 = 2_000;

/// The evidence about replicas at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evidence<'a> {
    /// The replicas that were lost within [`WINDOW`], and when they were last seen.
    pub(super) deaths: &'a [(Incarnation, u64)],
    pub(super) now: u64,
    /// The time between two signs of life of a replica that has suspects.
    pub(super) beat: u64,
    /// The incarnation that judges.
    pub(super) judge: Incarnation,
    /// A random number below 1.
    pub(super) unit: f64,
}

/// The exposure of a thread to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Exposure {
    pub(super) to: Incarnation,
    pub(super) since: u64,
    /// Whether it is a trial.
    pub(super) alone: bool,
}

/// The points and times known of a thread since it last got on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::runtime) struct Suspicion {
    /// The points against it.
    pub(super) points: u32,
    /// The number of deaths at which it was exposed.
    pub(super) losses: u32,
    /// The last of them, and its age at each.
    deaths: Vec<(Incarnation, u64)>,
    /// The deaths in trials, and its age at each; the last one counts once its control is over.
    pub(super) trials: Vec<(Incarnation, u64)>,
    /// Its age at the last death; 0 if not known.
    pub(super) age: u64,
    /// The process that it is exposed to.
    pub(super) exposed: Option<Exposure>,
    /// The last incarnation that it was lost with; 0: none.
    pub(super) lost_with: Incarnation,
    /// Since when it waits for its turn, its control or its trial.
    waits_since: Option<u64>,
    /// Who judged it last, and when.
    judged: (Incarnation, u64),
    /// The end of its control.
    control_until: Option<u64>,
    /// Set once it is to be paused.
    pub(super) convicted: bool,
    /// Set if it killed the process that was about to pause it.
    pub(super) unloadable: bool,
    /// Set if a person had it loaded again after that.
    tried_again: bool,
}

/// What is to be done with a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::runtime) enum Verdict {
    /// Start it.
    Go,
    /// Start it in its turn among those that were lost with it.
    Turn,
    /// Start it alone.
    Trial,
    /// Keep it away until then, and judge it again.
    Control(u64),
    /// Pause it and ask a person.
    Pause,
}

impl Suspicion {
    /// Takes the evidence of a claim, or of the end of a control. `previous_owner` is the lost
    /// replica that the thread was taken from; 0 if there is none.
    pub(super) fn judge(&mut self, previous_owner: Incarnation, evidence: Evidence<'_>) {
        let exposed = self.exposed.take();
        let death = self.death_of(previous_owner, exposed, evidence);
        self.hear_of_others(death.map(|(incarnation, _)| incarnation), evidence);
        if let Some((incarnation, seen_at)) = death {
            let age = exposed.map(|exposed| {
                seen_at.saturating_sub(exposed.since).saturating_add(evidence.beat / 2)
            });
            let alone = exposed.is_some_and(|exposed| exposed.alone);
            self.lost(incarnation, (age, alone), evidence);
        }
        self.judged = (evidence.judge, evidence.now);
    }

    /// Returns the death at which the thread was exposed since it was last judged. A thread of which
    /// nothing is known was exposed to the replica that had it.
    fn death_of(
        &self,
        previous_owner: Incarnation,
        exposed: Option<Exposure>,
        evidence: Evidence<'_>,
    ) -> Option<(Incarnation, u64)> {
        let known = |who| evidence.deaths.iter().find(|(one, _)| *one == who).copied();
        match exposed {
            Some(exposed) if exposed.to == previous_owner => {
                Some(known(exposed.to).unwrap_or((exposed.to, evidence.now)))
            }
            Some(exposed) => known(exposed.to),
            None if previous_owner != 0 && self.judged.0 == 0 => {
                Some(known(previous_owner).unwrap_or((previous_owner, evidence.now)))
            }
            None => None,
        }
    }

    /// Counts the deaths since the last judgement at which the thread was not exposed.
    fn hear_of_others(&mut self, mine: Option<Incarnation>, evidence: Evidence<'_>) {
        let (judge, judged_at) = self.judged;
        let is_new = |(who, seen_at): &&(Incarnation, u64)| {
            judge != 0
                && (*who >= judge || *seen_at > judged_at)
                && Some(*who) != mine
                && *who != self.lost_with
        };
        let others = u32::try_from(evidence.deaths.iter().filter(is_new).count());
        let others = others.unwrap_or(u32::MAX);
        if others == 0 {
            return;
        }
        let least = if self.losses > 0 { AGAINST } else { 0 };
        self.points = self.points.saturating_sub(others.saturating_mul(FOR)).max(least);
        if self.control_until.take().is_some() {
            self.trials.pop();
        }
    }

    /// Counts a death at which the thread was exposed, at that age if it is known.
    fn lost(
        &mut self,
        incarnation: Incarnation,
        (age, alone): (Option<u64>, bool),
        evidence: Evidence<'_>,
    ) {
        let before = self.age;
        let age_or_0 = age.unwrap_or(0);
        // What kills its process does so at about the same age.
        let again = self.losses == 0
            || before == 0
            || (age_or_0 + age_or_0 / 2 + 400 >= before && age_or_0 <= self.acquitted_after());
        let oldest = self.deaths.iter().map(|(_, age)| *age).max().unwrap_or(before);
        self.points = if again { self.points + AGAINST } else { self.points.max(AGAINST) };
        self.losses = self.losses.saturating_add(1);
        self.deaths.push((incarnation, age_or_0));
        if self.deaths.len() > REMEMBERED {
            self.deaths.remove(0);
        }
        self.age = age_or_0;
        self.lost_with = incarnation;
        self.control_until = None;
        self.unloadable |= self.convicted || self.tried_again;
        self.convicted |= self.tried_again;
        if alone && (oldest == 0 || age_or_0 <= trial_time(oldest) + evidence.beat) {
            self.trials.push((incarnation, age_or_0));
            self.control_until = Some(evidence.now + self.control(age_or_0, evidence.unit));
            self.waits_since = None;
        }
    }

    /// Returns the length of the control after the newest trial. It is drawn, so that it does not end
    /// at the moment at which another thread kills.
    fn control(&self, age: u64, unit: f64) -> u64 {
        let (least, most) = CONTROL;
        let trials = u64::try_from(self.trials.len()).unwrap_or(u64::MAX);
        let longest = most.min(CONTROL_PER_TRIAL.saturating_mul(trials));
        let usual = age.saturating_mul(CONTROL_PER_AGE).clamp(least, longest);
        let drawn = std::time::Duration::from_millis(usual).mul_f64(0.75 + unit / 2.0);
        crate::model::millis(drawn).min(most)
    }

    /// Returns whether the verdict depends on others.
    pub(super) const fn needs_others(&self) -> bool {
        !self.convicted && (self.points >= ISOLATED || !self.trials.is_empty())
    }

    /// Returns what is to be done. `peers` is how many were lost with it and are as suspect, itself
    /// included, `beside` are those that were lost with it, if it has had trials, and `limit` is
    /// `RETHREAD_MAX_RECOVERIES`.
    pub(super) fn verdict(
        &mut self,
        (peers, beside): (usize, &[Self]),
        limit: u32,
        evidence: Evidence<'_>,
    ) -> Verdict {
        if self.convicted || (limit == 0 && self.losses > 0) {
            self.convicted = true;
            return Verdict::Pause;
        }
        if let Some(until) = self.control_until {
            if evidence.now < until {
                return Verdict::Control(until);
            }
            self.control_until = None;
            let alone = || !beside.iter().any(|other| other.is_as_suspect_as(self));
            if self.losses > limit && self.is_no_coincidence(evidence) && alone() {
                self.convicted = true;
                return Verdict::Pause;
            }
        }
        let waited = evidence.now.saturating_sub(self.waits_since.unwrap_or(evidence.now));
        if self.points < ISOLATED || (waited >= LONGEST_WAIT && self.trials.is_empty()) {
            return Verdict::Go;
        }
        if peers <= 1 || (peers <= FEW && self.points >= TRIED) {
            Verdict::Trial
        } else {
            Verdict::Turn
        }
    }

    /// Returns how many threads, this one included, were lost with it and are as suspect.
    pub(super) fn peers(&self, beside: &[Self]) -> usize {
        let as_suspect = |other: &&Self| {
            if other.lost_with == self.lost_with {
                other.points >= self.points
            } else {
                // It was not judged yet.
                other.points + AGAINST >= self.points
            }
        };
        1 + beside.iter().filter(as_suspect).count()
    }

    /// Returns whether its deaths in trials are no coincidence, as often as replicas died elsewhere.
    fn is_no_coincidence(&self, evidence: Evidence<'_>) -> bool {
        let losses = usize::try_from(self.losses).unwrap_or(usize::MAX);
        let others = evidence.deaths.len().saturating_sub(losses);
        let beside = losses.saturating_sub(self.trials.len()).saturating_sub(NARROWED);
        let elsewhere = u32::try_from(others.saturating_add(beside)).unwrap_or(u32::MAX);
        let between = seconds(WINDOW) / (f64::from(elsewhere) + 1.0);
        let by_chance = |(_, age): &(Incarnation, u64)| (seconds(*age) / between).min(1.0);
        let chance: f64 = self.trials.iter().map(by_chance).product();
        self.trials.len() >= FEWEST_TRIALS && chance < COINCIDENCE
    }

    /// Returns whether it may as well have caused each of another one's deaths in trials.
    fn is_as_suspect_as(&self, other: &Self) -> bool {
        other.trials.iter().all(|(death, age)| {
            let beside = |(mine, lived): &(Incarnation, u64)| {
                mine == death && *lived <= age.saturating_mul(2).saturating_add(BESIDE)
            };
            self.deaths.iter().any(beside)
        })
    }

    /// Lets a thread be loaded once more that was paused without that: a person asks for it.
    pub(super) fn try_again(&mut self) {
        (self.convicted, self.unloadable, self.tried_again) = (false, false, true);
        self.points = 0;
    }

    /// Notes that the thread is about to be loaded.
    pub(super) fn expose(&mut self, to: Incarnation, now: u64, alone: bool) {
        self.exposed = Some(Exposure { to, since: now, alone });
        self.waits_since = None;
    }

    /// Notes that it waits, and returns how long it may from now on.
    pub(super) fn wait(&mut self, now: u64) -> u64 {
        let since = *self.waits_since.get_or_insert(now);
        // One death alone says little, and it has waited for its control.
        let longest = if self.trials.len() == 1 { LONGEST_SECOND } else { LONGEST_TURN };
        LONGEST_TRIAL.saturating_sub(now.saturating_sub(since)).min(longest)
    }

    /// Returns the age at which little speaks against it any more.
    pub(super) const fn acquitted_after(&self) -> u64 {
        self.age.saturating_mul(3) / 2 + 500
    }

    /// Halves what speaks against it: it has lived for longer than before.
    pub(super) fn acquit(&mut self) {
        let exposed = self.exposed.map(|exposed| Exposure { alone: false, ..exposed });
        *self = Self {
            points: self.points / 2,
            losses: self.losses / 2,
            age: self.age,
            judged: self.judged,
            exposed,
            ..Self::default()
        };
    }
}

fn seconds(millis: u64) -> f64 {
    std::time::Duration::from_millis(millis).as_secs_f64()
}
