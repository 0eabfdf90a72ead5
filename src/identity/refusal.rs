//! Refusals of tokens.

use std::time::Duration;

/// The reason for which a token is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The token is not valid.
    Invalid(String),
    /// The token cannot be checked now, since the issuer's keys cannot be fetched.
    Unavailable {
        /// The time after which to try again.
        retry_after: Duration,
    },
}

impl Refusal {
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::Invalid(detail.into())
    }
}
