//! Counters that all replicas share, by the hour.

use async_trait::async_trait;

use crate::model::Timestamp;

use super::Result;

/// Counters that all replicas share.
#[async_trait]
pub trait Tallies: Send + Sync {
    /// Adds to counters that all replicas share, each kept for the hour that `at` lies in. Hours
    /// older than two days are forgotten.
    async fn add_tallies(&self, at: Timestamp, tallies: &[(String, u64)]) -> Result<()>;

    /// The sums of the counters of all hours that end after `since`, by name.
    async fn tallies(&self, since: Timestamp) -> Result<Vec<(String, u64)>>;
}
