//! How a body is read, and the readers that several members share.

use crate::contract::Fields;
use crate::model::{Faults, Json, StepId, ThreadId};

/// The longest text that is kept in a journal, in bytes: it is kept for ever.
const MAX_TEXT: usize = 2_048;

/// A type that the body of a request is read into.
pub trait Request: Sized {
    /// The members that a body may have.
    const MEMBERS: &'static [&'static str];

    /// Takes the known members, and notes what is wrong with them. What it returns counts only if
    /// nothing was.
    fn take(fields: &Fields<'_>, faults: &mut Faults) -> Self;

    /// Reads a body; `None` if it is no object.
    fn read(body: &Json, faults: &mut Faults) -> Option<Self> {
        let fields = Fields::body(body, faults)?;
        let request = Self::take(&fields, faults);
        fields.allow(Self::MEMBERS, faults);
        Some(request)
    }
}

/// Makes a type of a body from its members: each with its type, its schema, and the function that
/// reads it.
macro_rules! request {
    (
        $(#[$attribute:meta])*
        pub struct $Request:ident {
            $($(#[$about:meta])* $field:ident: $Type:ty = $read:expr,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, utoipa::ToSchema)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $Request {
            $($(#[$about])* pub $field: $Type,)+
        }

        impl $crate::contract::Request for $Request {
            const MEMBERS: &'static [&'static str] = &[$($crate::contract::names::name!($field)),+];

            fn take(
                fields: &$crate::contract::Fields<'_>,
                faults: &mut $crate::model::Faults,
            ) -> Self {
                Self { $($field: $read(fields, $crate::contract::names::name!($field), faults)),+ }
            }
        }
    };
}
pub(super) use request;

/// A string.
pub(super) fn string(fields: &Fields<'_>, name: &str, faults: &mut Faults) -> Option<String> {
    fields.text(name, faults).map(std::borrow::Cow::into_owned)
}

/// A string that is kept in a journal.
pub(super) fn kept(fields: &Fields<'_>, name: &str, faults: &mut Faults) -> Option<String> {
    let text = string(fields, name, faults)?;
    if text.len() > MAX_TEXT {
        fields.fault(name, format!("is longer than {MAX_TEXT} bytes"), faults);
        return None;
    }
    Some(text)
}

/// Any JSON, also `null`.
pub(super) fn exact(fields: &Fields<'_>, name: &str, _: &mut Faults) -> Option<Json> {
    Some(fields.exact(name)?.to_json())
}

/// The id of a thread.
pub(super) fn thread_id(fields: &Fields<'_>, name: &str, faults: &mut Faults) -> Option<ThreadId> {
    let id = ThreadId::parse(&fields.text(name, faults)?);
    id.map_err(|fault| fields.fault(name, fault.to_string(), faults)).ok()
}

/// The id of a step, given as the member `name` or in it.
pub(super) fn step_id(
    text: &str,
    (fields, name): (&Fields<'_>, &str),
    faults: &mut Faults,
) -> Option<StepId> {
    let id = StepId::parse(text);
    id.map_err(|fault| fields.fault(name, fault.to_string(), faults)).ok()
}
