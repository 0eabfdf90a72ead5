//! Requests that skip a step or edit its output.

use super::read::{exact, kept, request};
use crate::contract::Fields;
use crate::model::{Faults, Json};

request! {
    /// How the step is skipped.
    pub struct SkipRequest {
        /// What the steps that depend on it see; `null` if absent.
        #[schema(value_type = Option<serde_json::Value>)]
        output: Option<Json> = not_null,
        /// Recorded in the journal.
        #[schema(max_length = 2048)]
        reason: Option<String> = kept,
    }
}

request! {
    /// The output that takes the place of the step's own.
    pub struct EditRequest {
        /// The output from now on.
        #[schema(value_type = serde_json::Value, required)]
        output: Json = required,
        /// Recorded in the journal.
        #[schema(max_length = 2048)]
        reason: Option<String> = kept,
    }
}

fn not_null(fields: &Fields<'_>, name: &str, faults: &mut Faults) -> Option<Json> {
    exact(fields, name, faults).filter(|output| !output.is_null())
}

fn required(fields: &Fields<'_>, name: &str, faults: &mut Faults) -> Json {
    exact(fields, name, faults).unwrap_or_else(|| {
        fields.fault(name, "is required", faults);
        Json::null()
    })
}
