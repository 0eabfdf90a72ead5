//! Watches this machine's wall clock, by which no thread goes, against the store's: people read the
//! times of both beside each other.

use std::sync::Arc;
use std::time::Duration;

use crate::runtime::core::Core;

/// The interval of looks; a look costs nothing.
const INTERVAL: Duration = Duration::from_secs(1);
/// The largest difference of the two clocks, in milliseconds, of which nothing is said.
pub(in crate::runtime) const TOLERATED: u64 = 1_000;
/// The difference at which they agree again, so that one around the limit fills no log.
const AGREED: u64 = 800;

/// Watches until the server drains.
pub(in crate::runtime) async fn run(core: Arc<Core>) {
    let work = async {
        let mut apart = false;
        loop {
            let skew = skew_ms(&core);
            core.parts.metrics.clock_skew.set(seconds(skew));
            let now_apart = is_apart(apart, skew);
            if now_apart && !apart {
                tracing::warn!(
                    skew_ms = skew,
                    "this machine's clock and the store's are apart; all threads go by the store's"
                );
            } else if apart && !now_apart {
                tracing::info!(skew_ms = skew, "this machine's clock and the store's agree again");
            }
            apart = now_apart;
            tokio::time::sleep(INTERVAL).await;
        }
    };
    core.draining.run_until_cancelled(work).await;
}

/// Returns how far this machine's wall clock is ahead of the store's, in milliseconds.
pub(in crate::runtime) fn skew_ms(core: &Core) -> i64 {
    let clock = &core.parts.clock;
    clock.wall().millis().saturating_sub(clock.now().millis())
}

fn is_apart(before: bool, skew_ms: i64) -> bool {
    skew_ms.unsigned_abs() > if before { AGREED } else { TOLERATED }
}

fn seconds(millis: i64) -> f64 {
    Duration::from_millis(millis.unsigned_abs()).as_secs_f64().copysign(if millis < 0 {
        -1.0
    } else {
        1.0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_around_the_limit_are_told_of_once() {
        let mut apart = false;
        let seen = [1_000, 1_001, 999, 1_200, 801, 800, 900, -1_001, -900, 0].map(|skew| {
            apart = is_apart(apart, skew);
            apart
        });
        assert_eq!(seen, [false, true, true, true, true, false, false, true, true, false]);
    }

    #[test]
    fn a_clock_that_is_behind_has_a_negative_skew() {
        assert!((seconds(-1_500) + 1.5).abs() < f64::EPSILON);
        assert!((seconds(2_250) - 2.25).abs() < f64::EPSILON);
    }
}
