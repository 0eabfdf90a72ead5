//! The settings of the audit list.

use std::time::Duration;

/// The scope of the audit list, and the retention of its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditSettings {
    /// The time that entries are kept.
    pub retention: Duration,
    /// Whether reads of inputs and outputs are recorded as well.
    pub reads: bool,
}
