//! Requests to stop or pause a thread, or to try a step of it again.

use std::time::Duration;

use super::read::{kept, request};
use crate::contract::Fields;
use crate::contract::workflow::DurationText;
use crate::model::Faults;

/// The longest grace: a client that wants to wait for longer pauses the thread.
const MAX_GRACE: Duration = Duration::from_hours(1);

request! {
    /// Why the thread is stopped.
    #[derive(Default)]
    pub struct AbortRequest {
        /// Recorded in the journal.
        #[schema(max_length = 2048)]
        reason: Option<String> = kept,
        /// Whether to undo the completed steps that say how (`compensate`), in the reverse order of their
        /// completion; `false` if absent.
        #[schema(value_type = Option<bool>)]
        compensate: bool = flag,
        /// How long attempts under way may still take to end by themselves, their results being kept;
        /// none, unless it is said. At most an hour.
        #[schema(value_type = Option<DurationText>, example = "10s")]
        grace: Duration = grace,
    }
}

request! {
    /// Why a thread is changed, where there is nothing more to say.
    #[derive(Default)]
    pub struct ReasonRequest {
        /// Recorded in the journal.
        #[schema(max_length = 2048)]
        reason: Option<String> = kept,
    }
}

fn flag(fields: &Fields<'_>, name: &str, faults: &mut Faults) -> bool {
    fields.flag(name, faults).unwrap_or_default()
}

fn grace(fields: &Fields<'_>, name: &str, faults: &mut Faults) -> Duration {
    let grace = fields.duration(name, faults).unwrap_or_default();
    if grace > MAX_GRACE {
        fields.fault(name, "is at most an hour; a pause has no end of its own", faults);
    }
    grace
}
