//! Identifiers, checked where they are made so that nobody has to check them again.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Longest thread id, in characters: room for a UUID and a readable prefix, small in an index.
const MAX_THREAD_ID: usize = 128;
/// Longest step id, in characters.
const MAX_STEP_ID: usize = 64;
/// Names that templates and conditions already give a meaning.
const RESERVED_STEP_IDS: [&str; 6] = ["input", "thread", "secrets", "item", "index", "steps"];

/// The number of an event within its thread: 1, 2, 3, … with no gaps; 0 stands before the first.
pub type Seq = u64;
/// A replica's registration; a new number at every registration, 0 is nobody.
pub type Incarnation = i64;
/// The fence of a thread: grows by one at every claim.
pub type Epoch = i64;

/// Longest name of a signal, in characters: it stands in URLs and in events.
const MAX_SIGNAL_NAME: usize = 128;

/// Whether a text is a signal's name: `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`.
pub fn is_signal_name(text: &str) -> bool {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    first && rest && text.len() <= MAX_SIGNAL_NAME
}

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct IdFault(&'static str);

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks a text and makes an id of it.
            pub fn parse(text: &str) -> Result<Self, IdFault> {
                $check(text)?;
                Ok(Self(Arc::from(text)))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::parse(&text).map_err(de::Error::custom)
            }
        }
    };
}

text_id!(
    /// One execution of one workflow: `[A-Za-z0-9][A-Za-z0-9._:-]{0,127}`.
    ThreadId,
    check_thread_id
);
text_id!(
    /// A step of a workflow: `[A-Za-z_][A-Za-z0-9_-]{0,63}`, and not a reserved word.
    StepId,
    check_step_id
);

fn check_thread_id(text: &str) -> Result<(), IdFault> {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b));
    if first && rest && text.len() <= MAX_THREAD_ID {
        return Ok(());
    }
    Err(IdFault("a thread id must match [A-Za-z0-9][A-Za-z0-9._:-]{0,127}"))
}

fn check_step_id(text: &str) -> Result<(), IdFault> {
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    let rest = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if !first || !rest || text.len() > MAX_STEP_ID {
        return Err(IdFault("a step id must match [A-Za-z_][A-Za-z0-9_-]{0,63}"));
    }
    if RESERVED_STEP_IDS.contains(&text) {
        return Err(IdFault("input, thread, secrets, item, index and steps are reserved"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thread_ids_follow_the_contract() {
        for good in ["a", "0", "a.b_c:d-e", &"x".repeat(128)] {
            assert!(ThreadId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "a b", "a/b", "ü", "a\n", &"x".repeat(129)] {
            assert!(ThreadId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn step_ids_follow_the_contract() {
        for good in ["a", "_", "my-step_2", &"x".repeat(64)] {
            assert!(StepId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "1a", "-a", "a.b", "input", "steps", &"x".repeat(65)] {
            assert!(StepId::parse(bad).is_err(), "{bad:?}");
        }
    }
}
