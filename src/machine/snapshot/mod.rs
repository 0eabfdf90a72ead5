//! A thread's state as text, so that not all of its journal has to be read to know it.
//!
//! The text is canonical JSON by RFC 8785 (JCS): members in the order of their names, no white
//! space, the shortest escapes, 64-bit numbers as strings (its appendix D), so that one state has
//! one text and one SHA-256. What users sent (inputs, outputs, metadata) is not interpreted: its
//! exact text stands in a JSON string and comes back byte for byte. The plan is not in it; it is
//! found by the workflow's hash. A snapshot is a cache: one that cannot be read is a
//! [`SnapshotFault`] and never a guess. `runtime` writes and reads them.

mod fault;
mod form;

use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::ThreadState;
use crate::definition::Plan;
use crate::model::{Failure, Json, ThreadId, hex};
use form::ThreadForm;

pub use fault::SnapshotFault;
pub use form::SNAPSHOT_VERSION;

/// The text of a state, and its SHA-256 in hex.
pub fn encode(state: &ThreadState) -> (String, String) {
    // Every field is a plain struct of strings and numbers: encoding cannot fail.
    let text = serde_json::to_string(&ThreadForm::of(state)).unwrap_or_default();
    let sha256 = digest(&text);
    (text, sha256)
}

/// About how many bytes [`encode`] would write, without writing them.
pub fn estimate(state: &ThreadState) -> usize {
    /// A step without its texts, as it is written.
    const STEP: usize = 400;
    let json = |json: &Option<Json>| json.as_ref().map_or(0, |json| json.as_str().len());
    let failure = |failure: &Option<Failure>| {
        failure.as_ref().map_or(0, |failure| failure.message.len() + failure.code.len())
    };
    let steps = state.steps.iter().map(|step| {
        let held = step.held.as_ref().map_or(0, |held| held.output.as_str().len());
        STEP + held + json(&step.output) + failure(&step.error)
    });
    let thread = state.input.as_str().len() + state.metadata.as_str().len();
    STEP + thread + json(&state.output) + failure(&state.error) + steps.sum::<usize>()
}

/// A snapshot whose bytes are in order, before it is held against a plan.
#[derive(Debug)]
pub struct Frozen(ThreadForm<'static>);

impl Frozen {
    /// Reads a snapshot's text; `sha256` is what was stored beside it.
    pub fn open(text: &str, sha256: &str) -> Result<Self, SnapshotFault> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        if digest(text) != sha256 {
            return Err(SnapshotFault::Checksum);
        }
        let form = serde_json::from_str::<ThreadForm<'static>>(text);
        let version = match &form {
            Ok(form) => form.version(),
            // Another version has other members.
            Err(_) => {
                serde_json::from_str(text).map_or(SNAPSHOT_VERSION, |Versioned { version }| version)
            }
        };
        if version != SNAPSHOT_VERSION {
            return Err(SnapshotFault::Version(version));
        }
        form.map(Self).map_err(|fault| SnapshotFault::Unreadable(fault.to_string()))
    }

    /// The hash of the definition whose plan [`Frozen::thaw`] wants.
    pub fn definition(&self) -> &str {
        self.0.definition()
    }

    /// The state, if it is one of this thread and this plan.
    pub fn thaw(self, thread: &ThreadId, plan: Arc<Plan>) -> Result<ThreadState, SnapshotFault> {
        let state = self.0.into_state(thread, plan)?;
        state.validate().map_err(|found| SnapshotFault::Misfit(found.to_string()))?;
        Ok(state)
    }
}

fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}
