//! Identifiers, checked where they are made so that nobody has to check them again.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Namespace;

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

/// One execution of one workflow: `[A-Za-z0-9][A-Za-z0-9._:-]{0,127}` within its namespace.
///
/// Clients see the text alone ([`ThreadId::text`]), and so do events: that is what is shown and
/// serialised. Whatever tells threads apart uses [`ThreadId::as_str`], which begins with the namespace.
/// An id that was read back from an event is one of the `default` namespace, until it is put
/// [`beside`](ThreadId::beside) the thread whose event it was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThreadId(Arc<str>);

impl ThreadId {
    /// Checks a text and makes an id of the `default` namespace of it.
    pub fn parse(text: &str) -> Result<Self, IdFault> {
        check_thread_id(text)?;
        Ok(Self(Arc::from(text)))
    }

    /// Checks a text and makes an id of a namespace of it.
    pub fn within(namespace: &Namespace, text: &str) -> Result<Self, IdFault> {
        check_thread_id(text)?;
        Ok(Self(Arc::from(namespace.key(text))))
    }

    /// Reads an id as it is stored.
    pub fn from_key(key: &str) -> Result<Self, IdFault> {
        let (namespace, text) = Namespace::split(key);
        let namespace = namespace.ok_or(IdFault("no namespace has the name before the slash"))?;
        Self::within(&namespace, text)
    }

    /// The same text as the id of a thread of that namespace.
    #[must_use]
    pub fn moved_to(&self, namespace: &Namespace) -> Self {
        Self(Arc::from(namespace.key(self.text())))
    }

    /// The same text as the id of a thread of that one's namespace.
    #[must_use]
    pub fn beside(&self, other: &Self) -> Self {
        self.moved_to(&other.namespace())
    }

    /// The id as it is stored, told between replicas and to targets: no thread of any namespace has the
    /// same. It begins with the namespace and a slash, in `default` it is the text alone.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as clients of its namespace know it.
    pub fn text(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(_, text)| text)
    }

    /// The namespace.
    pub fn namespace(&self) -> Namespace {
        // It was checked when the id was made.
        Namespace::split(&self.0).0.unwrap_or_default()
    }

    /// Whether it is the id of a thread of this namespace.
    pub fn is_within(&self, namespace: &Namespace) -> bool {
        let named = self.0.split_once('/').map(|(name, _)| name);
        named.map_or_else(|| namespace.is_default(), |name| name == namespace.as_str())
    }
}

impl fmt::Display for ThreadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Serialize for ThreadId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

/// Most steps of one workflow: a status document names each of them.
pub const MAX_STEPS: usize = 1000;

/// A step of a workflow: `[A-Za-z_][A-Za-z0-9_-]{0,63}`, and not a reserved word.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(Arc<str>);

impl StepId {
    /// Checks a text and makes an id of it.
    pub fn parse(text: &str) -> Result<Self, IdFault> {
        check_step_id(text)?;
        Ok(Self(Arc::from(text)))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for StepId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

macro_rules! id_text {
    ($name:ident) => {
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
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

id_text!(ThreadId);
id_text!(StepId);

/// Serde form of a thread's id that keeps the namespace: the key under which it is stored.
pub mod thread_key {
    use std::borrow::Cow;

    use serde::{Deserialize as _, Deserializer, Serializer, de};

    use super::ThreadId;

    /// Writes the key.
    pub fn serialize<S: Serializer>(id: &ThreadId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(id.as_str())
    }

    /// Reads a key.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ThreadId, D::Error> {
        let key = Cow::<'de, str>::deserialize(deserializer)?;
        ThreadId::from_key(&key).map_err(de::Error::custom)
    }
}

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
    fn threads_of_one_text_in_two_namespaces_are_two() {
        let team = Namespace::parse("team").unwrap();
        let (plain, theirs) =
            (ThreadId::parse("t").unwrap(), ThreadId::within(&team, "t").unwrap());
        assert_ne!(plain, theirs);
        assert_eq!((plain.as_str(), theirs.as_str()), ("t", "team/t"));
        assert_eq!((plain.text(), theirs.text()), ("t", "t"));
        assert_eq!(theirs.to_string(), "t");
        assert_eq!(serde_json::to_string(&theirs).unwrap(), r#""t""#);
        assert_eq!((plain.namespace(), theirs.namespace()), (Namespace::default(), team.clone()));
        assert!(theirs.is_within(&team) && !theirs.is_within(&Namespace::default()));
        assert!(plain.is_within(&Namespace::default()) && !plain.is_within(&team));
        assert_eq!(plain.beside(&theirs), theirs);
        assert_eq!(theirs.beside(&plain), plain);
    }

    #[test]
    fn an_id_is_read_back_as_it_was_stored() {
        for key in ["t", "team/t", "team/default"] {
            assert_eq!(ThreadId::from_key(key).unwrap().as_str(), key);
        }
        for bad in ["/t", "default/t", "Team/t", "team/", "team/t/u", "team/-t"] {
            assert!(ThreadId::from_key(bad).is_err(), "{bad}");
        }
        assert!(ThreadId::within(&Namespace::default(), "team/t").is_err());
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
