//! `transform`: a jq filter.

use super::{Kind, Reads};
use crate::contract::Fields;
use crate::definition::{Action, Filter};
use crate::model::Faults;

pub(super) const KIND: Kind = Kind {
    name: "transform",
    about: "a jq filter",
    members: &[
        ("jq", "the program, without templates"),
        ("from", "any value; `{input, thread, steps: {id: {status, output}}}` if absent"),
    ],
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::definition::testing::assert_with;

    #[test]
    fn its_with_is_checked() {
        assert_with(
            "transform",
            &[
                (json!({"jq": "."}), &[]),
                (json!({"jq": "{a: .input}", "from": [1, "{input}"]}), &[]),
                (json!({}), &[""]),
                (json!({"jq": 1}), &["/jq"]),
                (json!({"jq": ".["}), &["/jq"]),
            ],
        );
    }
}
