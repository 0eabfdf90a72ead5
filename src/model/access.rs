//! Access: the roles of callers, and the namespaces that keep their threads apart.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::named::named;

/// The namespace of a key that names none.
const DEFAULT_NAMESPACE: &str = "default";
/// Longest name of a namespace, in characters: it stands before ids in indexes and in log lines.
const MAX_NAMESPACE: usize = 32;

named!(
    /// The rights of a caller. Each role includes the rights of the roles before it.
    Role {
        /// Reads: status, streams, lists.
        Reader = "reader",
        /// Invokes, sends signals, and controls the threads it started.
        Invoker = "invoker",
        /// Controls every thread of its namespace and resolves interventions.
        Operator = "operator",
        /// Everything: stored workflows, notifications, deletion.
        Admin = "admin",
    }
);

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A namespace: `[a-z0-9][a-z0-9-]{0,31}`. Threads, workflows and keys of one are invisible to
/// callers of another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// Checks a text and makes a namespace of it; `None` if it is not the name of one.
    pub fn parse(text: &str) -> Option<Self> {
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let first = text.bytes().next().is_some_and(letter);
        let rest = text.bytes().all(|byte| letter(byte) || byte == b'-');
        (first && rest && text.len() <= MAX_NAMESPACE).then(|| Self(Arc::from(text)))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the namespace of keys that name none.
    pub fn is_default(&self) -> bool {
        self.as_str() == DEFAULT_NAMESPACE
    }

    /// The prefix of every key of this namespace: its name and a slash; in `default`, whose keys
    /// hold no slash, nothing. So what was stored before there were namespaces is of that one.
    pub fn prefix(&self) -> String {
        if self.is_default() { String::new() } else { format!("{self}/") }
    }

    /// An id or a name of this namespace as it is stored; it must hold no slash itself.
    pub fn key<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.is_default() { Cow::Borrowed(text) } else { Cow::Owned(self.prefix() + text) }
    }

    /// The namespace (`None` if it is no name of one) and the text that a key was made of.
    pub fn split(key: &str) -> (Option<Self>, &str) {
        match key.split_once('/') {
            None => (Some(Self::default()), key),
            // Keys of `default` have no prefix.
            Some((name, text)) => (Self::parse(name).filter(|one| !one.is_default()), text),
        }
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self(Arc::from(DEFAULT_NAMESPACE))
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_ordered_by_what_they_may_do() {
        assert!(Role::ALL.is_sorted());
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert_eq!(Role::parse("root"), None);
    }

    #[test]
    fn a_key_tells_its_namespace_and_its_text() {
        let team = Namespace::parse("team").unwrap();
        for namespace in [Namespace::default(), team.clone()] {
            let key = namespace.key("w");
            assert!(key.starts_with(&namespace.prefix()));
            assert_eq!(Namespace::split(&key), (Some(namespace.clone()), "w"));
        }
        assert_ne!(Namespace::default().key("w"), team.key("w"));
        assert_eq!(Namespace::split("default/w"), (None, "w"));
    }

    #[test]
    fn namespaces_are_short_plain_words() {
        for good in ["default", "a", "0", "team-a", &"x".repeat(32)] {
            assert_eq!(Namespace::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "A", "a/b", "a b", "ü", &"x".repeat(33)] {
            assert_eq!(Namespace::parse(bad), None, "{bad:?}");
        }
    }
}
