//! The values behind `{secrets.NAME}`, and how they are kept out of what is recorded.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded;

use crate::model::{Failure, Json, Node};

/// Secrets shorter than this many bytes are not looked for in outputs: what they match is mostly
/// something else, and a value so short is guessed sooner than it is found.
const MIN_SCRUBBED_BYTES: usize = 4;

/// Shortest base64 text that is looked for, for the same reason.
const MIN_BASE64_CHARS: usize = 8;

/// The server's secrets (`RETHREAD_SECRET_NAME`), by name. Neither `Debug` nor a scrubbed text
/// shows a value.
#[derive(Debug, Default)]
pub struct Secrets(BTreeMap<String, Secret>);

#[derive(Debug)]
struct Secret {
    value: SecretString,
    /// How the value may look in an output, longest first.
    forms: Vec<SecretString>,
}

impl Secrets {
    /// Takes the secrets by name. Empty values stay usable; there is nothing to scrub in them.
    pub fn new(values: impl IntoIterator<Item = (String, SecretString)>) -> Self {
        let secret = |value: SecretString| Secret { forms: forms(value.expose_secret()), value };
        Self(values.into_iter().map(|(name, value)| (name, secret(value))).collect())
    }

    /// The value of that name. It may go into an attempt's `with`, and nowhere else.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|secret| secret.value.expose_secret())
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Replaces the values of the named secrets in a text by `[redacted:NAME]`: as they are,
    /// escaped as JSON, percent-encoded, and as part of base64 (a `Basic` header).
    pub fn scrub<'t>(&self, names: &[String], text: &'t str) -> Cow<'t, str> {
        let mut out = Cow::Borrowed(text);
        for (name, form) in self.forms_of(names) {
            if out.contains(form) {
                out = Cow::Owned(out.replace(form, &format!("[redacted:{name}]")));
            }
        }
        out
    }

    /// The same for every string, key and number of a JSON value. One that holds no secret comes
    /// back byte for byte.
    pub fn scrub_json(&self, names: &[String], json: &Json) -> Json {
        let text = json.as_str();
        // Without escapes, strings stand in the text as they are, and a search finds them.
        let plain = !text.contains('\\');
        if names.is_empty() || (plain && matches!(self.scrub(names, text), Cow::Borrowed(_))) {
            return json.clone();
        }
        let Ok(mut node) = Node::parse(json) else {
            return Json::string(&self.scrub(names, text));
        };
        if self.scrub_node(names, &mut node) { node.to_json() } else { json.clone() }
    }

    /// The same for the message of a failure.
    #[must_use]
    pub fn scrub_failure(&self, names: &[String], mut failure: Failure) -> Failure {
        if let Cow::Owned(message) = self.scrub(names, &failure.message) {
            failure.message = message;
        }
        failure
    }

    /// Scrubs in place; whether anything was found. As deep as the value, which is bounded by
    /// [`MAX_JSON_DEPTH`](crate::model::MAX_JSON_DEPTH).
    fn scrub_node(&self, names: &[String], node: &mut Node) -> bool {
        match node {
            Node::Null | Node::Bool(_) => false,
            Node::Number(digits) => match self.scrub(names, digits) {
                Cow::Borrowed(_) => false,
                Cow::Owned(text) => {
                    *node = Node::String(text);
                    true
                }
            },
            Node::String(text) => self.scrub_string(names, text),
            Node::Array(items) => {
                let mut found = false;
                for item in items {
                    found |= self.scrub_node(names, item);
                }
                found
            }
            Node::Object(members) => {
                let mut found = false;
                for (key, value) in members {
                    found |= self.scrub_string(names, key);
                    found |= self.scrub_node(names, value);
                }
                found
            }
        }
    }

    fn scrub_string(&self, names: &[String], text: &mut String) -> bool {
        let Cow::Owned(scrubbed) = self.scrub(names, text) else { return false };
        *text = scrubbed;
        true
    }

    /// What to look for, longest first: a secret that contains another one is found whole.
    fn forms_of(&self, names: &[String]) -> Vec<(&str, &str)> {
        let wanted = names.iter().filter_map(|name| self.0.get_key_value(name));
        let mut forms: Vec<(&str, &str)> = wanted
            .flat_map(|(name, secret)| {
                secret.forms.iter().map(move |form| (name.as_str(), form.expose_secret()))
            })
            .collect();
        forms.sort_by_key(|(_, form)| std::cmp::Reverse(form.len()));
        forms
    }
}

/// The texts a value may appear as.
fn forms(value: &str) -> Vec<SecretString> {
    if value.len() < MIN_SCRUBBED_BYTES {
        return Vec::new();
    }
    let quoted = Json::string(value);
    let escaped = quoted.as_str().trim_start_matches('"');
    let escaped = escaped.strip_suffix('"').unwrap_or(escaped);
    let form: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
    let mut forms = vec![
        value.to_owned(),
        escaped.to_owned(),
        escaped.replace('/', "\\/"),
        form.replace('+', "%20"),
        form,
    ];
    for offset in 0..3 {
        forms.extend(base64_forms(value, offset));
    }
    forms.sort_unstable();
    forms.dedup();
    forms.into_iter().map(SecretString::from).collect()
}

/// The base64 characters that come from the value alone when it stands `offset` bytes (modulo 3)
/// into what was encoded, whatever comes before and after it.
fn base64_forms(value: &str, offset: usize) -> Vec<String> {
    let mut bytes = vec![0; offset];
    bytes.extend_from_slice(value.as_bytes());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(pairs: &[(&str, &str)]) -> (Secrets, Vec<String>) {
        let values = pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned().into()));
        (Secrets::new(values), pairs.iter().map(|&(name, _)| name.to_owned()).collect())
    }

    #[test]
    fn a_value_is_found_in_every_form_it_travels_in() {
        let value = "s3cr/et \"käse\"+1";
        let (secrets, names) = secrets(&[("KEY", value)]);
        let mut texts = vec![
            format!("token={value}!"),
            serde_json::to_string(&serde_json::json!({ "a": value })).unwrap(),
            serde_json::to_string(value).unwrap().replace('/', "\\/"),
            format!(
                "/p?{}",
                form_urlencoded::Serializer::new(String::new()).append_pair("k", value).finish()
            ),
        ];
        for user in ["", "a", "ab", "abc"] {
            let encoded = STANDARD_NO_PAD.encode(format!("{user}:{value}:tail"));
            texts.push(format!("Basic {encoded}"));
            texts.push(URL_SAFE_NO_PAD.encode(format!("{user}{value}")));
        }
        for text in texts {
            assert!(secrets.scrub(&names, &text).contains("[redacted:KEY]"), "{text}");
        }
        assert!(matches!(secrets.scrub(&names, "nothing here"), Cow::Borrowed(_)));
        assert_eq!(secrets.scrub(&[], value), value);
    }

    #[test]
    fn scrubbed_json_stays_json_and_the_rest_of_it_as_it_was() {
        let (secrets, names) = secrets(&[("PIN", "12345678"), ("A", "pass\"word"), ("B", "pass")]);
        let json = |text: &str| Json::parse(text).unwrap();
        let scrubbed = |text: &str| secrets.scrub_json(&names, &json(text)).as_str().to_owned();
        assert_eq!(
            scrubbed(r#"{"n":12345678,"k":1.0,"pass":["x12345678y","pass\"word"]}"#),
            r#"{"n":"[redacted:PIN]","k":1.0,"[redacted:B]":["x[redacted:PIN]y","[redacted:A]"]}"#
        );
        assert_eq!(scrubbed(r#"["\u0070\u0061ss","\u0041"]"#), r#"["[redacted:B]","A"]"#);
        let untouched = r#"{"a":"\u0041\\u0000","b":1e5}"#;
        assert_eq!(scrubbed(untouched), untouched);
    }

    #[test]
    fn a_secret_inside_another_does_not_leave_half_of_it_behind() {
        let (secrets, names) = secrets(&[("SHORT", "abcd"), ("LONG", "xxabcdyy")]);
        assert_eq!(secrets.scrub(&names, "xxabcdyy abcd"), "[redacted:LONG] [redacted:SHORT]");
    }

    #[test]
    fn empty_and_very_short_values_are_usable_but_not_looked_for() {
        let (secrets, names) = secrets(&[("EMPTY", ""), ("SHORT", "abc")]);
        assert_eq!((secrets.get("EMPTY"), secrets.get("SHORT")), (Some(""), Some("abc")));
        assert_eq!(secrets.get("OTHER"), None);
        assert_eq!(secrets.scrub(&names, "abc"), "abc");
    }

    #[test]
    fn debug_shows_names_alone() {
        let (secrets, _) = secrets(&[("KEY", "hunter2hunter2")]);
        let shown = format!("{secrets:?}");
        assert!(shown.contains("KEY") && !shown.contains("hunter2"), "{shown}");
    }
}
