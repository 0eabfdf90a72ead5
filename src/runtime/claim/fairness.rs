//! The turns of namespaces in claims. Due threads are claimed oldest first, so that thousands of one
//! namespace would stand before those of all others. Only the dispatcher uses this.

use std::time::Duration;

use crate::model::Namespace;
use crate::store::Claimed;

/// The pause after a claim that left namespaces out, as a multiple of the time that it took beyond
/// that of other claims: it may have passed over a million due threads to find none of anybody else.
const PAUSE: u32 = 9;
/// The longest such pause: no namespace waits much longer behind another one.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The namespace that the next claim leaves out, and when one may leave out any.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Fairness {
    crowd: Option<Namespace>,
    /// On the monotonic clock.
    next: Duration,
    /// The time that the last claim took that left out none.
    usual: Duration,
}

impl Fairness {
    /// Returns whether a claim may leave out namespaces now.
    pub(in crate::runtime) fn may_leave_out(&self, now: Duration) -> bool {
        now >= self.next
    }

    /// Returns the namespace whose turn is over, if the last claim told one and a claim may leave
    /// it out now.
    pub(in crate::runtime) fn crowd(&mut self, now: Duration) -> Option<Namespace> {
        self.crowd.take_if(|_| now >= self.next)
    }

    /// Notes when a claim began and ended that left out namespaces, or none.
    pub(in crate::runtime) fn claimed(
        &mut self,
        leaves_out: bool,
        (began, ended): (Duration, Duration),
    ) {
        let took = ended.saturating_sub(began);
        if leaves_out {
            let pause = took.saturating_sub(self.usual).saturating_mul(PAUSE).min(LONGEST_PAUSE);
            self.next = ended.saturating_add(pause);
        } else {
            self.usual = took;
        }
    }

    /// Notes a claim that brought as many threads as it might: if most of them are of one
    /// namespace, the next turn is that of the others.
    pub(in crate::runtime) fn filled(&mut self, claimed: &[Claimed]) {
        self.crowd = majority(claimed);
    }
}

/// Returns the namespace that has more than half of the threads, if there is one.
fn majority(claimed: &[Claimed]) -> Option<Namespace> {
    let mut spaces: Vec<_> = claimed.iter().map(|one| one.thread_id.namespace()).collect();
    spaces.sort();
    // Whoever has more than half is in the middle.
    let middle = spaces.get(spaces.len() / 2)?;
    let held = spaces.iter().filter(|one| *one == middle).count();
    (held * 2 > spaces.len()).then(|| middle.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ThreadId;

    fn claimed(spaces: &[&str]) -> Vec<Claimed> {
        let claim = |(number, space): (usize, &&str)| Claimed {
            thread_id: ThreadId::within(&Namespace::parse(space).unwrap(), &format!("t{number}"))
                .unwrap(),
            epoch: 1,
            last_seq: 1,
            claims: 0,
            previous_owner: 0,
            mail: 0,
            lost: None,
            driven: false,
        };
        spaces.iter().enumerate().map(claim).collect()
    }

    #[test]
    fn whoever_has_most_of_a_full_claim_is_left_out_of_the_next_one() {
        let mut fairness = Fairness::default();
        let crowd = Namespace::parse("b").unwrap();
        for (spaces, told) in [
            (&["a", "b"][..], None),
            (&[], None),
            (&["b"], Some(&crowd)),
            (&["b", "a", "b"], Some(&crowd)),
            (&["a", "b", "c"], None),
            (&["a", "b", "b", "c"], None),
        ] {
            fairness.filled(&claimed(spaces));
            assert_eq!(fairness.crowd(Duration::ZERO).as_ref(), told, "{spaces:?}");
            assert_eq!(fairness.crowd(Duration::ZERO), None, "once");
        }
    }

    #[test]
    fn claims_that_leave_out_namespaces_take_a_small_part_of_the_time() {
        let (mut fairness, ms) = (Fairness::default(), Duration::from_millis);
        fairness.claimed(false, (ms(90), ms(100)));
        assert!(fairness.may_leave_out(ms(100)));
        fairness.claimed(true, (ms(100), ms(115)));
        assert!(!fairness.may_leave_out(ms(159)) && fairness.may_leave_out(ms(160)));
        fairness.filled(&claimed(&["a"]));
        assert_eq!(fairness.crowd(ms(159)), None);
        assert!(fairness.crowd(ms(160)).is_some(), "it is not forgotten meanwhile");
        fairness.claimed(true, (ms(0), ms(9_000)));
        assert!(!fairness.may_leave_out(ms(10_999)) && fairness.may_leave_out(ms(11_000)));
        fairness.claimed(true, (ms(11_000), ms(11_009)));
        assert!(fairness.may_leave_out(ms(11_009)), "it took no longer than another one");
    }
}
