//! `sleep`: a wait.

use super::members::literal;
use super::{Kind, Reads, signal};
use crate::contract::Fields;
use crate::definition::{Action, Wait};
use crate::model::{Faults, Timestamp};

pub(super) const KIND: Kind = Kind {
    name: "sleep",
    about: "a wait, by one of two members",
    members: &[("for", "a duration"), ("until", "an RFC 3339 time")],
    reads: Reads::Journalled,
    shows_life: false,
    check,
};

#[expect(clippy::unnecessary_wraps, reason = "beside kinds that can have nothing to do")]
fn check(with: &Fields<'_>, faults: &mut Faults) -> Option<Action> {
    match (with.get("for"), with.get("until")) {
        (Some(_), None) => {
            signal::limit(with, "for", faults);
        }
        (None, Some(_)) => {
            if let Some(text) = literal(with, "until", faults)
                && Timestamp::parse(&text).is_none()
            {
                let detail = "until is a time such as \"2030-01-31T08:00:00Z\"";
                with.fault("until", detail, faults);
            }
        }
        (Some(_), Some(_)) | (None, None) => {
            faults.add(with.at(), "a sleep has either \"for\" or \"until\"");
        }
    }
    Some(Action::Wait(Wait::Sleep))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::definition::testing::assert_with;

    #[test]
    fn its_with_is_checked() {
        assert_with(
            "sleep",
            &[
                (json!({"for": 10}), &[]),
                (json!({"for": "{input.t}"}), &[]),
                (json!({"until": "2030-01-31T08:00:00Z"}), &[]),
                (json!({"until": "{input.t}"}), &[]),
                (json!({}), &[""]),
                (json!({"for": 1, "until": "2030-01-31T08:00:00Z"}), &[""]),
                (json!({"for": "soon"}), &["/for"]),
                (json!({"for": -1}), &["/for"]),
                (json!({"until": "tomorrow"}), &["/until"]),
                (json!({"until": 1}), &["/until"]),
                (json!([]), &[""]),
            ],
        );
    }
}
