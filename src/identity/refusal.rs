//! Why a token opens nothing.

use std::time::Duration;

/// Why a token opens nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It does not hold.
    Invalid(String),
    /// Nobody can tell now, since the issuer cannot be asked for its keys.
    Unavailable {
        /// When to try again.
        retry_after: Duration,
    },
}

impl Refusal {
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::Invalid(detail.into())
    }
}
