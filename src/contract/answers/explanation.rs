//! The explanation of a thread that does not move: its causes, and the advice that would end each.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::advice::{Advice, Call};
use crate::model::{Seq, StepId, ThreadId, ThreadStatus, Timestamp};

/// `GET /threads/{threadId}/explain`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The thread.
    #[schema(value_type = String)]
    pub thread_id: ThreadId,
    /// Where it stands.
    pub status: ThreadStatus,
    /// Whether an attempt of it is under way now, on a replica that lives.
    pub moving: bool,
    /// Why it stands where it stands: the first cause in words.
    pub sentence: String,
    /// Every way in which it stands still, the one to act on first. Never empty.
    pub causes: Vec<Cause>,
    /// The head of its journal.
    #[schema(value_type = u64)]
    pub last_seq: Seq,
    /// When its last event happened.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// The replica that owns it, if one does; whether that one lives is told by the causes.
    pub owner: Option<String>,
    /// The replica that answers. What it says of circuits is what it knows itself.
    pub replica: String,
    /// When this was looked at, by the clock of the store.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// One reason for which a thread stands still, or the attempt that it waits for.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// What kind of reason it is.
    pub kind: CauseKind,
    /// The step that is concerned, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub step_id: Option<StepId>,
    /// It in words.
    pub sentence: String,
    /// Since when, if that is known.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// When it ends by itself at the latest; left out if that is not known, or if it never does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// Whether it ends without anybody doing anything.
    pub by_itself: bool,
    /// What ends it.
    pub ends_with: String,
    /// The call that would end it now; `null` if none can.
    #[serde(rename = "call")]
    #[schema(value_type = Option<Call>)]
    pub advice: Option<Advice>,
    /// What else is known about it; its members depend on the kind.
    #[schema(value_type = Object)]
    pub detail: Value,
}

/// The ways to stand still, the one to act on before the others first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CauseKind {
    /// It cannot be rebuilt from what is stored; it is tried again now and then.
    Unreadable,
    /// The replica that drives it cannot renew its lease.
    Authority,
    /// The replica that drives it is shutting down.
    Shutdown,
    /// The replica that drove it is silent or lost; another takes over when its lease has run out.
    Lease,
    /// It was given back until a moment: it was lost with replicas, or could not go on.
    SetAside,
    /// Nobody drives it and nothing would wake it.
    Stranded,
    /// A replica has it and is about to take it up.
    TakingUp,
    /// It was lost with replicas again and again: a person has to decide.
    Poison,
    /// A step has used its attempts, and a person has to decide (`"onFailure": "pause"`).
    Failure,
    /// Somebody has aborted it, and what runs of it has its grace.
    Stopping,
    /// A person has paused it.
    Paused,
    /// It is due and waits for a replica with room.
    Queued,
    /// Messages lie in its inbox that nobody has taken yet.
    Mail,
    /// A step waits for a person's decision.
    Approval,
    /// The `check` of a step has blocked its output: a person has to decide.
    Blocked,
    /// A step waits for a signal.
    Signal,
    /// A step has failed for good, and the thread fails when its other attempts have ended.
    Failing,
    /// The next attempt of a step waits for the open circuit of what it calls.
    Circuit,
    /// The next attempt of a step waits because what it calls asked to be left alone.
    CoolDown,
    /// A step waits for its next attempt.
    Retry,
    /// A step waits for something else.
    Waiting,
    /// A step sleeps.
    Timer,
    /// Completed steps are being undone.
    Compensating,
    /// An attempt is under way.
    Attempt,
    /// Its workflow's `timeout` ends it at a moment.
    Deadline,
    /// Nothing holds it up: its next step is about to start.
    Ready,
    /// It has completed.
    Completed,
    /// It has failed.
    Failed,
    /// It was aborted.
    Aborted,
}
