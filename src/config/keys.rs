//! Reads API keys. Secrets are hashed at once; nothing keeps their text.

use sha2::{Digest as _, Sha256};

use super::Notice;

/// An API key: who it is, and the hash its secret must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Who uses it; shown in events as `by`.
    pub name: String,
    /// SHA-256 of the secret.
    pub hash: [u8; 32],
}

impl ApiKey {
    /// A key from its name and its secret.
    pub fn new(name: &str, secret: &str) -> Self {
        Self { name: name.to_owned(), hash: Sha256::digest(secret.as_bytes()).into() }
    }
}

/// What is allowed, for the message about what is not.
pub(super) const ALLOWED: &str = "name:secret pairs separated by commas, or @file with one pair a line; a name is up to 64 \
     letters, digits, '.', '_' or '-'";

/// Characters. A key this long, drawn at random, can't be guessed over a network.
const GOOD_LENGTH: usize = 16;
/// Characters of a name, so that it fits a log line.
const MAX_NAME: usize = 64;

/// Reads `name:secret` pairs, or the file after an `@`.
pub(super) fn read_api_keys(text: &str, notices: &mut Vec<Notice>) -> Result<Vec<ApiKey>, String> {
    let text = text.trim();
    let Some(path) = text.strip_prefix('@') else { return read_pairs(text, notices) };
    let content =
        std::fs::read_to_string(path).map_err(|error| format!("file {path:?}: {error}"))?;
    let lines: Vec<&str> = content
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    if lines.is_empty() {
        return Err(format!("file {path:?} holds no keys"));
    }
    read_pairs(&lines.join(","), notices)
}

fn read_pairs(text: &str, notices: &mut Vec<Notice>) -> Result<Vec<ApiKey>, String> {
    let mut keys: Vec<ApiKey> = Vec::new();
    for (index, pair) in text.split(',').map(str::trim).enumerate() {
        let at = index + 1;
        // Neither half may be shown: without the colon nobody knows which is the secret.
        let (name, secret) =
            pair.split_once(':').ok_or_else(|| format!("pair {at} has no colon"))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(plain) {
            return Err(format!("the name of pair {at} is not a name"));
        }
        if secret.is_empty() || secret.contains(char::is_whitespace) {
            return Err(format!("the secret of pair {at} ({name}) is empty or has a blank in it"));
        }
        let key = ApiKey::new(name, secret);
        if keys.iter().any(|other| other.hash == key.hash && other.name != key.name) {
            return Err(format!("the secret of pair {at} ({name}) is used under another name"));
        }
        if secret.chars().count() < GOOD_LENGTH {
            notices.push(Notice::warn(format!(
                "the secret of API key {name} is shorter than {GOOD_LENGTH} characters"
            )));
        }
        keys.push(key);
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_hashed_and_short_ones_warned_about() {
        let mut notices = Vec::new();
        let keys =
            read_api_keys("ci:short, ops:0123456789abcdef:with-colon", &mut notices).unwrap();
        assert_eq!(keys[1], ApiKey::new("ops", "0123456789abcdef:with-colon"));
        assert_eq!(notices.len(), 1);
        assert!(!format!("{keys:?}{notices:?}").contains("short,"));
    }

    #[test]
    fn file_holds_one_pair_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        std::fs::write(&path, "# keys\n\na:1234567890123456\nb:6543210987654321\n").unwrap();
        let keys = read_api_keys(&format!("@{}", path.display()), &mut Vec::new()).unwrap();
        assert_eq!(keys.len(), 2);
        assert!(read_api_keys("@/nowhere/keys", &mut Vec::new()).is_err());
    }

    #[test]
    fn faults_never_show_a_secret() {
        for text in ["hunter2", "a b:hunter2", ":hunter2", "x:hunter2,y:hunter2", "x:hunter2 y"] {
            let fault = read_api_keys(text, &mut Vec::new()).unwrap_err();
            assert!(!fault.contains("hunter2"), "{fault}");
        }
    }
}
