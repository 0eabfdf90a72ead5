//! What outlives every process: the store, the time, the faults to come, and the audit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rethread::model::{Clock, Incarnation};
use rethread::store::{MemoryStore, Write};
use tokio_util::sync::CancellationToken;

use super::audit::Audit;
use super::clock::SimClock;
use super::random::Rng;
use super::workflow::Drawn;

/// How long a silent replica keeps its threads: less than a slow attempt takes.
pub(super) const LEASE: Duration = Duration::from_secs(1);

/// One simulated world.
#[derive(Debug)]
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) clock: Arc<SimClock>,
    pub(super) store: MemoryStore,
    pub(super) workflows: BTreeMap<String, Drawn>,
    audit: Mutex<Audit>,
    fate: Mutex<Fate>,
    verbose: bool,
}

/// Faults to come.
#[derive(Debug)]
struct Fate {
    rng: Rng,
    /// One store call in so many has a fault; 0: none ever.
    one_in: u64,
    /// Whether what goes wrong is mostly the way to the store.
    cuts: bool,
    /// Nothing goes wrong any more after this.
    calm_from: Duration,
    crashes_left: u32,
    /// Ends the present process.
    crash: CancellationToken,
    /// Replicas that the store cannot be reached from, and until when.
    cut_off: BTreeMap<usize, Duration>,
    /// Writes that were answered with an error and land later all the same.
    late: Vec<(Duration, Incarnation, Vec<Write>)>,
}

/// What goes wrong with one store call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mishap {
    None,
    /// It fails, and nothing has happened.
    Before,
    /// It happens, and fails.
    After,
    /// It happens, and the answer takes that long.
    SlowAfter(Duration),
    /// It takes that long, and then happens.
    SlowBefore(Duration),
    /// It fails, and happens that much later.
    Late(Duration),
    /// The replica is cut off: it happens once it is not.
    CutOff(Duration),
    /// It happens, and the replica is cut off before it is answered.
    CutOffAfter(Duration),
    /// The process dies, and nothing has happened.
    CrashBefore,
    /// It happens, and the process dies.
    CrashAfter,
}

impl World {
    pub(super) fn new(seed: u64, workflows: BTreeMap<String, Drawn>, verbose: bool) -> Self {
        let mut rng = Rng::new(seed, 1);
        let clock = Arc::new(SimClock::new());
        let shared: Arc<dyn Clock> = Arc::<SimClock>::clone(&clock);
        let one_in = *rng.pick(&[0, 100, 30, 12, 5]);
        let fate = Fate {
            one_in,
            cuts: rng.chance(3),
            calm_from: Duration::from_secs(rng.range(5, 40)),
            crashes_left: u32::try_from(rng.range(0, 4)).unwrap(),
            crash: CancellationToken::new(),
            cut_off: BTreeMap::new(),
            late: Vec::new(),
            rng,
        };
        Self {
            seed,
            store: MemoryStore::new(shared),
            clock,
            workflows,
            audit: Mutex::default(),
            fate: Mutex::new(fate),
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

    /// A promise is broken: the simulation ends.
    pub(super) fn violated(&self, what: impl Into<String>) {
        let what = what.into();
        self.log(|| format!("VIOLATED: {what}"));
        self.audit().violated(what);
        self.fate().crash.cancel();
    }

    pub(super) fn is_violated(&self) -> bool {
        !self.audit().violations.is_empty()
    }

    /// When the faults stop.
    pub(super) fn calm_from(&self) -> Duration {
        self.fate().calm_from
    }

    /// The faults stop now.
    pub(super) fn calm_down(&self) {
        let now = self.clock.monotonic();
        let calm_from = &mut self.fate().calm_from;
        *calm_from = now.min(*calm_from);
    }

    /// A process begins; resolves when it must die.
    pub(super) fn new_process(&self) -> CancellationToken {
        let token = CancellationToken::new();
        self.fate().crash = token.clone();
        token
    }

    /// The process dies if it may.
    pub(super) fn crash(&self) -> bool {
        let now = self.clock.monotonic();
        let mut fate = self.fate();
        if fate.crashes_left == 0 || now >= fate.calm_from {
            return false;
        }
        fate.crashes_left -= 1;
        fate.crash.cancel();
        true
    }

    /// What happens to a store call of a replica, and how long it takes without a fault.
    pub(super) fn mishap(&self, replica: usize, is_write: bool) -> (Duration, Mishap) {
        let now = self.clock.monotonic();
        let mut fate = self.fate();
        let latency = Duration::from_millis(fate.rng.range(0, 4).saturating_sub(2));
        if now >= fate.calm_from {
            return (latency, Mishap::None);
        }
        if let Some(until) = fate.cut_off.get(&replica).copied().filter(|until| *until > now) {
            return (latency, Mishap::CutOff(until.saturating_sub(now)));
        }
        let one_in = fate.one_in;
        if !fate.rng.chance(one_in) {
            return (latency, Mishap::None);
        }
        let lease = u64::try_from(LEASE.as_millis()).unwrap();
        let long = Duration::from_millis(fate.rng.range(1, lease * 2));
        let short = Duration::from_millis(fate.rng.range(1, 50));
        let kind = if fate.cuts && fate.rng.chance(2) { 13 } else { fate.rng.range(0, 15) };
        let mishap = match kind {
            // The rest, and what may not happen now, is a plain failure.
            4..=6 => Mishap::After,
            7..=8 => Mishap::SlowAfter(short),
            9 => Mishap::SlowAfter(long),
            10 => Mishap::SlowBefore(short),
            11 => Mishap::SlowBefore(long),
            12 if is_write => Mishap::Late(if fate.rng.chance(3) { long } else { short }),
            13 if fate.cuts || fate.rng.chance(4) => {
                let long = long + LEASE;
                fate.cut_off.insert(replica, now + long);
                if fate.rng.chance(2) { Mishap::CutOff(long) } else { Mishap::CutOffAfter(long) }
            }
            14 if fate.crashes_left > 0 => Mishap::CrashBefore,
            15 if fate.crashes_left > 0 => Mishap::CrashAfter,
            _ => Mishap::Before,
        };
        (latency, mishap)
    }

    pub(super) fn lands_late(&self, after: Duration, me: Incarnation, batch: Vec<Write>) {
        let due = self.clock.monotonic() + after;
        self.fate().late.push((due, me, batch));
    }

    /// The late writes whose time has come.
    pub(super) fn due_writes(&self) -> Vec<(Incarnation, Vec<Write>)> {
        let now = self.clock.monotonic();
        let late = &mut self.fate().late;
        let due = late.extract_if(.., |(at, ..)| *at <= now);
        due.map(|(_, me, batch)| (me, batch)).collect()
    }
}
