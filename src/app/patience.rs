//! Waits for a database that is not there yet: exponential backoff with jitter, within a bound.

use std::fmt::Display;
use std::time::Duration;

use crate::model::{Backoff, Clock, Entropy};

/// The time that the start waits for the database: longer than a container with one takes to come
/// up, shorter than an orchestrator waits before it gives up.
pub(super) const BUDGET: Duration = Duration::from_secs(30);
/// The time that the start waits where another store may stand in: long enough for a restart of a
/// proxy, short enough that the server takes work soon.
pub(super) const FALLBACK_BUDGET: Duration = Duration::from_secs(5);
/// The pause after the first failure.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause: a database that comes back is noticed within it.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Opens something, and repeats this while its error may pass and `budget` lasts.
///
/// `what` names it in the log, without a password.
pub(super) async fn open_with_patience<T, E: Display, F: Future<Output = Result<T, E>>>(
    what: &str,
    (clock, entropy): (&dyn Clock, &dyn Entropy),
    (may_pass, budget): (fn(&E) -> bool, Duration),
    mut open: impl FnMut() -> F,
) -> Result<T, E> {
    let began = clock.monotonic();
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        let error = match open().await {
            Ok(opened) => return Ok(opened),
            Err(error) => error,
        };
        let spent = clock.monotonic().saturating_sub(began);
        let next = backoff.jittered(entropy);
        if !may_pass(&error) || spent + next > budget {
            return Err(error);
        }
        tracing::warn!("{what}: {error}; trying again in {} ms", next.as_millis());
        tokio::time::sleep(next).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::app::{OsEntropy, SystemClock};

    async fn open(failures: u32, may_pass: fn(&String) -> bool) -> (Result<u32, String>, u32) {
        let tries = Cell::new(0);
        let ambient = (SystemClock::start(), OsEntropy::new());
        let result =
            open_with_patience("test", (&ambient.0, &ambient.1), (may_pass, BUDGET), || {
                tries.set(tries.get() + 1);
                let tries = tries.get();
                async move { if tries > failures { Ok(tries) } else { Err("away".to_owned()) } }
            })
            .await;
        (result, tries.get())
    }

    #[tokio::test]
    async fn what_may_pass_is_tried_again() {
        assert_eq!(open(1, |_| true).await, (Ok(2), 2));
    }

    #[tokio::test]
    async fn what_will_not_pass_is_not_tried_again() {
        assert_eq!(open(1, |_| false).await, (Err("away".to_owned()), 1));
    }
}
