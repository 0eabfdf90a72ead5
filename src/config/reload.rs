//! The settings that are read again while the server runs: API keys, and the settings of the log.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::keys::{self, ApiKey};
use super::reader::Reader;
use super::{ConfigError, Environment, LogSettings, Notice, Values};

/// The sources of the configuration. Flags and variables stay as they were at the start; files may
/// have changed.
#[derive(Clone)]
pub struct Reload {
    flags: BTreeMap<String, String>,
    environment: Environment,
    log_default: Option<String>,
}

/// The result of a reading.
#[derive(Debug)]
pub struct Reloaded {
    /// The API keys of callers.
    pub api_keys: Vec<ApiKey>,
    /// By what the file of keys seems to be cut off; `None` if it is whole.
    pub cut_off: Option<String>,
    /// The file that holds the keys, if one does.
    pub key_file: Option<PathBuf>,
    /// The settings of the log.
    pub log: LogSettings,
    /// Lines for the log.
    pub notices: Vec<Notice>,
}

impl Reload {
    /// Remembers the flags and the variables that the process was started with.
    pub fn new(flags: &BTreeMap<String, String>, environment: &Environment) -> Self {
        Self { flags: flags.clone(), environment: environment.clone(), log_default: None }
    }

    /// Sets another default for the filter of the log.
    #[must_use]
    pub fn log_default(self, filter: &str) -> Self {
        Self { log_default: Some(filter.to_owned()), ..self }
    }

    /// Reads the keys and the settings of the log as they are now.
    pub fn read(&self) -> Result<Reloaded, ConfigError> {
        let mut values = Values::resolve(&self.flags, &self.environment)?;
        if let Some(filter) = &self.log_default {
            values.set_default("log", filter);
        }
        let mut notices = Vec::new();
        let mut reader = Reader { values: &values, faults: Vec::new() };
        let mut cut_off = None;
        let api_keys = reader.read_optional("api_keys", keys::ALLOWED, |text| {
            let (read, fault) = keys::read_whole(text, &mut notices)?;
            cut_off = fault;
            Ok(read)
        });
        let log = reader.log();
        let text = values.get("api_keys").and_then(|value| value.text.as_deref());
        let key_file = text.and_then(keys::key_file).map(ToOwned::to_owned);
        match (api_keys, log) {
            (Ok(api_keys), Some(log)) if reader.faults.is_empty() => {
                let api_keys = api_keys.unwrap_or_default();
                Ok(Reloaded { api_keys, cut_off, key_file, log, notices })
            }
            _ => Err(ConfigError { faults: reader.faults }),
        }
    }
}

impl fmt::Debug for Reload {
    // The variables hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_the_filter_of_the_log_are_read_again_from_their_files() {
        let folder = tempfile::tempdir().unwrap();
        let (keys, toml) = (folder.path().join("keys"), folder.path().join("rethread.toml"));
        std::fs::write(&keys, "a:0123456789abcdef\n").unwrap();
        std::fs::write(&toml, "log = \"warn\"\n").unwrap();
        let at = format!("@{}", keys.display());
        let variables =
            [("RETHREAD_API_KEYS", at.as_str()), ("RETHREAD_CONFIG", toml.to_str().unwrap())];
        let reload = Reload::new(&BTreeMap::new(), &Environment::of(variables));
        let first = reload.read().unwrap();
        assert_eq!((first.api_keys.len(), first.log.filter.as_str()), (1, "warn"));
        assert_eq!(first.key_file, Some(keys.clone()));
        std::fs::write(&keys, "a:0123456789abcdef\nb:6543210987654321:reader\n").unwrap();
        std::fs::write(&toml, "log = \"debug\"\n").unwrap();
        let second = reload.read().unwrap();
        assert_eq!((second.api_keys.len(), second.log.filter.as_str()), (2, "debug"));
        std::fs::write(&keys, "# nobody\n").unwrap();
        assert!(reload.read().unwrap_err().to_string().contains("holds no keys"));
    }
}
