//! Names that other tools use for the same settings.
//!
//! An alias only fills in a setting that nothing else sets, and always with a line in the log, so
//! that nobody is surprised by a variable that was set for another program.

use super::database::mask_url;
use super::{ConfigError, Environment, Notice};

/// A value that came under another name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Aliased {
    /// The id of the setting it stands in for.
    pub id: &'static str,
    /// The variable it came from.
    pub from: &'static str,
    /// The value, in the form that the setting itself takes.
    pub value: String,
}

/// The variables that stand in for `DATABASE_URL`, in the order in which they are read.
const DATABASE_URLS: [&str; 2] = ["POSTGRES_URL", "POSTGRES_CONNECTION_STRING"];
/// The switches that ask for Postgres.
const WANT_POSTGRES: [&str; 2] = ["USE_POSTGRES", "USE_POSTGRES_SAVER"];
/// The switches that ask for SQLite.
const WANT_SQLITE: [&str; 2] = ["USE_SQLITE", "DEV_USE_SQLITE"];
/// Common variables without a counterpart here, and what to do instead.
const UNSUPPORTED: [(&str, &str); 2] = [
    ("WORKFLOW_MAX_RETRIES", "set `defaults.retry.maxAttempts` in the workflow"),
    ("WORKFLOW_ENABLE_MONITORING", "monitoring is always on"),
];

/// Collects the aliases that are set.
pub(super) fn read_aliases(
    environment: &Environment,
    notices: &mut Vec<Notice>,
) -> Result<Vec<Aliased>, ConfigError> {
    let mut found = Vec::new();
    found.extend(database(environment)?);
    if let Some(schema) = environment.get("POSTGRES_SCHEMA") {
        found.push(Aliased {
            id: "database_schema",
            from: "POSTGRES_SCHEMA",
            value: schema.to_owned(),
        });
    }
    if let Some(factor) = environment.get("WORKFLOW_TIMEOUT_MULTIPLIER") {
        found.push(Aliased {
            id: "timeout_multiplier",
            from: "WORKFLOW_TIMEOUT_MULTIPLIER",
            value: factor.to_owned(),
        });
    }
    if let Some(level) = environment.get("WORKFLOW_LOG_LEVEL") {
        found.push(Aliased { id: "log", from: "WORKFLOW_LOG_LEVEL", value: log_level(level) });
    }
    for (name, instead) in UNSUPPORTED {
        if environment.get(name).is_some() {
            notices.push(Notice::warn(format!("{name} has no effect: {instead}")));
        }
    }
    Ok(found)
}

/// Returns the database that the aliases ask for, if they ask for one.
fn database(environment: &Environment) -> Result<Option<Aliased>, ConfigError> {
    let id = "database_url";
    let mut faults = Vec::new();
    let mut switch = |name: &'static str| match environment.get(name).map(read_switch) {
        None => None,
        Some(Some(on)) => Some((name, on)),
        Some(None) => {
            faults.push(format!(
                "{name} = {:?}: allowed: true, false",
                environment.get(name).unwrap_or_default()
            ));
            None
        }
    };
    let postgres = WANT_POSTGRES.map(&mut switch);
    let sqlite = WANT_SQLITE.map(&mut switch);
    if !faults.is_empty() {
        return Err(ConfigError { faults });
    }
    let asked = |switches: [Option<(&'static str, bool)>; 2], on: bool| {
        switches.into_iter().flatten().find(|(_, value)| *value == on).map(|(name, _)| name)
    };
    let url = DATABASE_URLS.iter().find_map(|name| Some((*name, environment.get(name)?)));
    let sqlite_file = || match environment.get("SQLITE_PATH") {
        Some(path) => format!("sqlite://{path}"),
        None => environment
            .get("WORKFLOW_STATE_DIRECTORY")
            .map_or_else(|| "sqlite://rethread.db".to_owned(), in_directory),
    };
    if let Some(from) = asked(postgres, true) {
        if let Some((from, value)) = url {
            return Ok(Some(Aliased { id, from, value: value.to_owned() }));
        }
        return match environment.get("DATABASE_URL") {
            Some(url) if !url.starts_with("postgres") => Err(ConfigError::one(format!(
                "{from} = true, but DATABASE_URL = {:?}: set a postgres:// address, or unset {from}",
                mask_url(url)
            ))),
            Some(_) => Ok(None),
            None => Err(ConfigError::one(format!(
                "{from} = true, but DATABASE_URL is not set: set it to a postgres:// address"
            ))),
        };
    }
    if let Some(from) = asked(sqlite, true) {
        return Ok(Some(Aliased { id, from, value: sqlite_file() }));
    }
    if let (Some((from, value)), None) = (url, asked(postgres, false)) {
        return Ok(Some(Aliased { id, from, value: value.to_owned() }));
    }
    for from in ["SQLITE_PATH", "WORKFLOW_STATE_DIRECTORY"] {
        if environment.get(from).is_some() {
            return Ok(Some(Aliased { id, from, value: sqlite_file() }));
        }
    }
    Ok(None)
}

fn in_directory(directory: &str) -> String {
    format!("sqlite://{}/rethread.db", directory.trim_end_matches('/'))
}

/// Reads a switch in the forms that other tools write; `None` if the text is none of them.
pub(super) fn read_switch(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Translates a log level of Python into our words.
fn log_level(level: &str) -> String {
    match level.to_ascii_uppercase().as_str() {
        "WARNING" => "warn".to_owned(),
        "CRITICAL" | "FATAL" => "error".to_owned(),
        other => other.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Variables, with the value and the variable that win.
    type Case<'a> = (&'a [(&'a str, &'a str)], Option<(&'a str, &'a str)>);

    fn url(variables: &[(&str, &str)]) -> Result<Option<(String, &'static str)>, ConfigError> {
        let found = database(&Environment::of(variables.iter().copied()))?;
        Ok(found.map(|aliased| (aliased.value, aliased.from)))
    }

    #[test]
    fn database_aliases_choose_one_database() {
        let pg = "postgres://h/d";
        let cases: &[Case<'_>] = &[
            (&[], None),
            (&[("POSTGRES_URL", pg)], Some((pg, "POSTGRES_URL"))),
            (
                &[("POSTGRES_CONNECTION_STRING", pg), ("USE_POSTGRES_SAVER", "true")],
                Some((pg, "POSTGRES_CONNECTION_STRING")),
            ),
            (&[("POSTGRES_URL", pg), ("USE_POSTGRES", "false")], None),
            (
                &[("POSTGRES_URL", pg), ("USE_SQLITE", "1")],
                Some(("sqlite://rethread.db", "USE_SQLITE")),
            ),
            (
                &[("USE_SQLITE", "true"), ("SQLITE_PATH", "/d/x.db")],
                Some(("sqlite:///d/x.db", "USE_SQLITE")),
            ),
            (&[("SQLITE_PATH", "x.db")], Some(("sqlite://x.db", "SQLITE_PATH"))),
            (&[("DEV_USE_SQLITE", "true")], Some(("sqlite://rethread.db", "DEV_USE_SQLITE"))),
            (
                &[("WORKFLOW_STATE_DIRECTORY", "/var/lib/r/")],
                Some(("sqlite:///var/lib/r/rethread.db", "WORKFLOW_STATE_DIRECTORY")),
            ),
        ];
        for (variables, expected) in cases {
            let expected = expected.map(|(value, from)| (value.to_owned(), from));
            let found = url(variables).unwrap();
            assert_eq!(found.as_ref().map(|(v, f)| (v.clone(), *f)), expected, "{variables:?}");
        }
    }

    #[test]
    fn asking_for_postgres_without_an_address_is_a_fault() {
        let error = url(&[("USE_POSTGRES", "true")]).unwrap_err().to_string();
        assert!(error.contains("USE_POSTGRES") && error.contains("DATABASE_URL"), "{error}");
        assert!(url(&[("USE_POSTGRES", "maybe")]).is_err());
    }

    #[test]
    fn variables_without_counterpart_are_named() {
        let mut notices = Vec::new();
        let environment =
            Environment::of([("WORKFLOW_MAX_RETRIES", "3"), ("WORKFLOW_LOG_LEVEL", "WARNING")]);
        let found = read_aliases(&environment, &mut notices).unwrap();
        assert_eq!(found.first().unwrap().value, "warn");
        assert!(notices.iter().any(|n| n.warning && n.text.contains("WORKFLOW_MAX_RETRIES")));
    }
}
