//! Encodes a thread's state as text, so that a load need not read the whole journal.
//!
//! The text is canonical JSON by RFC 8785 (JCS) of the serde form of [`ThreadState`]: members in
//! the order of their names and none that is `null`, no white space, the shortest escapes, so that
//! one state has one text and one SHA-256. User data (inputs, outputs, metadata) is not
//! interpreted: its exact text stands in a JSON string and comes back byte for byte. The plan is
//! left out; it is found by the workflow's hash. A snapshot is a cache: one that cannot be read is
//! a [`SnapshotFault`] and never a guess. `runtime` writes and reads them.

mod fault;

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ThreadState;
use crate::definition::Plan;
use crate::model::{Failure, Json, StepId, ThreadId, canonical_text, hex};

pub use fault::SnapshotFault;

/// The version that this server writes, and the only one it reads. Every change of the serde form
/// of the state needs a new one: older snapshots are then skipped, and the journal is read.
pub const SNAPSHOT_VERSION: u32 = 7;

/// The members of a snapshot.
#[derive(Debug, Serialize, Deserialize)]
struct Members<'a> {
    /// The ids of the plan's steps, in the order of the state's.
    ids: Vec<Cow<'a, StepId>>,
    state: Cow<'a, ThreadState>,
    version: u32,
}

/// Returns the text of a state, and its SHA-256 in hex.
pub fn encode(state: &ThreadState) -> (String, String) {
    let ids = state.plan.steps.iter().map(|step| Cow::Borrowed(&step.id)).collect();
    let members = Members { ids, state: Cow::Borrowed(state), version: SNAPSHOT_VERSION };
    // Every field is a plain struct of strings and numbers: encoding cannot fail.
    let text = canonical_text(&members).unwrap_or_default();
    let sha256 = digest(&text);
    (text, sha256)
}

/// Estimates the number of bytes that [`encode`] would write, without writing them.
pub fn estimate(state: &ThreadState) -> usize {
    /// The bytes of a step without its texts.
    const STEP: usize = 400;
    let json = |json: &Option<Json>| json.as_ref().map_or(0, |json| json.as_str().len());
    let failure = |failure: &Option<Failure>| {
        failure.as_ref().map_or(0, |failure| failure.message.len() + failure.code.len())
    };
    let steps = state.steps.iter().map(|step| {
        let blocked = step.own.blocked().map_or(0, |blocked| blocked.output.as_str().len());
        STEP + blocked + json(&step.output) + failure(&step.own.error)
    });
    let thread = state.input.as_str().len() + state.metadata.as_str().len();
    STEP + thread + json(&state.output) + failure(&state.error) + steps.sum::<usize>()
}

/// A snapshot whose bytes are in order, before it is checked against a plan.
#[derive(Debug)]
pub struct EncodedSnapshot {
    ids: Vec<Cow<'static, StepId>>,
    /// The state without its plan.
    state: ThreadState,
}

impl EncodedSnapshot {
    /// Reads a snapshot's text; `sha256` is the digest that was stored beside it.
    pub fn open(text: &str, sha256: &str) -> Result<Self, SnapshotFault> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        if digest(text) != sha256 {
            return Err(SnapshotFault::Checksum);
        }
        let members = serde_json::from_str::<Members<'static>>(text);
        let version = match &members {
            Ok(members) => members.version,
            // A snapshot of another version may have other members.
            Err(_) => {
                serde_json::from_str(text).map_or(SNAPSHOT_VERSION, |Versioned { version }| version)
            }
        };
        if version != SNAPSHOT_VERSION {
            return Err(SnapshotFault::Version(version));
        }
        let members = members.map_err(|fault| SnapshotFault::Unreadable(fault.to_string()))?;
        // This refuses unknown and missing members, those of the model's types among them.
        if canonical_text(&members).as_deref() != Ok(text) {
            let other = "another text is written for the same state";
            return Err(SnapshotFault::Unreadable(other.to_owned()));
        }
        Ok(Self { ids: members.ids, state: members.state.into_owned() })
    }

    /// Returns the hash of the definition whose plan [`EncodedSnapshot::restore`] needs.
    pub fn definition(&self) -> &str {
        &self.state.workflow.hash
    }

    /// Returns the state, if it is of this thread and this plan.
    pub fn restore(self, thread: &ThreadId, plan: Arc<Plan>) -> Result<ThreadState, SnapshotFault> {
        let misfit = |detail: String| Err(SnapshotFault::Misfit(detail));
        let Self { ids, state } = self;
        if state.thread_id != *thread {
            return misfit(format!("it is of thread {}", state.thread_id.as_str()));
        }
        if state.workflow.hash != plan.hash {
            return misfit(format!("it is of definition {}", state.workflow.hash));
        }
        let found = if ids.len() == plan.steps.len() { state.steps.len() } else { ids.len() };
        if found != plan.steps.len() {
            return misfit(format!("it has {found} steps, the plan {}", plan.steps.len()));
        }
        if let Some((found, planned)) = ids.iter().zip(&plan.steps).find(|(a, b)| ***a != b.id) {
            return misfit(format!("step {found} stands where the plan has {}", planned.id));
        }
        let forked_from = state.forked_from.map(|from| from.beside(thread));
        let state = ThreadState { plan, forked_from, ..state };
        state.validate().map_err(|found| SnapshotFault::Misfit(found.to_string()))?;
        Ok(state)
    }
}

fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}
