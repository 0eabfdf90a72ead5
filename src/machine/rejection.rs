//! The reasons for which the machine refuses a command.

use serde::{Deserialize, Serialize};

use crate::model::{StepId, StepStatus, ThreadStatus};

/// The reason for which a command was refused. A refused command changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}", self.sentence("changed"))]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// The attempt of a report is not the current one: the report is a duplicate, or too late.
    NotCurrent,
    /// The thread's status does not allow it.
    WrongState(ThreadStatus),
    /// The workflow has no such step.
    NoStep(StepId),
    /// The step's status does not allow it.
    WrongStep(StepId, StepStatus),
    /// The thread has no such intervention.
    NoIntervention,
    /// The intervention was decided already.
    Resolved {
        /// The choice.
        choice: String,
        /// The name of the actor who made it.
        by: String,
    },
    /// The thread has completed no step that is still to be undone.
    NothingToCompensate,
    /// The thread was paused while it was being undone.
    Compensating,
    /// The intervention's digest is not that of the question that was seen.
    OtherDigest(Option<String>),
    /// The thread has as many untaken signals as it may.
    TooManySignals,
    /// The intervention does not offer this choice.
    NoSuchChoice(Vec<String>),
    /// The request would answer an approval that somebody else has to answer.
    NotAnApprover(String),
}

impl Rejection {
    /// Says why a thread cannot be `action`, a participle: `resumed`, `aborted`, `deleted`.
    pub fn sentence(&self, action: &str) -> String {
        match self {
            Self::NotCurrent => "the attempt is not current any more".to_owned(),
            Self::WrongState(status) => {
                let (word, instead) = (status.as_str(), instead(*status, action));
                format!("a thread that is {word} cannot be {action}{instead}")
            }
            Self::NoStep(step) => format!("the workflow has no step {step}"),
            Self::WrongStep(step, status) => {
                format!("step {step} is {}: it cannot be {action}", status.as_str())
            }
            Self::NoIntervention => "no such intervention".to_owned(),
            Self::Resolved { choice, by } => {
                format!("it was decided already: {by} chose {choice}")
            }
            Self::NothingToCompensate => {
                "the thread has no completed step that is still to be compensated".to_owned()
            }
            Self::Compensating => format!(
                "the thread was paused while its steps were being compensated, and cannot be \
                 {action}: resume it as it is, or abort it first"
            ),
            Self::OtherDigest(digest) => format!(
                "the intervention is about something else than what was seen: its digest is {}",
                digest.as_deref().unwrap_or("none")
            ),
            Self::TooManySignals => "too many signals of this thread wait to be taken".to_owned(),
            Self::NoSuchChoice(choices) => {
                format!("the intervention offers {}", choices.join(", "))
            }
            Self::NotAnApprover(why) => why.clone(),
        }
    }
}

/// Names what can be done instead of a call that the thread's state does not allow; empty if there
/// is nothing.
fn instead(status: ThreadStatus, action: &str) -> &'static str {
    let failed = matches!(status, ThreadStatus::Failed | ThreadStatus::Aborted);
    match action {
        "edited" if status.is_terminal() => ": fork it with edits instead",
        // Nothing goes forwards while steps are being compensated, paused or not.
        "edited" if status != ThreadStatus::Compensating => ": pause it first",
        "deleted" => ": abort it first",
        "signalled" if failed => ": resume it first",
        "resumed" | "retried" if status == ThreadStatus::Completed => {
            ": fork it to run a part of it again"
        }
        _ => "",
    }
}
