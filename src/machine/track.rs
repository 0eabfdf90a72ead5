//! The attempts at one of a step's works: the same for its own work, its fallback and its
//! compensation.

use serde::{Deserialize, Serialize};

use crate::model::{Failure, Timestamp};

/// The state of the attempts at a work.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Track {
    /// The number of attempts started so far; the running one has this number.
    pub attempts: u32,
    /// The number of failures since the work was last set going.
    pub failures: u32,
    /// The start of the current attempt.
    pub attempt_at: Option<Timestamp>,
    /// The time at which its retry is due or its wait ends.
    pub wake_at: Option<Timestamp>,
    /// Its last failure.
    pub error: Option<Failure>,
    /// Whether the current attempt was found to take longer than it should.
    pub warned: bool,
    /// Whether the current attempt has shown no sign of life for long.
    pub stale: bool,
}

impl Track {
    /// Begins an attempt.
    pub(super) fn begin(&mut self, attempt: u32, at: Timestamp) {
        self.attempts = attempt;
        self.attempt_at = Some(at);
        self.wake_at = None;
        self.warned = false;
        self.stale = false;
    }

    /// Records that the current attempt has failed; it `counts` against the retry policy unless
    /// somebody ended it.
    pub(super) fn fail(&mut self, error: &Failure, retry_at: Option<Timestamp>, counts: bool) {
        self.failures += u32::from(counts);
        self.error = Some(error.clone());
        self.wake_at = retry_at;
    }

    /// Goes back to before the first attempt; the numbers of attempts go on.
    pub(super) fn begin_again(&mut self) {
        *self = Self { attempts: self.attempts, ..Self::default() };
    }
}
