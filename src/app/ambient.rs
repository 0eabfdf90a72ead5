//! The ambient clock and the operating system's randomness: the only place that touches them.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use uuid::{ContextV7, NoContext, Uuid};

use crate::model::{Clock, Entropy, Timestamp, signed_millis};
use crate::store::StoreClock;

/// Time and randomness in the form that the layers take.
#[derive(Debug, Clone)]
pub struct Ambient {
    /// The store's clock; this machine's until a database is opened.
    pub clock: Arc<dyn Clock>,
    /// The same, for the database to set.
    pub store_clock: Arc<StoreClock>,
    /// The operating system's randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl Ambient {
    /// Makes the clock and the randomness of this process.
    pub fn start() -> Self {
        let store_clock = Arc::new(StoreClock::start(Arc::new(SystemClock::start())));
        let clock: Arc<dyn Clock> = Arc::<StoreClock>::clone(&store_clock);
        Self { clock, store_clock, entropy: Arc::new(OsEntropy::new()) }
    }
}

/// Makes a name for this replica that tells people where to look: the machine's name and the
/// process id.
pub(super) fn replica_name() -> String {
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    format!("{}-{}", host.as_deref().unwrap_or("replica"), std::process::id())
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    origin: Instant,
    /// The origin on the clock that goes on while the machine is suspended.
    unsuspended: Duration,
}

impl SystemClock {
    /// Makes a clock whose monotonic time starts now.
    #[expect(clippy::disallowed_methods, reason = "this is where the ambient clock comes in")]
    pub fn start() -> Self {
        Self { origin: Instant::now(), unsuspended: unsuspended().unwrap_or_default() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where the ambient clock comes in")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(signed_millis(since))
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }

    fn elapsed(&self) -> Duration {
        match unsuspended() {
            Some(now) => now.saturating_sub(self.unsuspended),
            None => self.monotonic(),
        }
    }
}

/// Reads the clock that nobody can set and that also goes while the machine is suspended; `None`
/// if there is none.
#[expect(clippy::disallowed_methods, reason = "this is where the ambient clock comes in")]
fn unsuspended() -> Option<Duration> {
    #[cfg(target_os = "linux")]
    let id = ClockId::CLOCK_BOOTTIME;
    // Where this is not Linux, it counts suspension as well.
    #[cfg(not(target_os = "linux"))]
    let id = ClockId::CLOCK_MONOTONIC;
    clock_gettime(id).ok().map(Duration::from)
}

/// The operating system's random numbers.
#[derive(Debug)]
pub struct OsEntropy {
    /// Keeps ids made within one millisecond in order.
    context: Mutex<ContextV7>,
}

impl OsEntropy {
    /// Makes a source of ids and numbers.
    pub const fn new() -> Self {
        Self { context: Mutex::new(ContextV7::new()) }
    }
}

impl Default for OsEntropy {
    fn default() -> Self {
        Self::new()
    }
}

impl Entropy for OsEntropy {
    fn uuid(&self, now: Timestamp) -> Uuid {
        let (seconds, nanos) = seconds_and_nanos(now);
        Uuid::new_v7(uuid::Timestamp::from_unix(&self.context, seconds, nanos))
    }

    fn unit(&self) -> f64 {
        // The low 56 bits are random; a double holds 53 of them.
        let bits = random().as_u128();
        let high = u32::try_from(bits >> 32 & 0xff_ffff).unwrap_or(0);
        let low = u32::try_from(bits >> 3 & 0x1fff_ffff).unwrap_or(0);
        f64::from(high) / TWO_24 + f64::from(low) / TWO_24 / TWO_29
    }
}

const TWO_24: f64 = 16_777_216.0;
const TWO_29: f64 = 536_870_912.0;

/// Makes a secret that can't be guessed: two ids, 124 random bits outside their timestamps.
pub fn random_secret() -> String {
    format!("{}{}", random().simple(), random().simple())
}

/// Makes an id without a counter: all of it but the timestamp and six bits is random.
fn random() -> Uuid {
    Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, 0, 0))
}

fn seconds_and_nanos(now: Timestamp) -> (u64, u32) {
    let millis = u64::try_from(now.millis()).unwrap_or(0);
    let nanos = u32::try_from(millis % 1_000).unwrap_or(0) * 1_000_000;
    (millis / 1_000, nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_carry_the_time_and_stay_in_order() {
        let entropy = OsEntropy::new();
        let now = Timestamp::from_millis(1_700_000_000_123);
        let ids: Vec<Uuid> = (0..100).map(|_| entropy.uuid(now)).collect();
        assert!(ids.is_sorted());
        let first = ids[0].get_timestamp().unwrap().to_unix();
        assert_eq!(first, (1_700_000_000, 123_000_000));
    }

    #[test]
    fn numbers_fill_the_unit_interval() {
        let entropy = OsEntropy::new();
        let numbers: Vec<f64> = (0..2_000).map(|_| entropy.unit()).collect();
        assert!(numbers.iter().all(|number| (0.0..1.0).contains(number)));
        let mean = numbers.iter().sum::<f64>() / 2_000.0;
        assert!((0.45..0.55).contains(&mean), "{mean}");
    }

    #[test]
    fn secrets_differ() {
        assert_ne!(random_secret(), random_secret());
        assert_eq!(random_secret().len(), 64);
    }
}
