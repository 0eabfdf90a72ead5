//! The settings of the audit list.

use std::time::Duration;

/// What the audit list tells, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditSettings {
    /// How long entries are kept.
    pub retention: Duration,
    /// Whether reads of inputs and outputs are told as well.
    pub reads: bool,
}
