//! A circuit breaker: allows or refuses calls to one target by the results of earlier calls.
//!
//! Pure, like all of `machine`: it reads no clock and waits for nothing; the caller passes the time
//! (since a fixed point, never backwards). Enough failures in a row open the circuit. After the
//! reset timeout it is half-open: one probe is let through, and its outcome closes or reopens the
//! circuit. Independently, a target that asks for a pause gets no calls for a while. `runtime`
//! keeps a breaker for each target and policy of a replica and asks it before every attempt.

use std::time::Duration;

use crate::model::BreakerPolicy;

/// The longest pause that a target can ask for: one answer must not stop the threads of a replica
/// for a day.
pub const MAX_COOL_DOWN: Duration = Duration::from_mins(5);

/// A circuit breaker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Breaker {
    phase: Phase,
    /// The start and the length of the pause that the target asked for.
    cooling: Option<(Duration, Duration)>,
    /// The number of times it opened or closed. Results of calls let through before that are
    /// ignored: they say nothing about the target now.
    episode: u64,
    /// The number of probes so far, which tells a replaced probe from its successors.
    probes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Closed { failures: u32 },
    Open { failures: u32, since: Duration, until: Duration, probe: Option<Probe> },
}

impl Default for Phase {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

/// The call that finds out whether the target is back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Probe {
    number: u64,
    /// The time from which another probe may replace this one: a probe that hangs must not keep the
    /// circuit open for ever.
    until: Duration,
}

/// The state of a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CircuitState {
    /// It lets calls through.
    Closed,
    /// It lets one probe through.
    HalfOpen,
    /// It lets none through.
    Open,
}

impl CircuitState {
    /// Returns the state as the health report and metrics name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// A call that was let through; its outcome is reported with [`Breaker::end`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit {
    episode: u64,
    probe: Option<u64>,
}

/// The reason for which a call was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hindrance {
    /// The circuit is open.
    Open,
    /// The circuit is half-open, and its probe is under way.
    Probing,
    /// The target asked for a pause.
    Cooling,
}

/// The refusal of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub why: Hindrance,
    /// The time until which calls are refused, as things stand.
    pub until: Duration,
}

/// The evidence that a call gives about its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// The target answers.
    Alive,
    /// The target failed, or did not answer.
    Failing,
    /// No evidence: the call was cancelled, or never reached the target.
    None,
}

impl Breaker {
    /// Asks for a permit to make a call. `patience` is the longest pause that the caller accepts if
    /// the target asked for one.
    pub fn ask(
        &mut self,
        now: Duration,
        policy: BreakerPolicy,
        patience: Duration,
    ) -> Result<Permit, Refusal> {
        let refuse = |why, until| Err(Refusal { why, until });
        if let Some((since, length)) = self.cooling {
            let until = since.saturating_add(length.min(patience));
            if now < until {
                return refuse(Hindrance::Cooling, until);
            }
        }
        let Phase::Open { until, probe, .. } = &mut self.phase else {
            return Ok(Permit { episode: self.episode, probe: None });
        };
        if now < *until {
            return refuse(Hindrance::Open, *until);
        }
        match probe {
            Some(probe) if now < probe.until => refuse(Hindrance::Probing, probe.until),
            free => {
                self.probes += 1;
                let number = self.probes;
                *free = Some(Probe { number, until: now.saturating_add(policy.reset_timeout) });
                Ok(Permit { episode: self.episode, probe: Some(number) })
            }
        }
    }

    /// Records the outcome of a call that was let through.
    pub fn end(&mut self, permit: Permit, sign: Sign, now: Duration, policy: BreakerPolicy) {
        if permit.episode != self.episode {
            return;
        }
        match &mut self.phase {
            Phase::Closed { failures } => match sign {
                Sign::Alive => *failures = 0,
                Sign::None => {}
                Sign::Failing => {
                    *failures = failures.saturating_add(1);
                    if *failures >= policy.failure_threshold {
                        let (failures, until) =
                            (*failures, now.saturating_add(policy.reset_timeout));
                        self.turn(Phase::Open { failures, since: now, until, probe: None });
                    }
                }
            },
            Phase::Open { failures, until, probe, .. } => {
                let current = probe.is_some_and(|probe| permit.probe == Some(probe.number));
                match sign {
                    // A replaced probe that succeeds counts too: the target answers.
                    Sign::Alive => self.turn(Phase::default()),
                    Sign::Failing if current => {
                        *failures = failures.saturating_add(1);
                        *until = now.saturating_add(policy.reset_timeout);
                        *probe = None;
                    }
                    Sign::None if current => *probe = None,
                    Sign::Failing | Sign::None => {}
                }
            }
        }
    }

    /// Refuses calls for `length`, at most [`MAX_COOL_DOWN`].
    pub fn cool_down(&mut self, now: Duration, length: Duration) {
        let length = length.min(MAX_COOL_DOWN);
        let ends = |(since, length): (Duration, Duration)| since.saturating_add(length);
        if self.cooling.is_none_or(|cooling| ends(cooling) < ends((now, length))) {
            self.cooling = Some((now, length));
        }
    }

    fn turn(&mut self, phase: Phase) {
        self.phase = phase;
        self.episode += 1;
    }

    /// Returns the state of the circuit now.
    pub fn state(&self, now: Duration) -> CircuitState {
        match &self.phase {
            Phase::Closed { .. } => CircuitState::Closed,
            Phase::Open { until, .. } if now < *until => CircuitState::Open,
            Phase::Open { .. } => CircuitState::HalfOpen,
        }
    }

    /// Returns the number of failures in a row.
    pub const fn failures(&self) -> u32 {
        match &self.phase {
            Phase::Closed { failures } | Phase::Open { failures, .. } => *failures,
        }
    }

    /// Returns when the circuit opened; `None` if it is closed.
    pub const fn opened_at(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Closed { .. } => None,
            Phase::Open { since, .. } => Some(*since),
        }
    }

    /// Returns when the circuit becomes, or became, half-open; `None` if it is closed.
    pub const fn retry_at(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Closed { .. } => None,
            Phase::Open { until, .. } => Some(*until),
        }
    }

    /// Returns the end of the pause that the target asked for; `None` without one or after it.
    pub fn cools_until(&self, now: Duration) -> Option<Duration> {
        let (since, length) = self.cooling?;
        Some(since.saturating_add(length)).filter(|until| now < *until)
    }
}
