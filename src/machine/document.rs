//! Shows a state as the status document.

use super::ThreadState;
use crate::contract::{Progress, StatusDocument, StepCompensation, StepDocument, WorkflowName};
use crate::model::{Json, millis};

impl ThreadState {
    /// Returns the status document; `owner` is the replica that drives the thread.
    pub fn document(&self, owner: Option<String>) -> StatusDocument {
        let (completed, total) = self.progress();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        StatusDocument {
            thread_id: self.thread_id.clone(),
            workflow: WorkflowName {
                name: self.workflow.name.clone(),
                version: self.workflow.version,
            },
            status: self.status,
            current_steps: self.current_steps(),
            progress: Progress { completed: count(completed), total: count(total) },
            steps: self
                .placed()
                .map(|(_, step, state)| StepDocument {
                    id: step.id.clone(),
                    kind: step.action.kind(),
                    status: state.status(),
                    attempts: state.own.attempts,
                    session_id: state.session_id.clone(),
                    started_at: state.started_at,
                    completed_at: state.completed_at,
                    duration_ms: state
                        .completed_at
                        .zip(state.started_at)
                        .map(|(end, start)| millis(end.since(start))),
                    output: Some(state.output.clone().unwrap_or_else(Json::null)),
                    blocked_output: state.own.blocked().map(|blocked| blocked.output.clone()),
                    error: state.own.error.clone(),
                    fallback: state.fallback,
                    compensation: state.undo_status().map(|status| StepCompensation {
                        status,
                        attempts: state.compensation.attempts,
                        error: state.compensation.error.clone(),
                        wakes_at: state.compensation.wakes_at(),
                    }),
                    wakes_at: state.own.wakes_at(),
                })
                .collect(),
            input: Some(self.input.clone()),
            output: Some(self.output.clone().unwrap_or_else(Json::null)),
            error: self.error.clone(),
            compensation: self.compensation(),
            metadata: self.metadata.clone(),
            recoveries: self.recoveries,
            forked_from: self.forked_from.clone(),
            owner,
            deadline: self.deadline.filter(|_| !self.status.is_terminal()),
            aborts_at: self.abort_deadline().map(|(_, abort_deadline)| abort_deadline.at),
            last_seq: self.last_seq,
            created_at: self.created_at,
            updated_at: self.updated_at,
            completed_at: self.completed_at,
        }
    }
}
