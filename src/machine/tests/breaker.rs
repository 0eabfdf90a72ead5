//! The circuit breaker: its turns, and properties of any history.

use std::time::Duration;

use proptest::prelude::*;

use crate::machine::breaker::{
    Breaker, CircuitState, Hindrance, MAX_COOL_DOWN, Permit, Refusal, Sign,
};
use crate::model::BreakerPolicy;

const POLICY: BreakerPolicy =
    BreakerPolicy { failure_threshold: 3, reset_timeout: Duration::from_mins(1) };
/// A patience longer than any cool-down.
const PATIENT: Duration = Duration::from_hours(1);

const fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A breaker that opened at the given second.
fn opened(second: u64) -> Breaker {
    let mut breaker = Breaker::default();
    for _ in 0..POLICY.failure_threshold {
        let permit = breaker.ask(at(second), POLICY, PATIENT).unwrap();
        breaker.end(permit, Sign::Failing, at(second), POLICY);
    }
    breaker
}

fn refused(breaker: &mut Breaker, second: u64) -> Refusal {
    breaker.ask(at(second), POLICY, PATIENT).unwrap_err()
}

#[test]
fn failures_in_a_row_open_it_and_a_success_between_them_starts_the_row_anew() {
    let mut breaker = Breaker::default();
    for (sign, state, failures) in [
        (Sign::Failing, CircuitState::Closed, 1),
        (Sign::Failing, CircuitState::Closed, 2),
        (Sign::Alive, CircuitState::Closed, 0),
        (Sign::Failing, CircuitState::Closed, 1),
        // A call without evidence about the target leaves the row of failures as it is.
        (Sign::None, CircuitState::Closed, 1),
        (Sign::Failing, CircuitState::Closed, 2),
        (Sign::Failing, CircuitState::Open, 3),
    ] {
        let permit = breaker.ask(at(1), POLICY, PATIENT).unwrap();
        breaker.end(permit, sign, at(1), POLICY);
        assert_eq!((breaker.state(at(1)), breaker.failures()), (state, failures));
    }
    assert_eq!(breaker.opened_at(), Some(at(1)));
    assert_eq!(refused(&mut breaker, 60), Refusal { why: Hindrance::Open, until: at(61) });
}

#[test]
fn one_probe_is_let_through_and_its_success_closes_it() {
    let mut breaker = opened(0);
    assert_eq!(breaker.state(at(60)), CircuitState::HalfOpen);
    let probe = breaker.ask(at(60), POLICY, PATIENT).unwrap();
    assert_eq!(refused(&mut breaker, 61), Refusal { why: Hindrance::Probing, until: at(120) });
    breaker.end(probe, Sign::Alive, at(62), POLICY);
    assert_eq!((breaker.state(at(62)), breaker.failures()), (CircuitState::Closed, 0));
    assert!(breaker.ask(at(62), POLICY, PATIENT).is_ok());
}

#[test]
fn a_probe_that_fails_opens_it_again_for_as_long() {
    let mut breaker = opened(0);
    let probe = breaker.ask(at(70), POLICY, PATIENT).unwrap();
    breaker.end(probe, Sign::Failing, at(75), POLICY);
    assert_eq!(refused(&mut breaker, 134), Refusal { why: Hindrance::Open, until: at(135) });
    assert_eq!((breaker.failures(), breaker.opened_at()), (4, Some(at(0))));
    assert!(breaker.ask(at(135), POLICY, PATIENT).is_ok());
}

#[test]
fn a_probe_that_is_cancelled_gives_its_place_back() {
    let mut breaker = opened(0);
    let probe = breaker.ask(at(60), POLICY, PATIENT).unwrap();
    breaker.end(probe, Sign::None, at(61), POLICY);
    assert!(breaker.ask(at(61), POLICY, PATIENT).is_ok());
    assert_eq!(refused(&mut breaker, 61).why, Hindrance::Probing);
}

#[test]
fn a_probe_that_hangs_loses_its_place_and_still_closes_it_if_it_succeeds() {
    let mut breaker = opened(0);
    let slow = breaker.ask(at(60), POLICY, PATIENT).unwrap();
    let next = breaker.ask(at(120), POLICY, PATIENT).unwrap();
    // The failure of the replaced probe says nothing any more: the next one is under way.
    let before = breaker.clone();
    let mut other = breaker.clone();
    other.end(slow, Sign::Failing, at(121), POLICY);
    assert_eq!(other, before);
    breaker.end(next, Sign::Failing, at(122), POLICY);
    breaker.end(slow, Sign::Alive, at(123), POLICY);
    assert_eq!(breaker.state(at(123)), CircuitState::Closed);
}

#[test]
fn what_was_let_through_before_it_opened_says_nothing_afterwards() {
    let mut breaker = Breaker::default();
    let permits: Vec<Permit> =
        (0..9).map(|_| breaker.ask(at(0), POLICY, PATIENT).unwrap()).collect();
    for permit in &permits[..3] {
        breaker.end(*permit, Sign::Failing, at(1), POLICY);
    }
    let open = breaker.clone();
    breaker.end(permits[3], Sign::Failing, at(5), POLICY);
    breaker.end(permits[4], Sign::Alive, at(5), POLICY);
    assert_eq!(breaker, open);
    let probe = breaker.ask(at(61), POLICY, PATIENT).unwrap();
    breaker.end(probe, Sign::Alive, at(61), POLICY);
    for permit in &permits[5..] {
        breaker.end(*permit, Sign::Failing, at(62), POLICY);
    }
    assert_eq!((breaker.state(at(62)), breaker.failures()), (CircuitState::Closed, 0));
}

#[test]
fn a_target_that_asks_for_it_is_left_alone_as_long_as_the_caller_has_patience() {
    let mut breaker = Breaker::default();
    breaker.cool_down(at(0), at(30));
    // A shorter cool-down does not shorten the current one.
    breaker.cool_down(at(1), at(5));
    assert_eq!(breaker.cools_until(at(1)), Some(at(30)));
    assert_eq!(refused(&mut breaker, 29), Refusal { why: Hindrance::Cooling, until: at(30) });
    assert!(breaker.ask(at(10), POLICY, at(10)).is_ok());
    assert!(breaker.ask(at(30), POLICY, PATIENT).is_ok());
    breaker.cool_down(at(40), Duration::from_hours(24));
    assert_eq!(breaker.cools_until(at(40)), Some(at(40) + MAX_COOL_DOWN));
}

/// An act on a breaker.
#[derive(Debug, Clone, Copy)]
enum Act {
    Pass(u64),
    Request,
    /// One of the calls under way ends.
    End(usize, Sign),
}

fn act() -> impl Strategy<Value = Act> {
    let sign = prop_oneof![1 => Just(Sign::Alive), 3 => Just(Sign::Failing), 1 => Just(Sign::None)];
    prop_oneof![
        3 => (0_u64..40).prop_map(Act::Pass),
        4 => Just(Act::Request),
        5 => (any::<usize>(), sign).prop_map(|(which, sign)| Act::End(which, sign)),
    ]
}

/// A second account of the rules, kept from the history of one breaker and nothing else.
#[derive(Debug, Default)]
struct Account {
    /// Failures in a row of the calls that were let through since it closed.
    row: u32,
    /// The time until which it is open.
    open_until: Option<u64>,
    /// The number of the probe under way, and the time from which it may be replaced.
    probe: Option<(usize, u64)>,
    /// The number of the first call since it opened or closed.
    since: usize,
}

proptest! {
    #[test]
    fn any_history_keeps_the_rules_and_a_second_telling_ends_the_same(
        acts in proptest::collection::vec(act(), 1..200),
    ) {
        let (mut breaker, mut twin) = (Breaker::default(), Breaker::default());
        let mut account = Account::default();
        let mut now = 0;
        let mut calls: Vec<Permit> = Vec::new();
        let mut under_way: Vec<usize> = Vec::new();
        for act in acts {
            match act {
                Act::Pass(seconds) => now += seconds,
                Act::Request => {
                    let answer = breaker.ask(at(now), POLICY, PATIENT);
                    prop_assert_eq!(answer, twin.ask(at(now), POLICY, PATIENT));
                    let too_early = account.open_until.is_some_and(|until| now < until);
                    let probing = account.probe.is_some_and(|(_, until)| now < until);
                    prop_assert_eq!(answer.is_err(), too_early || probing, "{:?}", account);
                    if let Ok(permit) = answer {
                        if account.open_until.is_some() {
                            account.probe = Some((calls.len(), now + 60));
                        }
                        under_way.push(calls.len());
                        calls.push(permit);
                    } else if let Err(refusal) = answer {
                        // Just before the moment that it names, the breaker refuses in the same
                        // way.
                        let early = refusal.until.saturating_sub(Duration::from_millis(1));
                        let again = breaker.clone().ask(early, POLICY, PATIENT);
                        prop_assert_eq!(again, Err(refusal));
                    }
                }
                Act::End(which, sign) => {
                    let Some(index) = which.checked_rem(under_way.len()) else { continue };
                    let call = under_way.swap_remove(index);
                    breaker.end(calls[call], sign, at(now), POLICY);
                    twin.end(calls[call], sign, at(now), POLICY);
                    account.end(call, sign, now, calls.len());
                }
            }
            prop_assert_eq!(&breaker, &twin);
            let state = match account.open_until {
                None => CircuitState::Closed,
                Some(until) if now < until => CircuitState::Open,
                Some(_) => CircuitState::HalfOpen,
            };
            prop_assert_eq!(breaker.state(at(now)), state);
            if account.open_until.is_none() {
                prop_assert_eq!(breaker.failures(), account.row);
            }
        }
    }
}

impl Account {
    fn end(&mut self, call: usize, sign: Sign, now: u64, made: usize) {
        if call < self.since {
            return;
        }
        match (self.open_until, sign) {
            (_, Sign::Alive) => {
                if self.open_until.is_some() {
                    self.since = made;
                }
                (self.row, self.open_until, self.probe) = (0, None, None);
            }
            (None, Sign::Failing) => {
                self.row += 1;
                if self.row >= POLICY.failure_threshold {
                    (self.open_until, self.since) = (Some(now + 60), made);
                }
            }
            (Some(_), Sign::Failing | Sign::None) => {
                if self.probe.is_some_and(|(probe, _)| probe == call) {
                    self.probe = None;
                    if sign == Sign::Failing {
                        self.open_until = Some(now + 60);
                    }
                }
            }
            (None, Sign::None) => {}
        }
    }
}
