//! What goes wrong between a replica and the store, drawn call by call.

use std::collections::BTreeMap;
use std::time::Duration;

use rethread::model::Incarnation;
use rethread::store::Write;
use tokio_util::sync::CancellationToken;

use super::random::Rng;
use super::world::{Kind, LEASE};

/// Calls that keep or end a lease: where nothing but poison may cost one, they have no mishaps.
const LEASE_CALLS: [&str; 3] = ["register", "renew", "retire"];

/// Faults to come.
#[derive(Debug)]
pub(super) struct Fate {
    pub(super) rng: Rng,
    /// One store call in so many has a fault; 0: none ever.
    one_in: u64,
    /// Whether what goes wrong is mostly the way to the store.
    cuts: bool,
    /// Whether a lease is never lost but by poison.
    keeps_leases: bool,
    /// Nothing goes wrong any more after this.
    pub(super) calm_from: Duration,
    pub(super) crashes_left: u32,
    /// Ends the present process with all its replicas.
    pub(super) crash: CancellationToken,
    /// Calls of the store so far.
    pub(super) calls: u64,
    /// Lives of replicas so far.
    pub(super) lives: u64,
    /// Replicas that the store cannot be reached from, and until when.
    cut_off: BTreeMap<usize, Duration>,
    /// Writes that were answered with an error and land later all the same.
    pub(super) late: Vec<(Duration, Incarnation, Vec<Write>)>,
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
    /// The replica dies, or the machine, and nothing has happened.
    CrashBefore,
    /// It happens, and the replica dies, or the machine.
    CrashAfter,
}

impl Fate {
    pub(super) fn new(mut rng: Rng, kind: Kind) -> Self {
        let keeps_leases = kind.only_poison_kills;
        let crashes = if keeps_leases { 0 } else { rng.range(0, 6) };
        Self {
            one_in: *rng.pick(&[0, 100, 30, 12, 5]),
            cuts: rng.chance(3) && !keeps_leases,
            keeps_leases,
            calm_from: Duration::from_secs(rng.range(4, 24)),
            crashes_left: u32::try_from(crashes).unwrap(),
            crash: CancellationToken::new(),
            calls: 0,
            lives: 0,
            cut_off: BTreeMap::new(),
            late: Vec::new(),
            rng,
        }
    }

    pub(super) fn damages(&mut self, now: Duration) -> bool {
        now < self.calm_from && self.rng.chance(self.one_in)
    }

    pub(super) fn mishap(
        &mut self,
        now: Duration,
        replica: usize,
        call: &str,
    ) -> (Duration, Mishap) {
        let latency = Duration::from_millis(self.rng.range(0, 4).saturating_sub(2));
        if now >= self.calm_from || (self.keeps_leases && LEASE_CALLS.contains(&call)) {
            return (latency, Mishap::None);
        }
        if let Some(until) = self.cut_off.get(&replica).copied().filter(|until| *until > now) {
            return (latency, Mishap::CutOff(until.saturating_sub(now)));
        }
        if !self.rng.chance(self.one_in) {
            return (latency, Mishap::None);
        }
        let lease = u64::try_from(LEASE.as_millis()).unwrap();
        let long = Duration::from_millis(self.rng.range(1, lease * 2));
        let short = Duration::from_millis(self.rng.range(1, 50));
        let kind = if self.cuts && self.rng.chance(2) { 13 } else { self.rng.range(0, 15) };
        let mishap = match kind {
            // The rest, and what may not happen now, is a plain failure.
            4..=6 => Mishap::After,
            7..=8 => Mishap::SlowAfter(short),
            9 => Mishap::SlowAfter(long),
            10 => Mishap::SlowBefore(short),
            11 => Mishap::SlowBefore(long),
            12 if call == "write" => Mishap::Late(if self.rng.chance(3) { long } else { short }),
            13 if !self.keeps_leases && (self.cuts || self.rng.chance(4)) => {
                let long = long + LEASE;
                self.cut_off.insert(replica, now + long);
                if self.rng.chance(2) { Mishap::CutOff(long) } else { Mishap::CutOffAfter(long) }
            }
            14 if self.crashes_left > 0 => Mishap::CrashBefore,
            15 if self.crashes_left > 0 => Mishap::CrashAfter,
            _ => Mishap::Before,
        };
        (latency, mishap)
    }
}
