//! Reads API keys: `name:secret[:role[:namespace]]`. Secrets are hashed at once; no code keeps
//! their text.

use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::Notice;
use crate::model::{Namespace, Role};

/// An API key: its holder, role and namespace, and the hash of its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// The holder's name; events show it as `by`.
    pub name: String,
    /// The SHA-256 of the secret.
    pub hash: [u8; 32],
    /// The role, which decides which calls the key may make.
    pub role: Role,
    /// The namespace, whose threads the key sees.
    pub namespace: Namespace,
}

impl ApiKey {
    /// Makes an admin's key of the default namespace from its name and its secret.
    pub fn new(name: &str, secret: &str) -> Self {
        Self {
            name: name.to_owned(),
            hash: Sha256::digest(secret.as_bytes()).into(),
            role: Role::Admin,
            namespace: Namespace::default(),
        }
    }
}

/// The allowed texts, for the message that refuses another one.
pub(super) const ALLOWED: &str = "name:secret or name:secret:role[:namespace], separated by commas, or @file with one a line; \
     after a secret with colons the role is named; a name is up to 64 letters, digits, '.', '_' or '-'; a role is reader, invoker, operator or admin";

/// The length of a good secret, in characters. A random key of this length can't be guessed over a
/// network.
const GOOD_LENGTH: usize = 16;
/// The longest word that is taken for a misspelled role, in characters: about twice the longest role.
const MAX_ROLE_WORD: usize = 16;
/// The longest name, in characters, so that it fits a log line.
const MAX_NAME: usize = 64;

/// Returns the path that the text names with an `@`, if it does.
pub(super) fn key_file(text: &str) -> Option<&Path> {
    text.trim().strip_prefix('@').map(Path::new)
}

/// Reads keys from the text, or from the file that it names with an `@`. A file whose last line has no
/// end is warned about.
pub(super) fn read_api_keys(text: &str, notices: &mut Vec<Notice>) -> Result<Vec<ApiKey>, String> {
    let (keys, cut_off) = read_whole(text, notices)?;
    notices.extend(cut_off.map(Notice::warn));
    Ok(keys)
}

/// Reads keys, and says by what their file seems to be cut off: the rest of a line may have meant less
/// (without a role, a key is an admin's).
pub(super) fn read_whole(
    text: &str,
    notices: &mut Vec<Notice>,
) -> Result<(Vec<ApiKey>, Option<String>), String> {
    let Some(path) = key_file(text) else { return Ok((read_list(text, notices)?, None)) };
    let content = std::fs::read_to_string(path)
        .map_err(|error| format!("file \"{}\": {error}", path.display()))?;
    let lines: Vec<&str> = content
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    if lines.is_empty() {
        return Err(format!("file \"{}\" holds no keys", path.display()));
    }
    let cut_off = (!content.ends_with('\n')).then(|| {
        format!(
            "the last line of file \"{}\" does not end with a newline: it may be cut off",
            path.display()
        )
    });
    Ok((read_list(&lines.join(","), notices)?, cut_off))
}

fn read_list(text: &str, notices: &mut Vec<Notice>) -> Result<Vec<ApiKey>, String> {
    let mut keys: Vec<ApiKey> = Vec::new();
    for (index, item) in text.split(',').map(str::trim).enumerate() {
        let at = index + 1;
        // Neither half may be shown: without the colon it is unknown which one is the secret.
        let (name, rest) = item.split_once(':').ok_or_else(|| format!("pair {at} has no colon"))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(plain) {
            return Err(format!("the name of pair {at} is not a name"));
        }
        let (secret, role, namespace) = split_grant(rest);
        if secret.is_empty() || secret.contains(char::is_whitespace) {
            return Err(format!("the secret of pair {at} ({name}) is empty or has a blank in it"));
        }
        if let Some(fault) = misread(secret, role) {
            return Err(format!("pair {at} ({name}) {fault}"));
        }
        let key =
            ApiKey { role: role.unwrap_or(Role::Admin), namespace, ..ApiKey::new(name, secret) };
        if let Some(other) = keys.iter().find(|other| other.hash == key.hash && **other != key) {
            let how = if other.name == key.name {
                "with another role or namespace"
            } else {
                "under another name"
            };
            return Err(format!("the secret of pair {at} ({name}) is used {how}"));
        }
        warn(&key, secret, notices);
        keys.push(key);
    }
    Ok(keys)
}

/// Splits the role and the namespace off a secret. The last parts are a role, or a role and a namespace,
/// only if they read as such and a secret comes before them.
fn split_grant(text: &str) -> (&str, Option<Role>, Namespace) {
    let Some((head, last)) = text.rsplit_once(':') else {
        return (text, None, Namespace::default());
    };
    // The longer form first: a namespace may have the name of a role.
    if let Some((secret, role)) = head.rsplit_once(':')
        && let (Some(role), Some(namespace)) = (Role::parse(role), Namespace::parse(last))
    {
        return (secret, Some(role), namespace);
    }
    match Role::parse(last) {
        Some(role) => (head, Some(role), Namespace::default()),
        None => (text, None, Namespace::default()),
    }
}

/// Says why a secret with colons may hold a role that was misspelled: it would be an admin's key, or one
/// of the wrong namespace. A secret may have colons if a role comes after it.
fn misread(secret: &str, role: Option<Role>) -> Option<&'static str> {
    let (_, last) = secret.rsplit_once(':')?;
    if role.is_none() {
        return Some(
            "has more than one colon and no role where one would stand (reader, invoker, operator or \
             admin); after a secret with colons the role has to be named",
        );
    }
    let word = last.len() <= MAX_ROLE_WORD && last.chars().all(|c| c.is_ascii_alphabetic());
    word.then_some(
        "has a word before its role that may be another role, misspelled; a secret may not end in a \
         colon and a word",
    )
}

fn warn(key: &ApiKey, secret: &str, notices: &mut Vec<Notice>) {
    if secret.chars().count() < GOOD_LENGTH {
        notices.push(Notice::warn(format!(
            "the secret of API key {} is shorter than {GOOD_LENGTH} characters",
            key.name
        )));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<ApiKey> {
        read_api_keys(text, &mut Vec::new()).unwrap()
    }

    #[test]
    fn pairs_are_hashed_and_short_ones_warned_about() {
        let mut notices = Vec::new();
        let keys = read_api_keys("ci:short, ops:0123456789abcdef", &mut notices).unwrap();
        assert_eq!(keys[1], ApiKey::new("ops", "0123456789abcdef"));
        assert_eq!(notices.len(), 1);
        assert!(!format!("{keys:?}{notices:?}").contains("short,"));
    }

    #[test]
    fn a_key_that_names_no_role_is_an_admins_of_the_default_namespace() {
        let [key] = read("ops:0123456789abcdef").try_into().unwrap();
        assert_eq!((key.role, key.namespace), (Role::Admin, Namespace::default()));
    }

    #[test]
    fn the_last_parts_are_a_role_and_a_namespace_only_if_they_read_as_such() {
        let table = [
            ("s3cret:reader", "s3cret", Role::Reader, "default"),
            ("s3cret:operator:team-a", "s3cret", Role::Operator, "team-a"),
            ("with:c0lon:invoker", "with:c0lon", Role::Invoker, "default"),
            ("with:c0lon:invoker:b", "with:c0lon", Role::Invoker, "b"),
            // A namespace may be named like a role: the longer form wins.
            ("s3cret:reader:admin", "s3cret", Role::Reader, "admin"),
            // Nothing would be left for a secret before the role.
            ("reader", "reader", Role::Admin, "default"),
        ];
        for (text, secret, role, namespace) in table {
            let [key] = read(&format!("k:{text}")).try_into().unwrap();
            assert_eq!(key.hash, ApiKey::new("k", secret).hash, "{text}");
            assert_eq!((key.role, key.namespace.as_str()), (role, namespace), "{text}");
        }
    }

    #[test]
    fn a_role_that_may_be_misspelled_makes_nobody_an_admin() {
        for text in [
            "0123456789abcdef:root:a",
            "0123456789abcdef:reder",
            "0123456789abcdef:Reader",
            "0123456789abcdef:reader:Team",
            "0123456789abcdef:reader:a:b",
            "0123456789abcdef:",
            "reader:team",
            // The namespace is named like a role.
            "0123456789abcdef:raeder:admin",
            "0123456789abcdef:Reader:operator:b",
        ] {
            let fault = read_api_keys(&format!("a:{text}"), &mut Vec::new()).unwrap_err();
            assert!(fault.starts_with("pair 1 (a) has"), "{text}: {fault}");
            assert!(!fault.contains("0123456789abcdef") && !fault.contains("root"), "{fault}");
        }
        let mut notices = Vec::new();
        read_api_keys("b:6543:0123456789abcdef:reader", &mut notices).unwrap();
        assert!(notices.is_empty());
    }

    #[test]
    fn file_holds_one_key_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        std::fs::write(&path, "# keys\n\na:1234567890123456\nb:6543210987654321:reader:x\n")
            .unwrap();
        let keys = read_api_keys(&format!("@{}", path.display()), &mut Vec::new()).unwrap();
        assert_eq!(keys.len(), 2);
        assert_eq!(keys[1].role, Role::Reader);
        assert!(read_api_keys("@/nowhere/keys", &mut Vec::new()).is_err());
    }

    #[test]
    fn a_file_that_may_be_cut_off_is_told_from_a_whole_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let at = format!("@{}", path.display());
        let whole = "ops:1234567890123456:admin:a\nviewer:6543210987654321:reader:a\n";
        let last = whole.find("viewer").unwrap();
        for end in last + 1..whole.len() {
            std::fs::write(&path, &whole[..end]).unwrap();
            let read = read_whole(&at, &mut Vec::new());
            assert!(read.is_err() || read.is_ok_and(|(_, cut_off)| cut_off.is_some()), "{end}");
        }
        let mut notices = Vec::new();
        assert_eq!(read_api_keys(&at, &mut notices).unwrap().len(), 2);
        assert!(notices[0].text.contains("does not end with a newline"));
        std::fs::write(&path, whole).unwrap();
        let mut notices = Vec::new();
        assert_eq!(read_api_keys(&at, &mut notices).unwrap().len(), 2);
        assert!(notices.is_empty());
        // Text that is no file has no lines.
        assert_eq!(read_whole("a:0123456789abcdef", &mut notices).unwrap().1, None);
    }

    #[test]
    fn one_secret_has_one_meaning() {
        for (text, told) in [
            ("a:0123456789abcdef,b:0123456789abcdef", "another name"),
            ("a:0123456789abcdef:reader,a:0123456789abcdef", "another role"),
            ("a:0123456789abcdef:reader:x,a:0123456789abcdef:reader:y", "another role"),
        ] {
            let fault = read_api_keys(text, &mut Vec::new()).unwrap_err();
            assert!(fault.contains(told), "{fault}");
        }
        assert_eq!(read("a:0123456789abcdef:reader,a:6543210987654321:admin").len(), 2);
    }

    #[test]
    fn faults_never_show_a_secret() {
        for text in ["hunter2", "a b:hunter2", ":hunter2", "x:hunter2,y:hunter2", "x:hunter2 y"] {
            let fault = read_api_keys(text, &mut Vec::new()).unwrap_err();
            assert!(!fault.contains("hunter2"), "{fault}");
        }
    }
}
