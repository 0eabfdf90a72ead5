//! Finds the thread that kills its process among those that only shared the process.
//!
//! Every thread driven by a lost replica is a suspect until it makes progress. The more often a
//! suspect was lost, the fewer suspects like it run side by side. Each loss shrinks that group
//! eightfold, so that before its last allowed loss a suspect is alone in it. If it is lost again,
//! it was the only one there; the innocent ones make progress meanwhile. Suspects that must wait
//! are released, so that losing the replica does not count against them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::model::lock;

/// The factor by which a group may be larger for each loss left to it. The culprit is found in few
/// steps, and a first loss (8⁴ side by side at the default limit) slows nobody down.
const WIDTH: usize = 8;

/// The suspects that are driven here, counted by how often each was lost.
#[derive(Debug)]
pub(in crate::runtime) struct Suspects {
    limit: u32,
    running: Mutex<BTreeMap<u32, usize>>,
}

impl Suspects {
    /// `limit` is how often a thread may be lost without progress.
    pub(in crate::runtime) fn new(limit: u32) -> Self {
        Self { limit, running: Mutex::default() }
    }

    /// Takes a place for a suspect that was lost `losses` times, if there is one.
    pub(in crate::runtime) fn enter(self: &Arc<Self>, losses: u32) -> Option<Probation> {
        // A panic under the lock cannot leave the map half changed.
        let mut running = lock(&self.running);
        let crowded = (1..=losses).any(|level| {
            let like = running.range(level..).map(|(_, count)| count).sum::<usize>();
            like >= width(self.limit.saturating_sub(level))
        });
        if crowded {
            return None;
        }
        *running.entry(losses).or_default() += 1;
        Some(Probation { suspects: Arc::clone(self), losses })
    }
}

/// Returns how many suspects with `left` losses left may run side by side.
fn width(left: u32) -> usize {
    WIDTH.checked_pow(left).unwrap_or(usize::MAX)
}

/// Counts a suspect as driven until this is dropped.
#[derive(Debug)]
pub(in crate::runtime) struct Probation {
    suspects: Arc<Suspects>,
    losses: u32,
}

impl Drop for Probation {
    fn drop(&mut self) {
        let mut running = lock(&self.suspects.running);
        if let Some(count) = running.get_mut(&self.losses) {
            *count -= 1;
            if *count == 0 {
                running.remove(&self.losses);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_loss_that_is_allowed_is_risked_alone_among_its_like() {
        let suspects = Arc::new(Suspects::new(5));
        let fresh: Vec<Probation> = (0..100).map(|_| suspects.enter(1).unwrap()).collect();
        let last = suspects.enter(5).unwrap();
        assert!(suspects.enter(5).is_none());
        let before: Vec<Probation> = (0..7).map(|_| suspects.enter(4).unwrap()).collect();
        assert!(suspects.enter(4).is_none(), "eight of the last two losses");
        drop(last);
        assert!(suspects.enter(4).is_some());
        drop((fresh, before));
        assert!(suspects.running.lock().unwrap().is_empty());
    }

    #[test]
    fn a_limit_of_one_loss_isolates_at_once() {
        let suspects = Arc::new(Suspects::new(1));
        let first = suspects.enter(1).unwrap();
        assert!(suspects.enter(1).is_none());
        drop(first);
        assert!(suspects.enter(1).is_some());
    }

    /// One of a thousand threads kills its process just after each start, so that the others make
    /// no progress beside it. In any order, only the culprit is lost too often.
    #[test]
    fn only_the_culprit_is_lost_more_often_than_is_allowed() {
        const LIMIT: u32 = 5;
        const CULPRIT: usize = 321;
        let mut losses = vec![0_u32; 1_000];
        for round in 0..10_000 {
            let suspects = Arc::new(Suspects::new(LIMIT));
            let mut places = Vec::new();
            // A different order in every life of the process.
            for at in 0..losses.len() {
                let thread = (at * 7 + round * 13) % losses.len();
                let place = (losses[thread] > 0).then(|| suspects.enter(losses[thread]));
                if !matches!(place, Some(None)) {
                    places.push((thread, place));
                }
            }
            // If the culprit is among them all are lost, otherwise all make progress.
            if !places.iter().any(|(thread, _)| *thread == CULPRIT) {
                for (thread, _) in &places {
                    losses[*thread] = 0;
                }
                continue;
            }
            for (thread, _) in &places {
                losses[*thread] += 1;
            }
            let too_often: Vec<usize> =
                (0..losses.len()).filter(|thread| losses[*thread] > LIMIT).collect();
            if !too_often.is_empty() {
                assert_eq!(too_often, [CULPRIT], "round {round}");
                return;
            }
        }
        panic!("the culprit was never found");
    }
}
