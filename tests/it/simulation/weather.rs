//! The faults between a replica and the store, drawn call by call.

use std::collections::BTreeMap;
use std::time::Duration;

use rethread::model::Incarnation;
use rethread::store::Write;
use tokio_util::sync::CancellationToken;

use super::random::Rng;
use super::world::{Kind, LEASE};

/// The calls that keep or end a lease. Where only poison may cost a lease, they have no mishaps.
const LEASE_CALLS: [&str; 3] = ["register", "renew", "retire"];

/// The faults to come.
#[derive(Debug)]
pub(super) struct Fate {
    pub(super) rng: Rng,
    /// One store call in this many has a fault; 0: none ever.
    one_in: u64,
    /// Whether most faults are cuts of the way to the store.
    cuts: bool,
    /// Whether only poison costs a lease.
    keeps_leases: bool,
    /// The time from which nothing goes wrong any more.
    pub(super) calm_from: Duration,
    pub(super) crashes_left: u32,
    /// Ends the present process with all its replicas.
    pub(super) crash: CancellationToken,
    /// The number of calls of the store so far.
    pub(super) calls: u64,
    /// The number of lives of replicas so far.
    pub(super) lives: u64,
    /// The replicas that cannot reach the store, and the end of that.
    cut_off: BTreeMap<usize, Duration>,
    /// The writes that were answered with an error and land later all the same.
    pub(super) late: Vec<(Duration, Incarnation, Vec<Write>)>,
}

/// The fault of one store call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mishap {
    None,
    /// The call fails, and nothing has happened.
    Before,
    /// The call happens, and fails.
    After,
    /// The call happens, and its answer takes this long.
    SlowAfter(Duration),
    /// The call takes this long, and then happens.
    SlowBefore(Duration),
    /// The call fails, and happens this much later.
    Late(Duration),
    /// The replica is cut off for this long; the call happens afterwards.
    CutOff(Duration),
    /// The call happens, and the replica is cut off for this long before it is answered.
    CutOffAfter(Duration),
    /// The replica or the machine dies, and nothing has happened.
    CrashBefore,
    /// The call happens, and the replica or the machine dies.
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
            // All other kinds, and those that may not happen now, are plain failures.
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
