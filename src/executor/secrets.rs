//! The values behind `{secrets.NAME}`.

use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::redact::{MIN_SECRET_BYTES, Redactor};

/// The server's secrets (`RETHREAD_SECRET_NAME`), by name. `Debug` shows no value.
#[derive(Debug, Default)]
pub struct Secrets {
    values: BTreeMap<String, SecretString>,
    redactor: Arc<Redactor>,
}

impl Secrets {
    /// Takes the secrets by name.
    pub fn new(values: impl IntoIterator<Item = (String, SecretString)>) -> Self {
        let values: BTreeMap<String, SecretString> = values.into_iter().collect();
        let exposed = values.iter().map(|(name, value)| (name.as_str(), value.expose_secret()));
        let redactor = Arc::new(Redactor::new(exposed));
        Self { values, redactor }
    }

    /// Returns the value of that name. It may go into an attempt's `with`, and nowhere else.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(ExposeSecret::expose_secret)
    }

    /// Returns the redactor of all of them, for texts that are stored or shown.
    pub fn redactor(&self) -> Arc<Redactor> {
        Arc::clone(&self.redactor)
    }

    /// Returns the names of secrets that are too short to be told from other text: they are filled
    /// in, and are shown wherever a target repeats them.
    pub fn too_short(&self) -> impl Iterator<Item = &str> {
        let short = |value: &SecretString| value.expose_secret().trim().len() < MIN_SECRET_BYTES;
        self.values.iter().filter(move |(_, value)| short(value)).map(|(name, _)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_values_are_usable_and_named_as_such() {
        let values = [("EMPTY", ""), ("SHORT", "abc"), ("KEY", "hunter2hunter2")];
        let secrets = Secrets::new(values.map(|(name, value)| (name.to_owned(), value.into())));
        assert_eq!((secrets.get("EMPTY"), secrets.get("SHORT")), (Some(""), Some("abc")));
        assert_eq!(secrets.get("OTHER"), None);
        assert_eq!(secrets.too_short().collect::<Vec<_>>(), ["EMPTY", "SHORT"]);
        let redactor = secrets.redactor();
        assert_eq!(redactor.redact("abc hunter2HUNTER2"), "abc [redacted:KEY]");
        let shown = format!("{secrets:?}");
        assert!(shown.contains("KEY") && !shown.contains("hunter2"), "{shown}");
    }
}
