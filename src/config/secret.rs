//! The variables and flags that hold secrets, and the files that may hold those secrets instead.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::database::Database;
use super::environment::SECRET_PREFIX;
use super::{ConfigError, Environment};

/// The variables that are secret as a whole, or hold a password.
const SECRETS: [&str; 5] =
    [API_KEYS, "DATABASE_URL", "POSTGRES_URL", "POSTGRES_CONNECTION_STRING", PASSWORD];
/// The variable of the API keys. Its file may be read again while the server runs.
const API_KEYS: &str = "RETHREAD_API_KEYS";
/// The variable of the Postgres password, for an address without one.
const PASSWORD: &str = "PGPASSWORD";
/// The words in the names of our variables that mark them as secret.
const SECRET_WORDS: [&str; 4] = ["SECRET", "KEY", "TOKEN", "PASSWORD"];
/// The flags that stand in for the variables above.
const FLAGS: [&str; 2] = ["--api-keys", "--database-url"];
/// The end of the name of a variable that names a file instead.
const FILE: &str = "_FILE";
/// The most bytes of such a file. No secret is longer, and a device that never ends does not hold
/// up the start.
const MAX_FILE: u64 = 1 << 20;

/// Returns whether to hide a variable from other processes: the address of a local file need not be
/// hidden.
pub fn is_secret(name: &OsStr, value: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let is_local = |prefix: &str| value.as_bytes().starts_with(prefix.as_bytes());
    let names_secret = SECRETS.contains(&name)
        || (name.starts_with("RETHREAD_") && SECRET_WORDS.iter().any(|word| name.contains(word)));
    names_secret
        && !value.is_empty()
        && !name.ends_with(FILE)
        && !["sqlite:", "memory"].into_iter().any(is_local)
}

/// Returns whether this server alone reads a variable; such a variable is hidden together with the
/// secrets.
pub fn is_ours(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with("RETHREAD_") || SECRETS.contains(&name))
}

/// Returns a command line with its secrets masked.
pub fn mask_arguments(arguments: &[OsString]) -> Vec<OsString> {
    let mut masked = Vec::with_capacity(arguments.len());
    let mut follows = false;
    for argument in arguments {
        let text = argument.to_str().unwrap_or_default();
        let flag = FLAGS
            .iter()
            .find(|flag| text.strip_prefix(**flag).is_some_and(|rest| rest.starts_with('=')));
        masked.push(match flag {
            _ if follows => "***".into(),
            Some(flag) => format!("{flag}=***").into(),
            None => argument.clone(),
        });
        follows = !follows && FLAGS.contains(&text);
    }
    masked
}

impl Environment {
    /// Replaces each `NAME_FILE` by NAME with the contents of the file, where NAME holds a secret
    /// or the address of a database. One line end behind the contents is cut off.
    pub fn read_files(&mut self) -> Result<(), ConfigError> {
        let named = |variable: &str| {
            let name = variable.strip_suffix(FILE)?;
            let known = SECRETS.contains(&name)
                || name.strip_prefix(SECRET_PREFIX).is_some_and(|name| !name.is_empty());
            known.then(|| name.to_owned())
        };
        let all = self.with_prefix("").filter_map(|(name, path)| Some((named(name)?, path)));
        let all: Vec<(String, String)> = all.map(|(name, path)| (name, path.to_owned())).collect();
        let mut faults = Vec::new();
        for (name, path) in all {
            self.remove(&format!("{name}{FILE}"));
            if self.get(&name).is_some() {
                faults.push(format!("{name} and {name}{FILE} are both set; allowed: one of them"));
            } else if name == API_KEYS {
                self.put(name, format!("@{path}"));
            } else {
                match read_file(&path) {
                    Ok(value) => self.put(name, value),
                    // The path is not shown: an operator may have put the secret in its place.
                    Err(fault) => faults.push(format!(
                        "{name}{FILE}: the file that it names {fault}; allowed: the path of a file \
                         that holds {name}"
                    )),
                }
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(ConfigError { faults }) }
    }
}

fn read_file(path: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    read.map_err(|error| format!("can't be read ({error})"))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE {
        return Err(format!("is larger than {MAX_FILE} bytes"));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| "is not text".to_owned())?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.trim().is_empty() { Err("is empty".to_owned()) } else { Ok(text) }
}

/// Puts `PGPASSWORD` into an address without a password: the driver looks for it in the
/// environment, from which it is gone.
pub(super) fn with_password(database: Database, environment: &Environment) -> Database {
    let (Database::Postgres(url), Some(password)) = (&database, environment.get(PASSWORD)) else {
        return database;
    };
    let Ok(mut url) = Url::parse(url.expose_secret()) else { return database };
    if url.password().is_some() || url.query_pairs().any(|(name, _)| name == "password") {
        return database;
    }
    url.query_pairs_mut().append_pair("password", password);
    Database::Postgres(SecretString::from(url.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(Into::into).collect()
    }

    #[test]
    fn secrets_are_told_from_plain_settings() {
        for (name, value, secret) in [
            ("RETHREAD_SECRET_TOKEN", "x", true),
            ("RETHREAD_API_KEYS", "a:b", true),
            ("RETHREAD_OIDC_CLIENT_SECRET", "x", true),
            ("DATABASE_URL", "postgres://u:p@h/d", true),
            ("POSTGRES_CONNECTION_STRING", "postgres://u:p@h/d", true),
            ("PGPASSWORD", "x", true),
            ("DATABASE_URL", "sqlite://a.db", false),
            ("RETHREAD_LOG", "info", false),
            ("RETHREAD_API_KEYS_FILE", "/run/keys", false),
            ("AWS_SECRET_ACCESS_KEY", "x", false),
        ] {
            assert_eq!(is_secret(name.as_ref(), value.as_ref()), secret, "{name}={value}");
        }
    }

    #[test]
    fn flags_are_masked_however_they_are_written() {
        let line = ["rethread", "serve", "--api-keys", "a:b", "--database-url=postgres://u:p@h/d"];
        let masked = ["rethread", "serve", "--api-keys", "***", "--database-url=***"];
        assert_eq!(mask_arguments(&words(&line)), words(&masked));
        let plain = words(&["rethread", "serve", "--log", "info"]);
        assert_eq!(mask_arguments(&plain), plain);
    }

    #[test]
    fn files_stand_in_for_secrets_and_addresses() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (url, token) = (file("url", "postgres://u:p@h/d\r\n"), file("token", "a\nb\n"));
        let mut environment = Environment::of([
            ("POSTGRES_URL_FILE", url.as_str()),
            ("RETHREAD_SECRET_TOKEN_FILE", token.as_str()),
            ("RETHREAD_SECRET_FILE", "plain"),
            ("RETHREAD_API_KEYS_FILE", "/run/keys"),
            ("OTHER_FILE", "/nowhere"),
        ]);
        environment.read_files().unwrap();
        assert_eq!(environment.get("POSTGRES_URL"), Some("postgres://u:p@h/d"));
        assert_eq!(environment.get("RETHREAD_SECRET_TOKEN"), Some("a\nb"));
        assert_eq!(environment.get("RETHREAD_SECRET_FILE"), Some("plain"));
        assert_eq!(environment.get("RETHREAD_API_KEYS"), Some("@/run/keys"));
        assert_eq!(environment.get("RETHREAD_SECRET_TOKEN_FILE"), None);
        assert_eq!(environment.get("OTHER_FILE"), Some("/nowhere"));
    }

    #[test]
    fn every_fault_of_a_file_is_named_and_no_secret_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty");
        std::fs::write(&empty, "\n").unwrap();
        let mut environment = Environment::of([
            ("DATABASE_URL", "postgres://u:hunter2@h/d"),
            ("DATABASE_URL_FILE", "/run/url"),
            ("RETHREAD_SECRET_A_FILE", "hunter2"),
            ("RETHREAD_SECRET_B_FILE", empty.to_str().unwrap()),
            ("RETHREAD_SECRET_C_FILE", "/dev/zero"),
        ]);
        let error = environment.read_files().unwrap_err();
        assert_eq!(error.faults.len(), 4, "{error}");
        let text = error.to_string();
        for part in [
            "DATABASE_URL and DATABASE_URL_FILE are both set",
            "RETHREAD_SECRET_A_FILE: the file that it names can't be read",
            "RETHREAD_SECRET_B_FILE: the file that it names is empty",
            "RETHREAD_SECRET_C_FILE: the file that it names is larger than 1048576 bytes",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn the_password_of_the_environment_fills_a_gap_alone() {
        let environment = Environment::of([("PGPASSWORD", "hunter 2")]);
        let read = |url: &str| match with_password(Database::Postgres(url.into()), &environment) {
            Database::Postgres(url) => url.expose_secret().to_owned(),
            Database::Sqlite(_) | Database::Memory => panic!("another store"),
        };
        assert_eq!(read("postgres://u@h/d"), "postgres://u@h/d?password=hunter+2");
        assert_eq!(read("postgres://u:p@h/d"), "postgres://u:p@h/d");
        assert_eq!(read("postgres:///d?host=/run"), "postgres:///d?host=/run&password=hunter+2");
    }
}
