//! How a failed, aborted or paused thread goes on.

use super::read::{exact, kept, request, step_id};
use crate::contract::Fields;
use crate::model::{Faults, Json, StepId};

request! {
    /// How and why the thread goes on.
    #[derive(Default)]
    pub struct ResumeRequest {
        /// Run this step and all that comes after it again.
        #[schema(value_type = Option<String>)]
        from_step: Option<StepId> = from_step,
        /// Do without these steps.
        #[schema(value_type = Option<Vec<String>>)]
        skip: Vec<StepId> = skip,
        /// The input of whatever still has to run.
        #[schema(value_type = Option<serde_json::Value>)]
        input: Option<Json> = exact,
        /// Recorded in the journal.
        #[schema(max_length = 2048)]
        reason: Option<String> = kept,
    }
}

fn from_step(fields: &Fields<'_>, name: &str, faults: &mut Faults) -> Option<StepId> {
    step_id(&fields.text(name, faults)?, (fields, name), faults)
}

fn skip(fields: &Fields<'_>, name: &str, faults: &mut Faults) -> Vec<StepId> {
    let Some(given) = fields.get(name) else { return Vec::new() };
    let Some(ids) = given.texts() else {
        fields.fault(name, "skip is a list of step ids", faults);
        return Vec::new();
    };
    ids.iter().filter_map(|id| step_id(id, (fields, name), faults)).collect()
}
