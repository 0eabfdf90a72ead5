//! The number of threads claimed at a time: small at first, larger while more are due.
//!
//! A replica that starts, or takes over from a lost one, must not load everything at once: health
//! checks, heartbeats and other replicas need their share. Only the dispatcher uses this.

use crate::runtime::settings::CLAIM_BATCH;

/// The size of the first claim: enough for an idle server, small for a database that has just come
/// up.
const FIRST: usize = 8;

/// The size of the next claim.
#[derive(Debug)]
pub(in crate::runtime) struct Ramp(usize);

impl Default for Ramp {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Ramp {
    /// Returns the most threads to claim next.
    pub(in crate::runtime) const fn size(&self) -> usize {
        self.0
    }

    /// Adapts to a claim of up to `limit` threads that brought `claimed`: doubles if the claim was
    /// filled, starts over if it brought nothing.
    pub(in crate::runtime) fn claimed(&mut self, limit: usize, claimed: usize) {
        if limit == 0 {
            return;
        }
        if claimed == 0 {
            self.0 = FIRST;
        } else if claimed >= self.0 {
            self.0 = (self.0 * 2).min(CLAIM_BATCH);
        }
    }

    /// Starts over after the store has failed, so that it is approached gently.
    pub(in crate::runtime) fn failed(&mut self) {
        self.0 = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_claims_double_up_to_the_batch_and_failures_start_over() {
        let mut ramp = Ramp::default();
        let mut sizes = Vec::new();
        for _ in 0..6 {
            sizes.push(ramp.size());
            ramp.claimed(ramp.size(), ramp.size());
        }
        assert_eq!(sizes, [8, 16, 32, 64, 128, 128]);
        ramp.claimed(0, 0);
        ramp.claimed(5, 5);
        ramp.claimed(128, 3);
        assert_eq!(ramp.size(), 128);
        ramp.failed();
        assert_eq!(ramp.size(), FIRST);
        ramp.claimed(8, 8);
        ramp.claimed(16, 0);
        assert_eq!(ramp.size(), FIRST);
    }
}
