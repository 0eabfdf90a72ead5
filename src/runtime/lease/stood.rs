//! The record of a thread that kept a worker from going on. The watchdog writes it as a message to
//! the thread's inbox; whoever claims the thread reads it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Incarnation, Timestamp};

/// A record that a thread kept a worker of a replica from going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::runtime) struct Stood {
    /// The incarnation that the worker belonged to.
    pub(in crate::runtime) incarnation: Incarnation,
    /// How long the worker had stood when this was recorded, in milliseconds.
    pub(in crate::runtime) for_ms: u64,
    /// Whether the thread was being rebuilt, so that none of its work ran yet.
    pub(in crate::runtime) loading: bool,
    /// The time of the record.
    pub(in crate::runtime) at: Timestamp,
}

impl Stood {
    /// Returns how long the worker had stood when this was recorded.
    pub(in crate::runtime) const fn time(self) -> Duration {
        Duration::from_millis(self.for_ms)
    }
}
