//! Counters that all replicas share.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::model::Timestamp;
use crate::store::limits::{TALLIES_KEPT, tally_hour};
use crate::store::{Result, Tallies};

use super::MemoryStore;

#[async_trait]
impl Tallies for MemoryStore {
    async fn add_tallies(&self, at: Timestamp, tallies: &[(String, u64)]) -> Result<()> {
        let (mut state, hour) = (self.state(), tally_hour(at));
        state.tallies.retain(|(kept, _), _| *kept >= hour - TALLIES_KEPT);
        for (name, count) in tallies {
            *state.tallies.entry((hour, name.clone())).or_default() += count;
        }
        Ok(())
    }

    async fn tallies(&self, since: Timestamp) -> Result<Vec<(String, u64)>> {
        let state = self.state();
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for ((_, name), count) in state.tallies.range((tally_hour(since), String::new())..) {
            *sums.entry(name.clone()).or_default() += count;
        }
        Ok(sums.into_iter().collect())
    }
}
