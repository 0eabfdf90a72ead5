//! The parts of a simulation that outlive every process: the store, the time, the faults to come,
//! and the audit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rethread::definition::Plan as CheckedPlan;
use rethread::model::{Clock, Incarnation, Json, Pointer};
use rethread::store::{MemoryStore, Write};
use tokio_util::sync::CancellationToken;

use super::audit::Audit;
use super::clock::SimClock;
use super::hints::Hints;
use super::life::Life;
use super::random::Rng;
use super::weather::{Fate, Mishap};
use super::workflow::Drawn;

/// The time that a silent replica keeps its threads: less than a slow attempt takes.
pub(super) const LEASE: Duration = Duration::from_secs(1);

/// The most calls of the store in one world: ten times as many as any world makes that does not
/// spin. Time hardly passes while something spins, so that its deadline would not come for hours.
const MOST_CALLS: u64 = 500_000;

/// One simulated world.
#[derive(Debug)]
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) clock: Arc<SimClock>,
    pub(super) store: MemoryStore,
    pub(super) workflows: BTreeMap<String, Drawn>,
    pub(super) hints: Hints,
    audit: Mutex<Audit>,
    fate: Mutex<Fate>,
    verbose: bool,
}

/// The kind of a world.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// The most replicas.
    pub(super) replicas: usize,
    /// The number of times that a thread may be lost before it is paused.
    pub(super) max_recoveries: u32,
    /// Whether only poison ends a replica against its will.
    pub(super) only_poison_kills: bool,
}

impl World {
    pub(super) fn new(seed: u64, kind: Kind, drawn: &[Drawn], verbose: bool) -> Self {
        let clock = Arc::new(SimClock::new());
        let shared: Arc<dyn Clock> = Arc::<SimClock>::clone(&clock);
        let named = |drawn: &Drawn| (drawn.name.clone(), drawn.clone());
        let workflows: BTreeMap<String, Drawn> = drawn.iter().map(named).collect();
        let plan = |drawn: &Drawn| {
            let json = Json::of(&drawn.json()).unwrap();
            (drawn.name.clone(), Arc::new(CheckedPlan::parse(&json, &Pointer::root()).unwrap()))
        };
        let plans = drawn.iter().map(plan).collect();
        let poison = drawn.iter().filter_map(|drawn| Some((drawn.name.clone(), drawn.poison()?)));
        Self {
            seed,
            store: MemoryStore::new(shared),
            clock,
            hints: Hints::new(Rng::new(seed, 4), !kind.only_poison_kills),
            audit: Mutex::new(Audit::new(plans, poison.collect(), kind)),
            fate: Mutex::new(Fate::new(Rng::new(seed, 1), kind)),
            workflows,
            verbose,
        }
    }

    pub(super) fn audit(&self) -> MutexGuard<'_, Audit> {
        self.audit.lock().unwrap()
    }

    fn fate(&self) -> MutexGuard<'_, Fate> {
        self.fate.lock().unwrap()
    }

    pub(super) fn log(&self, what: impl FnOnce() -> String) {
        if self.verbose {
            eprintln!("[{:>9.3}] {}", self.clock.monotonic().as_secs_f64(), what());
        }
    }

    /// Records a broken promise and ends the simulation.
    pub(super) fn violated(&self, what: impl Into<String>) {
        let what = what.into();
        self.log(|| format!("VIOLATED: {what}"));
        self.audit().violated(what);
        self.fate().crash.cancel();
    }

    pub(super) fn is_violated(&self) -> bool {
        !self.audit().violations.is_empty()
    }

    /// Returns the time at which the faults stop.
    pub(super) fn calm_from(&self) -> Duration {
        self.fate().calm_from
    }

    /// Stops the faults now.
    pub(super) fn calm_down(&self) {
        let now = self.clock.monotonic();
        let calm_from = &mut self.fate().calm_from;
        *calm_from = now.min(*calm_from);
    }

    /// Begins a process, and returns a token that is cancelled when the process must die.
    pub(super) fn new_process(&self) -> CancellationToken {
        let token = CancellationToken::new();
        self.fate().crash = token.clone();
        token
    }

    /// Begins a life of a replica.
    pub(super) fn new_life(&self, replica: usize) -> Life {
        let mut fate = self.fate();
        fate.lives += 1;
        Life::new(replica, fate.lives)
    }

    /// Ends the replica or the whole machine if faults allow it, and returns whether it did.
    pub(super) fn crash(&self, life: &Life) -> bool {
        let now = self.clock.monotonic();
        let mut fate = self.fate();
        if fate.crashes_left == 0 || now >= fate.calm_from {
            return false;
        }
        fate.crashes_left -= 1;
        if fate.rng.chance(3) {
            fate.crash.cancel();
        } else {
            life.end();
        }
        drop(fate);
        self.log(|| format!("replica {} dies", life.replica));
        true
    }

    /// Draws the mishap of a store call of a replica, and its latency without a fault.
    pub(super) fn mishap(&self, replica: usize, call: &str) -> (Duration, Mishap) {
        let mut fate = self.fate();
        fate.calls += 1;
        let spins = fate.calls == MOST_CALLS;
        let mishap = fate.mishap(self.clock.monotonic(), replica, call);
        drop(fate);
        if spins {
            self.violated(format!(
                "{MOST_CALLS} calls of the store: something spins, now at {call}"
            ));
        }
        mishap
    }

    /// Returns whether to damage data that are read, where that costs time and nothing else.
    pub(super) fn damages(&self) -> bool {
        self.fate().damages(self.clock.monotonic())
    }

    pub(super) fn lands_late(&self, after: Duration, me: Incarnation, batch: Vec<Write>) {
        let due = self.clock.monotonic() + after;
        self.fate().late.push((due, me, batch));
    }

    /// Removes and returns the late writes whose time has come.
    pub(super) fn due_writes(&self) -> Vec<(Incarnation, Vec<Write>)> {
        let now = self.clock.monotonic();
        let late = &mut self.fate().late;
        let due = late.extract_if(.., |(at, ..)| *at <= now);
        due.map(|(_, me, batch)| (me, batch)).collect()
    }
}
