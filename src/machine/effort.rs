//! Estimates the work of a decision before it is made.
//!
//! A decision runs conditions, checks and templates that clients wrote, over data of theirs. Called
//! by the runtime, which makes large decisions apart from everything else.

use super::{Command, Report, Request, Resume, StepState, ThreadState};
use crate::definition::Work;
use crate::model::{Json, StepStatus};

/// The size of data beyond which a decision is large, in bytes, whatever is evaluated over them:
/// reading them once may take a millisecond.
const LARGE_DATA: usize = 64 * 1024;
/// The work of conditions and checks beyond which a decision is large, in units of about a tenth of
/// a microsecond.
const LARGE_WORK: u64 = 10_000;
/// The number of dependencies in a workflow beyond which the decision on a request is large: it may
/// follow each of them some times.
const LARGE_GRAPH: usize = 10_000;

impl ThreadState {
    /// Returns the bytes of data that conditions, checks and templates can read.
    pub fn data_bytes(&self) -> usize {
        let outputs = self.steps.iter().filter_map(|step| step.output.as_ref());
        outputs.map(|output| output.as_str().len()).sum::<usize>() + self.input.as_str().len()
    }

    /// Returns whether conditions, checks and templates may read more than a moment's worth of
    /// data.
    pub fn is_large(&self) -> bool {
        self.data_bytes() > LARGE_DATA
    }

    /// Returns whether deciding a command may take longer than a moment.
    pub fn takes_long(&self, command: &Command) -> bool {
        let told = match command {
            Command::Attempt { report: Report::Done { output, .. }, .. } => output.as_str().len(),
            Command::Attempt { .. }
            | Command::Advance
            | Command::Recover(_)
            | Command::Quarantine { .. }
            | Command::Condemn { .. } => 0,
            Command::Request(ask, _) => ask.data().map_or(0, |data| data.as_str().len()),
        };
        let bytes = self.data_bytes() + told;
        let dependencies = || self.plan.steps.iter().map(|step| step.depends_on.len());
        let asked = matches!(command, Command::Request(..));
        if bytes > LARGE_DATA || (asked && dependencies().sum::<usize>() > LARGE_GRAPH) {
            return true;
        }
        let open = |step: &StepState| {
            matches!(step.status(), StepStatus::Pending | StepStatus::Running | StepStatus::Waiting)
        };
        let steps = self.plan.steps.iter().zip(&self.steps).filter(|(_, state)| open(state));
        let work = steps.map(|(planned, state)| {
            let when = planned.when.as_ref().map_or(0, |when| when.effort(bytes));
            let check = planned.work(state.work()).check.as_ref();
            when.saturating_add(check.map_or(0, |check| check.effort(bytes)))
        });
        work.fold(0_u64, u64::saturating_add) > LARGE_WORK
    }
}

impl Command {
    /// Returns whether deciding the command for a thread in this state may use
    /// [`super::DecisionContext::unit`]: a failed attempt draws the time of the next one, and a `check` may
    /// find that an attempt has failed.
    pub fn draws(&self, state: &ThreadState) -> bool {
        match self {
            Self::Attempt { report: Report::Failed { .. }, .. } => true,
            Self::Attempt { attempt, report: Report::Done { .. } } => {
                let judged = attempt.work != Work::Compensation;
                judged && state.plan.steps[attempt.step].work(attempt.work).check.is_some()
            }
            Self::Advance
            | Self::Recover(_)
            | Self::Quarantine { .. }
            | Self::Condemn { .. }
            | Self::Attempt { report: Report::Slow | Report::Stale { .. }, .. }
            | Self::Request(..) => false,
        }
    }
}

impl Request {
    /// Returns the data that the request brings.
    const fn data(&self) -> Option<&Json> {
        match self {
            Self::Resume(Resume { input, .. }) => input.as_ref(),
            Self::Skip { output, .. } => output.as_ref(),
            Self::Edit { output, .. } | Self::Signal { payload: output, .. } => Some(output),
            Self::Pause | Self::Abort(_) | Self::Retry { .. } | Self::Resolve { .. } => None,
        }
    }
}
