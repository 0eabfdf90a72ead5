//! The process environment, read once and then passed on as a value.
//!
//! No other code reads the environment, so tests can pass their own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use super::ConfigError;

/// The prefix of the variables that hold the values of `{secrets.NAME}`.
pub const SECRET_PREFIX: &str = "RETHREAD_SECRET_";

/// Returns all variables of this process as they are: for the code that hides the secrets among
/// them, and for the few variables that programs of steps inherit.
pub fn process_variables() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os()
}

/// The variables by name. A variable with an empty value counts as not set: compose files and
/// `.env` templates use that to say "use the default".
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    unreadable: Vec<String>,
}

impl Environment {
    /// Makes an environment of the variables that this process was started with.
    pub fn of_started(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut environment = Self::default();
        for (name, value) in variables {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => environment.put(name, value),
                Err(_) => environment.unreadable.push(name),
            }
        }
        environment
    }

    /// Makes an environment of these variables.
    pub fn of<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut environment = Self::default();
        for (name, value) in variables {
            environment.put(name.to_owned(), value.to_owned());
        }
        environment
    }

    /// Adds the variables that a dotenv file sets and the environment does not. Returns whether
    /// there is such a file.
    pub fn add_dotenv(&mut self, path: &Path) -> Result<bool, ConfigError> {
        if !path.is_file() {
            return Ok(false);
        }
        let fault = |error: &dyn std::fmt::Display| {
            ConfigError::one(format!("{} can't be read: {error}", path.display()))
        };
        for entry in dotenvy::from_path_iter(path).map_err(|error| fault(&error))? {
            // The parser's own message quotes the line, which may hold a secret.
            let (name, value) = entry.map_err(|_| fault(&"a line is not NAME=value"))?;
            if !self.variables.contains_key(&name) {
                self.put(name, value);
            }
        }
        Ok(true)
    }

    /// Returns the value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Returns the variables whose names start with `prefix`, in the order of their names.
    pub fn with_prefix(&self, prefix: &str) -> impl Iterator<Item = (&str, &str)> {
        self.variables
            .iter()
            .filter(move |(name, _)| name.starts_with(prefix))
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns the names of the variables whose values are not text.
    pub fn unreadable(&self) -> &[String] {
        &self.unreadable
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.variables.remove(name);
    }

    pub(super) fn put(&mut self, name: String, value: String) {
        if !value.trim().is_empty() {
            self.variables.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_variable_counts_as_not_set() {
        let environment = Environment::of([("RETHREAD_LEASE", " "), ("DATABASE_URL", "memory:")]);
        assert_eq!(environment.get("RETHREAD_LEASE"), None);
        assert_eq!(environment.get("DATABASE_URL"), Some("memory:"));
    }

    #[test]
    fn dotenv_does_not_override_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        std::fs::write(&path, "DATABASE_URL=memory:\nRETHREAD_LEASE=9s\n").unwrap();
        let mut environment = Environment::of([("RETHREAD_LEASE", "3s")]);
        assert!(environment.add_dotenv(&path).unwrap());
        assert_eq!(environment.get("RETHREAD_LEASE"), Some("3s"));
        assert_eq!(environment.get("DATABASE_URL"), Some("memory:"));
    }

    #[test]
    fn broken_dotenv_line_is_not_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        std::fs::write(&path, "DATABASE_URL='hunter2\n").unwrap();
        let error = Environment::default().add_dotenv(&path).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
