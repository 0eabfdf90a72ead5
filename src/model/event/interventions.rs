//! Data of the events about decisions of people. The rules of `facts` hold here too.

use serde::{Deserialize, Serialize};

use crate::model::named::named;
use crate::model::{StepId, Timestamp};

named!(
    /// What an intervention is about.
    InterventionKind {
        /// The thread was lost with its replica again and again: it may be what kills them.
        Poison = "poison",
        /// A step has used up its attempts, and the workflow says `"onFailure": "pause"`.
        Failure = "failure",
        /// A step of kind `approval` waits.
        Approval = "approval",
        /// A step's `check` has blocked its output.
        Blocked = "blocked",
    }
);

/// The thread waits for a person's decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InterventionOpened {
    /// Its id, unique among all threads.
    pub id: String,
    /// The kind of question.
    pub kind: InterventionKind,
    /// The steps that are concerned.
    pub steps: Vec<StepId>,
    /// The text that the person reads.
    pub prompt: String,
    /// The choices that the person has.
    pub choices: Vec<String>,
    /// SHA-256, in hex, of the canonical JSON (RFC 8785) of what it is about: an approval's filled-in
    /// `with`, the output that was blocked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// When it is too late to decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The choice that is made then; without it the step fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_timeout: Option<String>,
    /// When it is escalated if nobody has decided by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalates_at: Option<Timestamp>,
    /// The names and roles that may answer; left out if every operator may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<String>,
    /// The callers who may not answer: `starter`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_by: Option<String>,
}

/// Nobody has decided for as long as the workflow has patience (`escalateAfter`). It says again what
/// is asked: whoever is told by this event has not seen the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InterventionEscalated {
    /// Which intervention.
    pub id: String,
    /// The kind of question.
    pub kind: InterventionKind,
    /// The steps that are concerned.
    pub steps: Vec<StepId>,
    /// The text that the person reads.
    pub prompt: String,
    /// The choices that the person has.
    pub choices: Vec<String>,
    /// Since when it waits.
    pub opened_at: Timestamp,
    /// When it is too late to decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// A person has decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InterventionResolved {
    /// Which intervention.
    pub id: String,
    /// The choice; where something else settled it, a word for that (`resume`, `withdrawn`, …).
    pub choice: String,
    /// The caller who decided.
    pub by: String,
    /// The person in whose name the caller decided, as the caller said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// The comment that came with it.
    pub comment: Option<String>,
    /// The digest of what it was about, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}
