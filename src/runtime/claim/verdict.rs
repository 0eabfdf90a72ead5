//! Tells why a claimed thread has to be recovered.
//!
//! Pure: `adopt` and `recoveries` gather the evidence.

use crate::model::{Incarnation, RecoveryCause};
use crate::store::Loss;

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
}
