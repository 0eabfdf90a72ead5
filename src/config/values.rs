//! The layers: flags over environment over file over aliases over defaults, as text.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::alias::read_aliases;
use super::database::mask_url;
use super::file::read_file;
use super::{ConfigError, Environment, Notice, Setting, settings_list};

/// The source of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A flag.
    Flag,
    /// The setting's own variable.
    Environment,
    /// A variable that stands in for the setting's own.
    Alias(&'static str),
    /// The configuration file at this path.
    File(PathBuf),
    /// The default.
    Default,
}

/// The value of one setting, and its source.
#[derive(Debug, Clone)]
pub struct Value {
    /// The setting.
    pub setting: Setting,
    /// The text, if there is one.
    pub text: Option<String>,
    /// The source of the text.
    pub source: Source,
}

impl fmt::Display for Value {
    /// Writes the setting with its source and value, such as `RETHREAD_LEASE (--lease) = "abc"`,
    /// with secrets masked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.setting.variable)?;
        match &self.source {
            Source::Flag => write!(f, " (--{})", self.setting.flag)?,
            Source::Alias(name) => write!(f, " ({name})")?,
            Source::File(path) => write!(f, " ({})", path.display())?,
            Source::Environment | Source::Default => {}
        }
        match (&self.text, self.setting.id.as_str()) {
            (None, _) => f.write_str(" is not set"),
            (Some(_), "api_keys") => f.write_str(" = \"***\""),
            (Some(url), "database_url") => write!(f, " = {:?}", mask_url(url)),
            (Some(text), _) => write!(f, " = {text:?}"),
        }
    }
}

/// Returns the values that flags gave, by setting.
pub fn flags_of(matches: &ArgMatches) -> BTreeMap<String, String> {
    let mut flags = BTreeMap::new();
    for Setting { id, .. } in settings_list() {
        if matches.try_contains_id(&id).unwrap_or(false)
            && matches.value_source(&id) == Some(ValueSource::CommandLine)
            && let Ok(Some(text)) = matches.try_get_one::<String>(&id)
        {
            flags.insert(id, text.clone());
        }
    }
    flags
}

/// The values of all settings, with the lines for the log about their sources.
#[derive(Debug, Clone)]
pub struct Values {
    values: BTreeMap<String, Value>,
    /// Lines for the log.
    pub notices: Vec<Notice>,
}

impl Values {
    /// Lays the layers over each other.
    pub fn resolve(
        flags: &BTreeMap<String, String>,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let settings = settings_list();
        let mut notices = Vec::new();
        let aliases = read_aliases(environment, &mut notices)?;
        let path =
            flags.get("config").map(String::as_str).or_else(|| environment.get("RETHREAD_CONFIG"));
        let (path, file) = read_file(path, &settings)?;
        if let Some(path) = &path {
            notices.push(Notice::info(format!("configuration file {} is in use", path.display())));
        }
        let path = path.unwrap_or_default();
        let mut values = BTreeMap::new();
        for setting in settings {
            let id = setting.id.clone();
            let alias = aliases.iter().find(|aliased| aliased.id == id);
            let (text, source) = if let Some(text) = flags.get(&id) {
                (Some(text.clone()), Source::Flag)
            } else if let Some(text) = environment.get(&setting.variable) {
                (Some(text.to_owned()), Source::Environment)
            } else if let Some(aliased) = alias {
                (Some(aliased.value.clone()), Source::Alias(aliased.from))
            } else if let Some(text) = file.get(&id) {
                (Some(text.clone()), Source::File(path.clone()))
            } else {
                (setting.default.clone(), Source::Default)
            };
            if let Some(aliased) = alias {
                notices.push(alias_notice(aliased.from, &setting.variable, &source));
            }
            values.insert(id, Value { setting, text, source });
        }
        notices.extend(unknown_variables(environment, &values));
        Ok(Self { values, notices })
    }

    /// Returns a setting's value.
    pub fn get(&self, id: &str) -> Option<&Value> {
        self.values.get(id)
    }

    /// Replaces a default; a value from another source stays.
    pub fn set_default(&mut self, id: &str, text: &str) {
        if let Some(value) = self.values.get_mut(id)
            && value.source == Source::Default
        {
            value.text = Some(text.to_owned());
        }
    }
}

fn alias_notice(from: &str, variable: &str, source: &Source) -> Notice {
    if matches!(source, Source::Alias(_)) {
        Notice::info(format!("{from} stands in for {variable}"))
    } else {
        Notice::warn(format!("{from} has no effect: {variable} is set"))
    }
}

/// Returns a warning for each variable that looks like ours and is unknown: most likely a typo.
fn unknown_variables(environment: &Environment, values: &BTreeMap<String, Value>) -> Vec<Notice> {
    environment
        .with_prefix("RETHREAD_")
        .map(|(name, _)| name)
        .filter(|name| {
            !name.starts_with(super::SECRET_PREFIX) && !name.starts_with("RETHREAD_TEST_")
        })
        .filter(|name| !values.values().any(|value| value.setting.variable == *name))
        .map(|name| Notice::warn(format!("{name} has no effect: there is no such setting")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_environment_over_file_over_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.toml");
        std::fs::write(&path, "lease = \"1s\"\nlog = \"warn\"\nretention = \"1d\"").unwrap();
        let path = path.to_str().unwrap();
        let environment = Environment::of([
            ("RETHREAD_CONFIG", path),
            ("RETHREAD_LEASE", "2s"),
            ("RETHREAD_LOG", "debug"),
        ]);
        let flags = BTreeMap::from([("lease".to_owned(), "3s".to_owned())]);
        let values = Values::resolve(&flags, &environment).unwrap();
        let text = |id: &str| values.get(id).unwrap().text.clone().unwrap();
        assert_eq!(text("lease"), "3s");
        assert_eq!(text("log"), "debug");
        assert_eq!(text("retention"), "1d");
        assert_eq!(text("stale_after"), "2m");
    }

    #[test]
    fn own_name_wins_over_alias_and_says_so() {
        let environment =
            Environment::of([("DATABASE_URL", "memory:"), ("POSTGRES_URL", "postgres://h/d")]);
        let values = Values::resolve(&BTreeMap::new(), &environment).unwrap();
        assert_eq!(values.get("database_url").unwrap().text.as_deref(), Some("memory:"));
        assert!(values.notices.iter().any(|n| n.warning && n.text.contains("POSTGRES_URL")));
    }

    #[test]
    fn likely_typo_in_a_variable_is_named() {
        let environment = Environment::of([("RETHREAD_LEESE", "2s"), ("RETHREAD_SECRET_X", "y")]);
        let values = Values::resolve(&BTreeMap::new(), &environment).unwrap();
        assert_eq!(values.notices.len(), 1);
        assert!(values.notices[0].text.contains("RETHREAD_LEESE"));
    }
}
