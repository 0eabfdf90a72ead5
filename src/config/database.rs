//! Reads `DATABASE_URL`, and masks the parts that a log must not show.

use std::path::PathBuf;

use secrecy::SecretString;
use url::Url;

/// The database that threads are kept in.
#[derive(Debug, Clone)]
pub enum Database {
    /// PostgreSQL: the address with its password.
    Postgres(SecretString),
    /// A SQLite file.
    Sqlite(PathBuf),
    /// Memory: nothing survives the process.
    Memory,
}

/// The store to use if the database can't be reached at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// No store: the start fails.
    None,
    /// A SQLite file of this replica.
    Sqlite,
    /// Memory: nothing survives the process.
    Memory,
}

/// The allowed addresses, for the message that refuses another one.
pub(super) const ALLOWED: &str = "postgres://user:password@host/database, sqlite://path or memory:";

/// Reads a database address.
pub(super) fn read_database(text: &str) -> Result<Database, String> {
    let text = text.trim();
    if matches!(text, "memory:" | "memory://" | "memory" | "sqlite::memory:") {
        return Ok(Database::Memory);
    }
    if let Some(path) = text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:")) {
        let path = path.strip_suffix("?mode=rwc").unwrap_or(path);
        if path.is_empty() || path.ends_with('/') || path.contains(['?', '\0']) {
            return Err("not the path of a file; parameters are not supported".to_owned());
        }
        return Ok(Database::Sqlite(PathBuf::from(path)));
    }
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        if url.host_str().is_none_or(str::is_empty) && url.query().is_none() {
            return Err("no host is named".to_owned());
        }
        return Ok(Database::Postgres(SecretString::from(text)));
    }
    Err("not a database address".to_owned())
}

/// Reads the name of a store to fall back to.
pub(super) fn read_fallback(text: &str) -> Result<Fallback, String> {
    match text.trim() {
        "none" => Ok(Fallback::None),
        "sqlite" => Ok(Fallback::Sqlite),
        "memory" => Ok(Fallback::Memory),
        _ => Err("not a store to fall back to".to_owned()),
    }
}

/// Reads the path of a file.
pub(super) fn read_path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.ends_with('/') || text.contains(['?', '\0']) {
        return Err("not the path of a file".to_owned());
    }
    Ok(PathBuf::from(text))
}

/// Reads the name of a schema.
pub(super) fn read_schema(text: &str) -> Result<String, String> {
    let mut letters = text.chars();
    let first = letters.next().is_some_and(|c| c.is_ascii_lowercase() || c == '_');
    let rest = letters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if first && rest && text.len() <= MAX_IDENTIFIER && !text.starts_with("pg_") {
        Ok(text.to_owned())
    } else {
        Err("not a schema name".to_owned())
    }
}

/// The longest identifier, in bytes. Postgres silently cuts longer names off.
const MAX_IDENTIFIER: usize = 63;

/// Returns the address with its password (and any `password` parameter) masked.
pub fn mask_url(text: &str) -> String {
    // An '@' beyond the host most likely belongs to a password with a '/', '?' or '#' in it.
    let read = |url: &Url| url.has_host() && !url[url::Position::AfterHost..].contains('@');
    let Some(mut url) = Url::parse(text).ok().filter(read) else {
        return mask_by_hand(text);
    };
    if url.password().is_some() && url.set_password(Some("***")).is_err() {
        return mask_by_hand(text);
    }
    if url.query_pairs().any(|(key, _)| is_password(&key)) {
        let pairs: Vec<(String, String)> = url
            .query_pairs()
            .map(|(key, value)| {
                let value = if is_password(&key) { "***".into() } else { value };
                (key.into_owned(), value.into_owned())
            })
            .collect();
        url.query_pairs_mut().clear().extend_pairs(pairs);
    }
    url.to_string()
}

/// The words in the names of parameters that hold a secret.
const SECRETS: [&str; 4] = ["pass", "pwd", "secret", "token"];

fn is_password(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRETS.iter().any(|word| key.contains(word))
}

/// Masks a text that is no address but may still hold a password. Without a scheme, nothing of it
/// is shown. Otherwise everything up to the last `@` goes, or from the first `:` on, and everything
/// after a secret's name.
fn mask_by_hand(text: &str) -> String {
    let scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let Some((scheme, rest)) = text.split_once("://").filter(|(name, _)| name.bytes().all(scheme))
    else {
        return "***".to_owned();
    };
    let rest = match (rest.rsplit_once('@'), rest.split_once(':')) {
        (Some((_, rest)), _) => format!("***@{rest}"),
        (None, Some((host, _))) => format!("{host}:***"),
        (None, None) => rest.to_owned(),
    };
    let lower = rest.to_ascii_lowercase();
    match SECRETS.iter().filter_map(|word| lower.find(word)).min() {
        Some(at) => format!("{scheme}://{}***", rest.get(..at).unwrap_or_default()),
        None => format!("{scheme}://{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_choose_a_store() {
        assert!(matches!(read_database("memory:").unwrap(), Database::Memory));
        assert!(matches!(read_database("postgresql://h/d").unwrap(), Database::Postgres(_)));
        for (text, path) in [
            ("sqlite://rethread.db", "rethread.db"),
            ("sqlite:///var/lib/r.db", "/var/lib/r.db"),
            ("sqlite:r.db", "r.db"),
            ("sqlite://r.db?mode=rwc", "r.db"),
        ] {
            let Database::Sqlite(found) = read_database(text).unwrap() else { panic!("{text}") };
            assert_eq!(found, PathBuf::from(path));
        }
        for text in ["mysql://h/d", "sqlite://", "sqlite://a?cache=shared", "", "rethread.db"] {
            assert!(read_database(text).is_err(), "{text}");
        }
    }

    #[test]
    fn passwords_are_masked_wherever_they_stand() {
        for text in [
            "postgres://u:hunter2@h:5432/d",
            "postgres://u@h/d?password=hunter2&sslmode=require",
            "postgres://u:hunter2@h:notaport/d",
            "postgres://u:1hunter2/x@h/d",
            "postgres://u:1/hunter2@h/d",
            "postgres://u:1?hunter2@h/d",
            "postgres://u:1#hunter2@h/d",
            "postgres://h/d?sslpassword=hunter2",
            "postgres://h/d?pwd=hunter2",
            "postgres://u:hunter2/d",
            "postgres://h:x/d?pwd=hunter2",
            "u:hunter2@h",
            "u:hunter2@h://d",
            "host=h password=hunter2",
            "host=h pass=hunter2",
            "hunter2",
            "//u:hunter2/h",
            "postgres:u:hunter2/h",
            "db.example:5432/d?pw=hunter2",
        ] {
            let masked = mask_url(text);
            assert!(!masked.contains("hunter2"), "{masked}");
        }
        assert_eq!(mask_url("postgres://u:p@h:5432/d"), "postgres://u:***@h:5432/d");
        assert_eq!(mask_url("sqlite://rethread.db"), "sqlite://rethread.db");
    }

    #[test]
    fn schema_names_are_plain_identifiers() {
        assert_eq!(read_schema("workflow_checkpoints").unwrap(), "workflow_checkpoints");
        for text in ["", "1a", "a-b", "a\";drop", "pg_x", "Ab"] {
            assert!(read_schema(text).is_err(), "{text}");
        }
    }
}
