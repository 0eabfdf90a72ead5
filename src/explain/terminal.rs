//! Causes of a thread that has ended: how it ended, what is left to undo, and what another try
//! would do.

use serde_json::json;

use super::format::{failure, list};
use crate::contract::{Advice, Cause, CauseKind, Operation};
use crate::machine::{POLICY, ThreadState};
use crate::model::{Compensation, Failure, StepId, ThreadId, codes};

pub(super) fn completed(state: &ThreadState) -> Cause {
    let at = state.completed_at;
    let when = at.map(|at| format!(" at {at}")).unwrap_or_default();
    let sentence = format!("It has completed{when}: nothing is left to do.");
    Cause::new(CauseKind::Completed, sentence, "nothing: it has ended").since(at)
}

pub(super) fn failed(state: &ThreadState) -> Cause {
    let error = state.error.as_ref();
    let when = state.completed_at.map(|at| format!(" at {at}")).unwrap_or_default();
    let said = error.map(failure).unwrap_or_default();
    let step = error.and_then(|error| error.step_id.as_ref());
    let of = step.map_or_else(String::new, |step| format!(" in step {step}"));
    let undo = Undo::of(state);
    let again = error.map_or("", outlook);
    // An error without a step means that the thread's own output cannot be made, and another try
    // makes the same error, unless the thread took too long.
    let late = error.is_some_and(|error| error.code == codes::WORKFLOW_TIMEOUT);
    let hopeful = step.is_some() || late;
    let forwards = match (late, undo.completed.is_empty()) {
        (_, false) => "goes forwards again: also with what was undone, as new effects",
        (true, true) => "goes on where it was; completed steps do not run again",
        (false, true) => "runs what has failed again; completed steps do not run again",
    };
    let cause = Cause::new(
        CauseKind::Failed,
        format!("It has failed{when}{of}: {said}.{again}{}", undo.said()),
        undo.ends_with(hopeful),
    )
    .since(state.completed_at)
    .advice(undo.advice(hopeful.then_some(forwards)))
    .detail(json!({ "error": error, "compensation": undo.all }));
    match step {
        Some(step) => cause.about(step),
        None => cause,
    }
}

pub(super) fn aborted(state: &ThreadState) -> Cause {
    let stop = state.paused_by.as_ref();
    let when = state.completed_at.map(|at| format!(" at {at}")).unwrap_or_default();
    let by = match stop.map(|stop| stop.actor.by.as_str()) {
        None => "somebody",
        Some(POLICY) => "a policy",
        Some(by) => by,
    };
    let reason = stop.and_then(|stop| stop.actor.reason.as_deref());
    let said = reason.map(|why| format!(": {}", why.trim_end_matches('.'))).unwrap_or_default();
    let undo = Undo::of(state);
    let forwards = if undo.completed.is_empty() {
        "resumes the thread: what was not finished runs again"
    } else {
        "goes forwards again: also with what was undone, as new effects"
    };
    Cause::new(
        CauseKind::Aborted,
        format!("It was aborted by {by}{when}{said}.{}", undo.said()),
        undo.ends_with(true),
    )
    .since(state.completed_at)
    .advice(undo.advice(Some(forwards)))
    .detail(json!({
        "by": stop.map(|stop| &stop.actor.by), "reason": reason, "error": state.error,
        "compensation": undo.all,
    }))
}

/// Says what another try would come to.
fn outlook(error: &Failure) -> &'static str {
    match error.code.as_str() {
        codes::WORKFLOW_TIMEOUT => " A resume gives it all of that time again.",
        codes::WAIT_TIMEOUT => " A resume waits anew, for all of its time.",
        _ if !error.recoverable => {
            " Another try fails in the same way unless what it names is mended first."
        }
        _ => "",
    }
}

/// The steps of a thread that were undone, and those that could not be.
struct Undo<'a> {
    thread: &'a ThreadId,
    all: Option<Compensation>,
    completed: Vec<String>,
    left: Vec<String>,
}

impl<'a> Undo<'a> {
    fn of(state: &'a ThreadState) -> Self {
        let all = state.compensation();
        let name = |id: &StepId| id.as_str().to_owned();
        let completed = all.iter().flat_map(|all| &all.completed).map(name).collect();
        let left = all.iter().flat_map(|all| &all.left).map(|one| name(&one.step_id)).collect();
        Self { thread: &state.thread_id, all, completed, left }
    }

    fn said(&self) -> String {
        let undone = if self.completed.is_empty() {
            String::new()
        } else {
            format!(" Undone: {}.", list(&self.completed))
        };
        let mut left = self.all.iter().flat_map(|all| &all.left);
        let why = left.find_map(|one| one.error.as_ref()).map(failure);
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        match self.left.as_slice() {
            [] => undone,
            left => format!("{undone} Not undone: {}{why}.", list(left)),
        }
    }

    fn ends_with(&self, hopeful: bool) -> &'static str {
        match (self.left.is_empty(), hopeful) {
            (true, true) => "nothing by itself; whoever resumes it",
            (true, false) => "nothing: it has ended",
            (false, true) => "nothing by itself; whoever has the rest undone, or resumes it",
            (false, false) => "nothing by itself; whoever has the rest undone",
        }
    }

    /// Returns the operation to begin with. Steps that are left come first: a half-undone thread is worse than
    /// one that has failed.
    fn advice(&self, forwards: Option<&str>) -> Option<Advice> {
        if self.left.is_empty() {
            return forwards.map(|does| Advice::new(self.thread, Operation::Resume, does));
        }
        let does = format!(
            "tries again to undo {}, with new attempts and the same keys; nothing else runs",
            list(&self.left)
        );
        Some(Advice::new(self.thread, Operation::Abort { compensate: Some(true) }, does))
    }
}
