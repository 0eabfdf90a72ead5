//! The right to drive threads: one registration of this replica, while its lease holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::model::{Clock, Incarnation, millis};

/// The authority of one incarnation. Once lost it never comes back; the replica registers anew.
#[derive(Debug)]
pub(in crate::runtime) struct Authority {
    /// The number of the registration.
    pub(in crate::runtime) incarnation: Incarnation,
    /// The monotonic time, in milliseconds, until which the lease certainly holds.
    deadline_ms: AtomicU64,
    lost: CancellationToken,
    clock: Arc<dyn Clock>,
}

impl Authority {
    /// Creates the authority of a lease that was requested at `sent` (monotonic) and is trusted for
    /// `trust`.
    pub(in crate::runtime) fn new(
        incarnation: Incarnation,
        clock: Arc<dyn Clock>,
        sent: Duration,
        trust: Duration,
    ) -> Self {
        let lost = CancellationToken::new();
        let authority = Self { incarnation, deadline_ms: AtomicU64::new(0), lost, clock };
        authority.extend(sent, trust);
        authority
    }

    /// Extends the lease after a renewal that was sent at `sent` has succeeded.
    pub(in crate::runtime) fn extend(&self, sent: Duration, trust: Duration) {
        let deadline = millis(sent + trust);
        self.deadline_ms.store(deadline, Ordering::Release);
    }

    /// Returns whether steps may start: the lease certainly holds now.
    pub(in crate::runtime) fn holds(&self) -> bool {
        let now = millis(self.clock.monotonic());
        !self.lost.is_cancelled() && now < self.deadline_ms.load(Ordering::Acquire)
    }

    /// Returns the time left until the local deadline.
    pub(in crate::runtime) fn remaining(&self) -> Duration {
        let now = millis(self.clock.monotonic());
        Duration::from_millis(self.deadline_ms.load(Ordering::Acquire).saturating_sub(now))
    }

    /// Gives authority up for good: drivers drop their threads, attempts are cancelled.
    pub(in crate::runtime) fn give_up(&self) {
        self.lost.cancel();
    }

    /// Returns a token for attempts under this authority: cancelled with it at the latest.
    pub(in crate::runtime) fn attempts(&self) -> CancellationToken {
        self.lost.child_token()
    }

    /// Returns whether authority was given up.
    pub(in crate::runtime) fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// Resolves when authority is given up.
    pub(in crate::runtime) async fn lost(&self) {
        self.lost.cancelled().await;
    }
}
