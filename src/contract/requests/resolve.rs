//! The decision of a person.

use super::read::{kept, request, string};
use crate::contract::Fields;
use crate::model::Faults;

request! {
    /// What is decided.
    pub struct ResolveRequest {
        /// One of the choices that the intervention offers.
        choice: String = choice,
        /// The intervention's `digest`, as the person saw it: if it is about something else, nothing is
        /// decided (409 `digest_mismatch`).
        #[schema(max_length = 64)]
        digest: Option<String> = string,
        /// Recorded in the journal.
        #[schema(max_length = 2048)]
        comment: Option<String> = kept,
        /// The person on whose behalf the caller decides: `onBehalfOf` in the event and in the step's
        /// output, beside the API key's name. Where nobody needs a key, it is `by`.
        #[schema(max_length = 2048)]
        by: Option<String> = kept,
    }
}

fn choice(fields: &Fields<'_>, name: &str, faults: &mut Faults) -> String {
    string(fields, name, faults).unwrap_or_else(|| {
        fields.fault(name, "is required", faults);
        String::new()
    })
}
