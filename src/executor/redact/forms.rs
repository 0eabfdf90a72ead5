//! The forms of a secret: the texts that give it away, which are the whole of it, its telling
//! parts, and their encodings.
//!
//! Escapes (percent-encoding, JSON, HTML) are not forms: they are taken off before the search.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use url::{Host, Url};

use super::unescape::View;
use crate::model::hex;

/// The shortest secret that is looked for, in bytes: matches of a shorter one are mostly something
/// else, and so short a value is guessed sooner than found.
pub(in crate::executor) const MIN_SECRET_BYTES: usize = 4;

/// The shortest part of a secret URL that is looked for by itself: version numbers, team ids and
/// words like `services` are shorter or plain, and are everywhere.
const MIN_PART_BYTES: usize = 8;
/// The shortest such part that is one plain word, or digits alone. Tokens have digits or mixed
/// case.
const MIN_WORD_BYTES: usize = 12;
/// The shortest such part that is several plain words (`incoming-webhooks`).
const MIN_WORDS_BYTES: usize = 20;
/// Long words that stand in the paths of many services.
const COMMON_WORDS: [&str; 12] = [
    "applications",
    "authentication",
    "authorization",
    "configuration",
    "conversations",
    "environments",
    "integrations",
    "notifications",
    "organizations",
    "repositories",
    "subscriptions",
    "transactions",
];
/// The names of query values that are credentials whatever they look like.
const CREDENTIALS: [&str; 12] = [
    "access_token",
    "api_key",
    "apikey",
    "auth",
    "code",
    "key",
    "passwd",
    "password",
    "secret",
    "sig",
    "signature",
    "token",
];
/// The shortest line of a secret of several lines (a key file) that is looked for by itself.
const MIN_LINE_BYTES: usize = 16;

/// The shortest base64 text that is looked for: a shorter one stands for less than six bytes.
const MIN_BASE64_CHARS: usize = 8;

/// Returns all forms of one secret; none if it is too short.
pub(super) fn forms(value: &str) -> BTreeSet<Vec<u8>> {
    let mut forms = BTreeSet::new();
    // A value from a file ends in a line break that is never sent along.
    let value = value.trim();
    if value.len() < MIN_SECRET_BYTES {
        return forms;
    }
    spell(value, &mut forms);
    for part in url_parts(value).into_iter().chain(json_parts(value)) {
        spell(&part, &mut forms);
    }
    let lines = value.lines().map(str::trim).filter(|_| value.contains('\n'));
    let lines = lines.filter(|line| line.len() >= MIN_LINE_BYTES && !line.starts_with("-----"));
    forms.extend(lines.map(|line| line.as_bytes().to_vec()));
    forms
}

/// Adds a text as it is, and its spellings elsewhere: as a host's name, in a form, in base64 and
/// hex.
fn spell(text: &str, forms: &mut BTreeSet<Vec<u8>>) {
    let plain = View::of(text.as_bytes()).and_then(|view| String::from_utf8(view.bytes).ok());
    for text in [Some(text.to_owned()), plain].into_iter().flatten() {
        if text.len() < MIN_SECRET_BYTES {
            continue;
        }
        if let Ok(Host::Domain(domain)) = Host::parse(&text) {
            forms.insert(domain.into_bytes());
        }
        if !text.is_ascii() {
            // The search itself ignores the case of ASCII alone.
            forms.insert(text.to_lowercase().into_bytes());
            forms.insert(text.to_uppercase().into_bytes());
        }
        forms.insert(text.replace(' ', "+").into_bytes());
        for offset in 0..3 {
            forms.extend(base64_forms(&text, offset).into_iter().map(String::into_bytes));
        }
        forms.insert(hex(text.as_bytes()).into_bytes());
        forms.insert(text.into_bytes());
    }
}

/// Returns the base64 characters that depend on the text alone when it stands `offset` bytes
/// (modulo 3) into the encoded bytes, whatever comes before and after it.
fn base64_forms(text: &str, offset: usize) -> Vec<String> {
    let mut bytes = vec![0; offset];
    bytes.extend_from_slice(text.as_bytes());
    let mixed_before = (offset * 8).div_ceil(6);
    let whole = bytes.len() * 8 / 6;
    let own = |text: String| {
        text.get(mixed_before..whole).filter(|own| own.len() >= MIN_BASE64_CHARS).map(str::to_owned)
    };
    [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)]
        .into_iter()
        .filter_map(own)
        .collect()
}

/// Returns the parts of a URL that give it away by themselves: never its host.
fn url_parts(value: &str) -> Vec<String> {
    let Some(url) = as_url(value) else { return Vec::new() };
    let mut parts = Vec::new();
    match url.password() {
        Some(password) if password.len() >= MIN_SECRET_BYTES => parts.push(password.to_owned()),
        Some(_) | None => {}
    }
    parts.extend(Some(url.username()).filter(|user| is_telling(user)).map(str::to_owned));
    let path = url.path();
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    if path.len() >= MIN_PART_BYTES && (segments.len() > 1 || is_telling(path)) {
        parts.push(path.to_owned());
    }
    parts.extend(segments.into_iter().filter(|it| is_telling(it)).map(str::to_owned));
    for pairs in [url.query(), url.fragment()].into_iter().flatten() {
        if pairs.len() >= MIN_PART_BYTES {
            parts.push(pairs.to_owned());
        }
        parts.extend(pairs.split('&').filter_map(telling_value).map(str::to_owned));
    }
    parts
}

/// Returns the value as a URL, also without its scheme.
fn as_url(value: &str) -> Option<Url> {
    if value.contains("://") {
        return Url::parse(value).ok();
    }
    let (host, _) = value.split_once('/')?;
    let is_host = host.contains('.') && !value.contains(char::is_whitespace);
    is_host.then(|| Url::parse(&format!("http://{value}")).ok()).flatten()
}

fn telling_value(pair: &str) -> Option<&str> {
    let (name, value) = pair.split_once('=')?;
    let named = CREDENTIALS.iter().any(|known| name.eq_ignore_ascii_case(known));
    let telling = is_telling(value) || (named && value.len() >= MIN_SECRET_BYTES);
    telling.then_some(value)
}

/// Returns the telling texts of a secret that is JSON (a service account).
fn json_parts(value: &str) -> Vec<String> {
    let mut parts = Vec::new();
    if value.starts_with(['{', '[']) {
        let mut open: Vec<serde_json::Value> = serde_json::from_str(value).into_iter().collect();
        while let Some(next) = open.pop() {
            match next {
                serde_json::Value::String(text) if is_telling(&text) => parts.push(text),
                serde_json::Value::Array(items) => open.extend(items),
                serde_json::Value::Object(members) => {
                    open.extend(members.into_iter().map(|(_, value)| value));
                }
                serde_json::Value::String(_)
                | serde_json::Value::Number(_)
                | serde_json::Value::Bool(_)
                | serde_json::Value::Null => {}
            }
        }
    }
    parts
}

/// Returns whether a part is more than a word or a number that may stand anywhere.
fn is_telling(text: &str) -> bool {
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).collect();
    let plain = |word: &&str| {
        let rest = word.get(1..).unwrap_or_default();
        let letters = word.chars().all(|c| c.is_ascii_alphabetic());
        let capitals = word.chars().all(|c| c.is_ascii_uppercase());
        letters && (capitals || !rest.contains(|c: char| c.is_ascii_uppercase()))
    };
    let digits = |word: &&str| word.chars().all(|c| c.is_ascii_digit());
    let least = if words.iter().all(digits) {
        MIN_WORD_BYTES
    } else if !words.iter().all(plain) {
        MIN_PART_BYTES
    } else if words.len() > 1 {
        MIN_WORDS_BYTES
    } else {
        MIN_WORD_BYTES
    };
    text.len() >= least && !COMMON_WORDS.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(value: &str) -> Vec<String> {
        forms(value).into_iter().map(|form| String::from_utf8(form).unwrap()).collect()
    }

    #[test]
    fn tokens_are_telling_and_words_are_not() {
        for telling in [
            "T0AB12345",
            "xyzSECRETPATHxyz",
            "bot12345:AB",
            "abcdefghijkl",
            "deadbeef1",
            "correct-horse-battery-staple",
            "123456789012",
        ] {
            assert!(is_telling(telling), "{telling}");
        }
        for plain in [
            "",
            "v1",
            "services",
            "Webhooks",
            "notifications",
            "HOOKS",
            "incoming-webhook",
            "12345678",
            "2024-02-01",
            "T0AB",
        ] {
            assert!(!is_telling(plain), "{plain}");
        }
    }

    #[test]
    fn a_url_gives_itself_away_by_its_parts_but_not_by_its_host() {
        let forms = texts(
            "https://user:pa55@Hooks.example.org/services/T0AB/xyzSECRETPATHxyz?sig=q1w2&v=1#frag12345",
        );
        for part in [
            "pa55",
            "/services/T0AB/xyzSECRETPATHxyz",
            "xyzSECRETPATHxyz",
            "sig=q1w2&v=1",
            "q1w2",
            "frag12345",
        ] {
            assert!(forms.iter().any(|form| form == part), "{part} of {forms:?}");
        }
        for common in ["services", "T0AB", "hooks.example.org", "user", "https", "1", "http"] {
            assert!(!forms.iter().any(|form| form.eq_ignore_ascii_case(common)), "{common}");
        }
        assert!(texts("hooks.example.org/h/SECRETpath99").contains(&"SECRETpath99".to_owned()));
    }

    #[test]
    fn files_give_themselves_away_by_their_lines_and_members() {
        let pem = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\nAAAA\n-----END KEY-----\n";
        let lines = texts(pem);
        assert!(lines.contains(&"MIIEvQIBADANBgkqhkiG".to_owned()));
        assert!(!lines.iter().any(|line| line == "AAAA" || line == "-----BEGIN KEY-----"));
        let json = texts(r#"{"type":"service","key":{"id":["a1b2c3d4"]}}"#);
        assert!(json.contains(&"a1b2c3d4".to_owned()) && !json.contains(&"service".to_owned()));
    }

    #[test]
    fn what_is_too_short_is_not_looked_for() {
        assert!(forms("abc").is_empty() && forms("").is_empty() && forms("  a \n").is_empty());
        assert!(texts(" abcd\n").contains(&"abcd".to_owned()));
    }
}
