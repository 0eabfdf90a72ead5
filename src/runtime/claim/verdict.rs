//! Judges a claimed thread: what happened to it, and what is to be done.
//!
//! Pure: `adopt` and `recoveries` gather the evidence and act on the verdict.

use crate::model::{Incarnation, RecoveryCause};
use crate::store::Loss;

/// The losses beyond the limit after which a thread must rest before its next load: by then loading
/// or pausing it is what seems to kill the process.
pub(in crate::runtime) const LOADS_AFTER_LIMIT: u32 = 2;

/// The evidence about a claimed thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::runtime) struct Evidence {
    /// The incarnation that drove it before; 0 is nobody.
    pub(in crate::runtime) previous_owner: Incarnation,
    /// How that replica was lost, as far as the store can tell.
    pub(in crate::runtime) loss: Option<Loss>,
    /// Set if the thread's stored records are damaged.
    pub(in crate::runtime) damaged: bool,
    /// Set if its journal has an attempt under way.
    pub(in crate::runtime) under_way: bool,
}

/// Returns why a thread needs recovery; `None` if it does not and is only due.
pub(in crate::runtime) const fn judge(evidence: Evidence) -> Option<RecoveryCause> {
    let Evidence { previous_owner, loss, damaged, under_way } = evidence;
    match (damaged, previous_owner, loss) {
        (true, _, _) => Some(RecoveryCause::Corrupted),
        (false, 0, _) if under_way => Some(RecoveryCause::Handover),
        (false, 0, _) => None,
        (false, _, Some(Loss::SessionEnded)) => Some(RecoveryCause::Crashed),
        (false, _, Some(Loss::Frozen)) => Some(RecoveryCause::Frozen),
        (false, _, Some(Loss::Silent) | None) => Some(RecoveryCause::Disconnected),
    }
}

/// The next action for a thread, by its losses since its last progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::runtime) enum Remedy {
    /// Drive it.
    GoOn,
    /// Drive it once a place for suspects is free.
    Isolate,
    /// Pause it and ask a person.
    Quarantine,
    /// Defer it for a long time, then quarantine it: loading it seems to kill.
    LeaveAlone,
}

/// The losses of a thread since its last progress, and details of the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::runtime) struct Losses {
    /// The number of losses.
    pub(in crate::runtime) count: u32,
    /// Set if nobody drove it last: it was deferred, waited for a place, or was handed back.
    pub(in crate::runtime) rested: bool,
    /// Set if the lost replica had driven it, not only claimed it.
    pub(in crate::runtime) driven: bool,
}

/// Returns the remedy; `limit` is `RETHREAD_MAX_RECOVERIES`. A thread that the lost replica had not
/// driven is allowed one more loss: it may have waited beside the culprit. After a rest, only its
/// journal tells how it was lost, so `limit` holds.
pub(in crate::runtime) const fn remedy(losses: Losses, limit: u32) -> Remedy {
    let Losses { count, rested, driven } = losses;
    let allowed = if driven || rested { limit } else { limit.saturating_add(1) };
    if count == 0 {
        Remedy::GoOn
    } else if count <= allowed {
        Remedy::Isolate
    } else if rested || count <= limit.saturating_add(LOADS_AFTER_LIMIT) {
        Remedy::Quarantine
    } else {
        Remedy::LeaveAlone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOST: Evidence =
        Evidence { previous_owner: 7, loss: None, damaged: false, under_way: true };

    #[test]
    fn the_cause_follows_from_what_is_known_of_the_lost_replica() {
        for (loss, cause) in [
            (Some(Loss::SessionEnded), RecoveryCause::Crashed),
            (Some(Loss::Frozen), RecoveryCause::Frozen),
            (Some(Loss::Silent), RecoveryCause::Disconnected),
            (None, RecoveryCause::Disconnected),
        ] {
            assert_eq!(judge(Evidence { loss, ..LOST }), Some(cause));
            assert_eq!(judge(Evidence { loss, under_way: false, ..LOST }), Some(cause));
        }
    }

    #[test]
    fn what_nobody_drove_was_handed_over_or_is_simply_due() {
        let free = Evidence { previous_owner: 0, ..LOST };
        assert_eq!(judge(free), Some(RecoveryCause::Handover));
        assert_eq!(judge(Evidence { under_way: false, ..free }), None);
    }

    #[test]
    fn damage_outweighs_everything_else() {
        let damaged = Evidence { damaged: true, ..LOST };
        assert_eq!(judge(damaged), Some(RecoveryCause::Corrupted));
        let free = Evidence { previous_owner: 0, under_way: false, ..damaged };
        assert_eq!(judge(free), Some(RecoveryCause::Corrupted));
    }

    fn driven(count: u32) -> Losses {
        Losses { count, rested: false, driven: true }
    }

    #[test]
    fn a_thread_is_quarantined_only_after_the_losses_that_are_allowed() {
        let remedies: Vec<Remedy> = (0..=5).map(|count| remedy(driven(count), 2)).collect();
        assert_eq!(
            remedies,
            [
                Remedy::GoOn,
                Remedy::Isolate,
                Remedy::Isolate,
                Remedy::Quarantine,
                Remedy::Quarantine,
                Remedy::LeaveAlone
            ]
        );
        let waited = |count| Losses { driven: false, ..driven(count) };
        let waited: Vec<Remedy> = (2..=5).map(|count| remedy(waited(count), 2)).collect();
        assert_eq!(
            waited,
            [Remedy::Isolate, Remedy::Isolate, Remedy::Quarantine, Remedy::LeaveAlone]
        );
        let rested = |count| Losses { count, rested: true, driven: false };
        let rested: Vec<Remedy> = (2..=5).map(|count| remedy(rested(count), 2)).collect();
        assert_eq!(
            rested,
            [Remedy::Isolate, Remedy::Quarantine, Remedy::Quarantine, Remedy::Quarantine],
            "it was left alone, though not for ever, nor is it let off for having rested"
        );
    }
}
