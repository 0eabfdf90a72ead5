//! The answer of `explain`: causes, and the call that would end each.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::advice::Call;
use crate::model::{Seq, StepId, ThreadId, ThreadStatus, Timestamp};
use crate::runtime::{self, CauseKind};

/// `GET /threads/{threadId}/explain`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Explanation {
    /// The thread.
    #[schema(value_type = String)]
    thread_id: ThreadId,
    /// Where it stands.
    status: ThreadStatus,
    /// Whether an attempt of it is under way now, on a replica that lives.
    moving: bool,
    /// Why it stands where it stands: the first cause in words.
    sentence: String,
    /// Every way in which it stands still, the one to act on first. Never empty.
    causes: Vec<Cause>,
    /// The head of its journal.
    #[schema(value_type = u64)]
    pub(in crate::api) last_seq: Seq,
    /// When its last event happened.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// The replica that owns it, if one does; whether that one lives is told by the causes.
    owner: Option<String>,
    /// The replica that answers. What it says of circuits is what it knows itself.
    replica: String,
    /// When this was looked at, by that replica's clock.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
}

/// One reason for which a thread stands still, or the attempt that it waits for.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Cause {
    /// What kind of reason it is.
    kind: CauseKind,
    /// The step that is concerned, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    step_id: Option<StepId>,
    /// It in words.
    sentence: String,
    /// Since when, if that is known.
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// When it ends by itself at the latest; left out if that is not known, or if it never does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// Whether it ends without anybody doing anything.
    by_itself: bool,
    /// What ends it.
    ends_with: String,
    /// The call that would end it now; `null` if none can.
    call: Option<Call>,
    /// What else is known about it; its members depend on the kind.
    #[schema(value_type = Object)]
    detail: Value,
}

impl From<runtime::Explanation> for Explanation {
    fn from(told: runtime::Explanation) -> Self {
        Self {
            causes: told.causes.into_iter().map(|one| Cause::of(&told.thread_id, one)).collect(),
            thread_id: told.thread_id,
            status: told.status,
            moving: told.moving,
            sentence: told.sentence,
            last_seq: told.last_seq,
            updated_at: told.updated_at,
            owner: told.owner,
            replica: told.replica,
            at: told.at,
        }
    }
}

impl Cause {
    fn of(thread: &ThreadId, cause: runtime::Cause) -> Self {
        Self {
            kind: cause.kind,
            step_id: cause.step_id,
            sentence: cause.sentence,
            since: cause.since,
            until: cause.until,
            by_itself: cause.by_itself,
            ends_with: cause.ends_with,
            call: cause.advice.map(|advice| Call::of(thread, advice)),
            detail: cause.detail,
        }
    }
}
