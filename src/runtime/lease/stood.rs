//! What is on record of a thread that kept a worker from going on: written by the watchdog as a letter
//! to the thread, read by whoever claims it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Incarnation, Timestamp};

/// That a thread kept a worker of a replica from going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::runtime) struct Stood {
    /// The incarnation whose worker it was.
    pub(in crate::runtime) incarnation: Incarnation,
    /// For how long, when it was put on record.
    pub(in crate::runtime) for_ms: u64,
    /// Whether it was being rebuilt, and nothing of it ran yet.
    pub(in crate::runtime) loading: bool,
    /// When it was put on record.
    pub(in crate::runtime) at: Timestamp,
}

impl Stood {
    /// How long the worker had stood when it was put on record.
    pub(in crate::runtime) const fn time(self) -> Duration {
        Duration::from_millis(self.for_ms)
    }
}
