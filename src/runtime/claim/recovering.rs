//! A recovery under way, and the records of its beginning and its end.

use crate::model::{Epoch, Incarnation, RecoveryCause, RecoveryStrategy, Timestamp, millis};
use crate::runtime::core::Core;
use crate::store::{Claimed, Recovery, RecoveryEnd, RecoveryResult};

/// A recovery under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::runtime) struct Recovering {
    /// The epoch of the claim that began it.
    pub(in crate::runtime) epoch: Epoch,
    /// Why it is necessary.
    pub(in crate::runtime) cause: RecoveryCause,
    /// The incarnation that drove the thread before.
    pub(in crate::runtime) previous_owner: Incarnation,
    /// How the thread was rebuilt, once it is.
    pub(in crate::runtime) strategy: Option<RecoveryStrategy>,
    pub(in crate::runtime) began: Timestamp,
}

impl Recovering {
    pub(in crate::runtime) fn new(core: &Core, claimed: &Claimed, cause: RecoveryCause) -> Self {
        Self {
            epoch: claimed.epoch,
            cause,
            previous_owner: claimed.previous_owner,
            strategy: None,
            began: core.parts.clock.now(),
        }
    }

    /// Sets how the thread was rebuilt.
    pub(in crate::runtime) fn rebuilt(self, strategy: RecoveryStrategy) -> Self {
        Self { strategy: Some(strategy), ..self }
    }

    /// Returns the record of its beginning.
    pub(in crate::runtime) fn record(&self, core: &Core, claimed: &Claimed) -> Recovery {
        Recovery {
            thread_id: claimed.thread_id.clone(),
            epoch: self.epoch,
            cause: self.cause,
            previous_owner: self.previous_owner,
            replica: core.parts.settings.replica.clone(),
            from_seq: claimed.last_seq,
            started_at: self.began,
            end: None,
        }
    }

    /// Returns the record of its end.
    pub(in crate::runtime) fn end(&self, core: &Core, result: RecoveryResult) -> RecoveryEnd {
        let took = core.parts.clock.now().since(self.began);
        RecoveryEnd {
            strategy: self.strategy,
            to_seq: None,
            duration_ms: millis(took),
            result,
            detail: None,
        }
    }
}
