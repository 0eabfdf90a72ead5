//! The layer of `rethread.toml`: a flat file with one key a setting.
//!
//! A key is the name of a flag (`max-running` or `max_running`) or of a variable
//! (`RETHREAD_MAX_RUNNING`). Any other key is refused by name: a typo must never be silently
//! ignored.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Value;

use super::{ConfigError, Setting};

/// The file that is read when none is named, if it exists.
pub(super) const DEFAULT_FILE: &str = "rethread.toml";

/// Reads the file at `path`; without a path, the default file if it exists.
pub(super) fn read_file(
    path: Option<&str>,
    settings: &[Setting],
) -> Result<(Option<PathBuf>, BTreeMap<String, String>), ConfigError> {
    let path = match path {
        Some(path) => PathBuf::from(path),
        None if Path::new(DEFAULT_FILE).is_file() => PathBuf::from(DEFAULT_FILE),
        None => return Ok((None, BTreeMap::new())),
    };
    let text = std::fs::read_to_string(&path).map_err(|error| {
        ConfigError::one(format!("RETHREAD_CONFIG = {:?}: {error}", path.display()))
    })?;
    let values = parse(&text, settings, &path)?;
    Ok((Some(path), values))
}

fn parse(
    text: &str,
    settings: &[Setting],
    path: &Path,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        // The parser's full message quotes the line, which may hold a secret.
        let line = error
            .span()
            .map_or(1, |span| text.bytes().take(span.start).filter(|b| *b == b'\n').count() + 1);
        ConfigError::one(format!("{} line {line}: {}", path.display(), error.message()))
    })?;
    let mut values = BTreeMap::new();
    let mut faults = Vec::new();
    for (key, value) in &table {
        let Some(setting) = settings.iter().find(|setting| setting.is_called(key)) else {
            faults.push(format!("{}: unknown key {key:?}{}", path.display(), hint(key, settings)));
            continue;
        };
        match as_text(value) {
            Ok(text) => {
                if values.insert(setting.id.clone(), text).is_some() {
                    faults.push(format!("{}: {key:?} is set twice", path.display()));
                }
            }
            Err(found) => faults.push(format!(
                "{}: {key:?} is {found}; allowed: a string, a number, a boolean, or a list of strings",
                path.display()
            )),
        }
    }
    if faults.is_empty() { Ok(values) } else { Err(ConfigError { faults }) }
}

fn hint(key: &str, settings: &[Setting]) -> String {
    if key.to_ascii_uppercase().starts_with("RETHREAD_SECRET_") || key.contains("secret") {
        return "; secrets come from RETHREAD_SECRET_NAME variables only".to_owned();
    }
    let names: Vec<_> = settings.iter().map(|setting| setting.flag.as_str()).collect();
    format!("; allowed: {}", names.join(", "))
}

/// Returns a value as the text that the variable would hold.
fn as_text(value: &Value) -> Result<String, &'static str> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(flag) => Ok(flag.to_string()),
        Value::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            texts.map(|texts| texts.join(",")).ok_or("a list of something else than strings")
        }
        Value::Float(number) => Ok(number.to_string()),
        Value::Datetime(_) => Err("a time"),
        Value::Table(_) => Err("a table"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings_list;

    fn read(text: &str) -> Result<BTreeMap<String, String>, ConfigError> {
        parse(text, &settings_list(), Path::new("rethread.toml"))
    }

    #[test]
    fn keys_are_flags_or_variables() {
        let values = read(
            "max-running = 7\nmax_body = \"1MiB\"\nRETHREAD_LEASE = \"3s\"\nexec-allow = [\"git\", \"jq\"]",
        )
        .unwrap();
        assert_eq!(values["max_running"], "7");
        assert_eq!(values["max_body"], "1MiB");
        assert_eq!(values["lease"], "3s");
        assert_eq!(values["exec_allow"], "git,jq");
    }

    #[test]
    fn unknown_key_is_refused_by_name() {
        let error = read("leese = \"3s\"\nmax-running = 2026-01-01").unwrap_err();
        assert_eq!(error.faults.len(), 2, "all faults at once: {error}");
        assert!(error.to_string().contains("unknown key \"leese\""), "{error}");
    }

    #[test]
    fn syntax_error_names_the_line_and_quotes_nothing() {
        let error = read("lease = \"3s\"\napi-keys = ci:hunter2").unwrap_err().to_string();
        assert!(error.contains("rethread.toml line 2"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
