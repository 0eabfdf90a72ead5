//! `transform`: a jq filter.
//!
//! - `jq` (the program, literal)
//! - `from` (any value, a template; absent: `{input, thread, steps: {id: {status, output}}}`)

use super::{Kind, Reads};
use crate::contract::Fields;
use crate::definition::{Action, Filter};
use crate::model::Faults;

pub(super) const KIND: Kind = Kind {
    name: "transform",
    fields: &["jq", "from"],
    reads: Reads::From,
    shows_life: false,
    check,
};

fn check(with: &Fields<'_>, faults: &mut Faults) -> Option<Action> {
    with.require("jq", faults);
    match Filter::compile(&with.text("jq", faults)?) {
        Ok(filter) => Some(Action::Transform { filter }),
        Err(detail) => {
            with.fault("jq", detail, faults);
            None
        }
    }
}
