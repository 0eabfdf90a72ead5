//! The attempts at one of a step's works: the same for its own work, its fallback and its
//! compensation, whoever holds the attempt.

use serde::{Deserialize, Serialize};

use crate::model::{Failure, Json, Seq, StepStatus, StepWaiting, Timestamp, verbatim};

/// The state of the attempts at a work.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Track {
    /// The number of attempts started so far; the running one has this number.
    pub attempts: u32,
    /// The number of failures since the work was last set going.
    pub failures: u32,
    /// The start of the last attempt since the work was last set going.
    pub attempt_at: Option<Timestamp>,
    /// Its last failure, until it succeeds.
    pub error: Option<Failure>,
    /// The stage of the work.
    pub phase: Phase,
}

/// The stage of a work: before, in, between or after its attempts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// No attempt is under way and none is due: the first one was not started yet, or the last one
    /// was lost or stopped.
    #[default]
    Idle,
    /// An attempt is under way.
    Running {
        /// The holder of the attempt.
        holder: Holder,
        /// Whether it was found to take longer than it should.
        warned: bool,
        /// Whether it has shown no sign of life for long.
        stale: bool,
    },
    /// The last attempt has failed, and the next one is due at this time.
    Backoff(Timestamp),
    /// The last attempt has an output that the work's `check` has blocked, until a person has
    /// decided about it.
    Blocked(BlockedOutput),
    /// The work is done.
    Done {
        /// The `seq` of the event that completed it, which gives the order of completions.
        seq: Seq,
    },
    /// The work has used its attempts.
    Failed {
        /// Whether the thread goes on all the same (`continueOnError`).
        continued: bool,
    },
    /// The work is not done.
    Skipped {
        /// Whether a person has skipped it: steps that depend on it run all the same.
        bypassed: bool,
    },
}

/// The holder of an attempt: it ends with its holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Holder {
    /// The replica that drives the thread: the attempt is lost with it.
    Replica,
    /// Nobody: the attempt is a record that waits, and outlives every replica.
    Nobody {
        /// The time at which the wait ends, if it is bounded.
        until: Option<Timestamp>,
        /// The end that it waits for.
        wants: Wants,
    },
}

/// The end that an attempt which nobody holds waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Wants {
    /// Its time.
    Time,
    /// A signal of this name.
    Signal(String),
    /// A person's decision.
    Decision,
}

/// An output that has not completed its step yet, and the data of its attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockedOutput {
    /// The output.
    #[serde(with = "verbatim")]
    pub output: Json,
    /// The duration of the attempt, in milliseconds.
    pub duration_ms: u64,
    /// The agent session it ran in.
    pub session_id: Option<String>,
}

impl Phase {
    /// Returns the status that a step shows whose work is at this stage.
    pub const fn status(&self) -> StepStatus {
        match self {
            Self::Idle => StepStatus::Pending,
            Self::Running { holder: Holder::Replica, .. } => StepStatus::Running,
            Self::Running { holder: Holder::Nobody { .. }, .. } | Self::Blocked(_) => {
                StepStatus::Waiting
            }
            Self::Backoff(_) => StepStatus::Retrying,
            Self::Done { .. } => StepStatus::Completed,
            Self::Failed { .. } => StepStatus::Failed,
            Self::Skipped { .. } => StepStatus::Skipped,
        }
    }

    const fn is_under_way(&self) -> bool {
        match self {
            Self::Running { .. } | Self::Backoff(_) | Self::Blocked(_) => true,
            Self::Idle | Self::Done { .. } | Self::Failed { .. } | Self::Skipped { .. } => false,
        }
    }
}

impl Track {
    /// Returns whether an attempt is under way that a replica holds.
    pub const fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running { holder: Holder::Replica, .. })
    }

    /// Returns whether its next attempt is due at some time.
    pub const fn is_retrying(&self) -> bool {
        matches!(self.phase, Phase::Backoff(_))
    }

    /// Returns the time at which its retry is due or its wait ends.
    pub const fn wakes_at(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Backoff(due) => Some(due),
            Phase::Running { holder: Holder::Nobody { until, .. }, .. } => until,
            Phase::Idle
            | Phase::Running { holder: Holder::Replica, .. }
            | Phase::Blocked(_)
            | Phase::Done { .. }
            | Phase::Failed { .. }
            | Phase::Skipped { .. } => None,
        }
    }

    /// Returns the name of the signal that it waits for.
    pub fn signal(&self) -> Option<&str> {
        let Phase::Running { holder: Holder::Nobody { wants, .. }, .. } = &self.phase else {
            return None;
        };
        if let Wants::Signal(name) = wants { Some(name) } else { None }
    }

    /// Returns the output that its `check` has blocked.
    pub const fn blocked(&self) -> Option<&BlockedOutput> {
        if let Phase::Blocked(blocked) = &self.phase { Some(blocked) } else { None }
    }

    /// Returns whether the attempt under way was found to take longer than it should.
    pub const fn is_warned(&self) -> bool {
        matches!(self.phase, Phase::Running { warned: true, .. })
    }

    /// Returns whether the attempt under way has shown no sign of life for long.
    pub const fn is_stale(&self) -> bool {
        matches!(self.phase, Phase::Running { stale: true, .. })
    }

    /// Returns the `seq` of the event that completed it.
    pub const fn completed_seq(&self) -> Option<Seq> {
        if let Phase::Done { seq } = self.phase { Some(seq) } else { None }
    }

    /// Begins an attempt, held by the replica until an event says otherwise.
    pub(super) fn begin(&mut self, attempt: u32, at: Timestamp) {
        self.attempts = attempt;
        self.attempt_at = Some(at);
        self.phase = Phase::Running { holder: Holder::Replica, warned: false, stale: false };
    }

    /// Goes on with the attempt as a wait: for a person who decides about its output, or for an end
    /// that nobody here works at.
    pub(super) fn wait(&mut self, data: &StepWaiting) {
        if let Some(output) = data.output.clone() {
            let (duration_ms, session_id) = (data.duration_ms, data.session_id.clone());
            let duration_ms = duration_ms.unwrap_or(0);
            self.phase = Phase::Blocked(BlockedOutput { output, duration_ms, session_id });
            return;
        }
        let wants = match (&data.name, data.reason.as_str()) {
            (Some(name), _) => Wants::Signal(name.clone()),
            (None, StepWaiting::TIMER) => Wants::Time,
            (None, _) => Wants::Decision,
        };
        let holder = Holder::Nobody { until: data.until, wants };
        self.phase = Phase::Running { holder, warned: false, stale: false };
    }

    /// Records that the attempt under way takes longer than it should.
    pub(super) const fn warn(&mut self) {
        if let Phase::Running { warned, .. } = &mut self.phase {
            *warned = true;
        }
    }

    /// Records that the attempt under way shows no sign of life.
    pub(super) const fn doubt(&mut self) {
        if let Phase::Running { stale, .. } = &mut self.phase {
            *stale = true;
        }
    }

    /// Records that the last attempt has failed; it `counts` against the retry policy unless
    /// somebody ended it.
    pub(super) fn fail(&mut self, error: &Failure, phase: Phase, counts: bool) {
        self.failures += u32::from(counts);
        self.error = Some(error.clone());
        self.phase = phase;
    }

    /// Records that the work is done, or that it is not to be done.
    pub(super) fn settle(&mut self, phase: Phase) {
        self.error = None;
        self.phase = phase;
    }

    /// Stops an attempt that is under way or due. The counts of attempts and failures stay.
    pub(super) fn stop(&mut self) {
        if self.phase.is_under_way() {
            self.phase = Phase::Idle;
        }
    }

    /// Loses the attempt that the replica holds, if it holds one.
    pub(super) fn lose(&mut self) {
        if self.is_running() {
            self.phase = Phase::Idle;
        }
    }

    /// Goes back to before the first attempt; the numbers of attempts go on.
    pub(super) fn begin_again(&mut self) {
        *self = Self { attempts: self.attempts, ..Self::default() };
    }
}
