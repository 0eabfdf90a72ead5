//! Holds a rendered URL to the scheme, host, port and user that its literal text names: data in the
//! path must not divert a credential to a host other than the one that the workflow sends it to.
//!
//! Secrets count as literal text: the operator of the server wrote them. A URL that begins with
//! data names no origin of its own, and data may choose all of it.

use std::borrow::Cow;

use url::Url;

use super::Template;
use super::lookup::Lookup;
use super::parts::Piece;
use crate::definition::reference::{Found, Root};
use crate::definition::{Scope, allowance, scan};

/// The most parts of an authority: no host has more, and each is compared with all others.
const MAX_PARTS: usize = 32;

/// Data that would lead a URL elsewhere. Displays the reference, never a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Astray(String);

impl std::fmt::Display for Astray {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{{{}}} would change the host, port or user that the text of the url names",
            self.0
        )
    }
}

impl std::error::Error for Astray {}

/// A part of a rendered URL.
#[derive(Clone)]
enum Fragment<'a> {
    /// Text of the workflow or of the server.
    Fixed(Cow<'a, str>),
    /// Text of data, and the reference that names it.
    Data(Cow<'a, str>, &'a str),
}

impl Template {
    /// Judges the URL that the template renders, if its kind of step has one and the URL is more
    /// than a single reference. Absent values are left to [`Template::render`].
    pub fn check_url(&self, scope: &dyn Scope) -> Result<(), Astray> {
        let mut lookup = Lookup::default();
        let fragments: Vec<_> =
            self.url.iter().filter_map(|piece| fragment(piece, scope, &mut lookup)).collect();
        allowance::fill(lookup.read);
        judge(&fragments).map_err(|reference| Astray(reference.to_owned()))
    }
}

fn fragment<'a>(
    piece: &'a Piece,
    scope: &'a dyn Scope,
    lookup: &mut Lookup<'a>,
) -> Option<Fragment<'a>> {
    let reference = match piece {
        Piece::Text(text) => return Some(Fragment::Fixed(Cow::Borrowed(text))),
        Piece::Reference(reference) => reference,
    };
    let text = match reference.resolve(scope, &mut |text, path| lookup.follow(text, path))? {
        Found::Text(text) => Cow::Borrowed(text),
        Found::Json(json) if scan::is_string(&json) => Cow::Owned(scan::decode(&json).into_owned()),
        Found::Json(json) => json,
    };
    Some(match reference.root {
        Root::Secret(_) => Fragment::Fixed(text),
        Root::Input | Root::ThreadId | Root::Step(..) => Fragment::Data(text, &reference.text),
    })
}

/// Judges a URL; the error is the reference that leads elsewhere.
fn judge<'a>(fragments: &[Fragment<'a>]) -> Result<(), &'a str> {
    let Some(first) = first(fragments) else { return Ok(()) };
    if is_all_data(fragments) {
        return Ok(());
    }
    let origin = Origin::read(fragments)?;
    let authority = origin.judge()?;
    // The parser has the last word, for cases that the rules above miss.
    let rendered: String = fragments.iter().map(Fragment::text).collect();
    let Ok(rendered) = Url::parse(&rendered) else { return Ok(()) };
    let named = Url::parse(&format!("{}://{authority}/", origin.scheme)).ok();
    let parts = |url: &Url| {
        let port = url.port_or_known_default();
        let host = url.host_str().map(str::to_owned);
        (host, port, url.username().to_owned(), url.password().map(str::to_owned))
    };
    if named.is_some_and(|named| parts(&named) == parts(&rendered)) { Ok(()) } else { Err(first) }
}

/// Returns the first reference to data.
fn first<'a>(fragments: &[Fragment<'a>]) -> Option<&'a str> {
    fragments.iter().find_map(|fragment| match fragment {
        Fragment::Data(_, reference) => Some(*reference),
        Fragment::Fixed(_) => None,
    })
}

impl Fragment<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Fixed(text) | Self::Data(text, _) => text,
        }
    }
}

/// Returns whether data begins the URL and the literal text after it does not go on with `://`.
fn is_all_data(fragments: &[Fragment<'_>]) -> bool {
    let (mut fixed, mut begins) = (String::new(), false);
    for fragment in fragments {
        match fragment {
            Fragment::Fixed(text) => fixed.push_str(text),
            Fragment::Data(..) => begins |= fixed.trim().is_empty(),
        }
    }
    let after_scheme = fixed.trim().trim_start_matches(is_scheme_char);
    begins && !after_scheme.starts_with("://")
}

const fn is_scheme_char(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '+' | '-' | '.')
}

/// The scheme and the authority of a URL.
#[derive(Default)]
struct Origin<'a> {
    scheme: String,
    authority: Vec<Fragment<'a>>,
    /// Whether literal text ends the authority: data after it belongs to the path, or to what
    /// follows the path.
    ended: bool,
}

/// The part of a URL that a reader has reached.
enum Place {
    Scheme,
    Slashes,
    Authority,
}

impl<'a> Origin<'a> {
    /// Reads the origin as browsers and the parser do: with any number of slashes of either kind.
    fn read(fragments: &[Fragment<'a>]) -> Result<Self, &'a str> {
        let (mut origin, mut place) = (Self::default(), Place::Scheme);
        for fragment in fragments {
            let text = match fragment {
                Fragment::Fixed(text) => text,
                Fragment::Data(text, reference) => {
                    if !matches!(place, Place::Scheme) {
                        place = Place::Authority;
                        origin.authority.push(fragment.clone());
                    } else if text.chars().all(is_scheme_char) {
                        origin.scheme.push_str(text);
                    } else {
                        return Err(*reference);
                    }
                    continue;
                }
            };
            let mut fixed = String::new();
            // The parser ignores these characters.
            for char in text.chars().filter(|char| !matches!(char, '\t' | '\n' | '\r')) {
                match (&place, char) {
                    (Place::Scheme, ':') => place = Place::Slashes,
                    (Place::Scheme, _) => origin.scheme.push(char),
                    (Place::Slashes, '/' | '\\') => {}
                    (Place::Slashes | Place::Authority, '/' | '\\' | '?' | '#') => {
                        origin.ended = true;
                        break;
                    }
                    (Place::Slashes | Place::Authority, _) => {
                        place = Place::Authority;
                        fixed.push(char);
                    }
                }
            }
            if !fixed.is_empty() {
                origin.authority.push(Fragment::Fixed(Cow::Owned(fixed)));
            }
            if origin.ended {
                break;
            }
        }
        origin.scheme = origin.scheme.trim().to_owned();
        Ok(origin)
    }

    /// Judges the data in the authority, and returns the authority as it is once rendered.
    fn judge(&self) -> Result<String, &'a str> {
        if let (true, Some(reference)) = (self.authority.len() > MAX_PARTS, first(&self.authority))
        {
            return Err(reference);
        }
        let mut rendered = String::new();
        let any_fixed = self.authority.iter().any(|it| matches!(it, Fragment::Fixed(_)));
        for (index, fragment) in self.authority.iter().enumerate() {
            let (text, reference) = match fragment {
                Fragment::Fixed(text) => {
                    rendered.push_str(text);
                    continue;
                }
                Fragment::Data(text, reference) => (text, *reference),
            };
            let later = self.authority.get(index + 1..).unwrap_or_default();
            let after: String = later
                .iter()
                .filter(|it| matches!(it, Fragment::Fixed(_)))
                .map(Fragment::text)
                .collect();
            // The last part of the authority may go on into the path.
            let head = if after.is_empty() {
                text.split(['/', '?', '#']).next().unwrap_or_default()
            } else {
                text
            };
            let place = Gap { before: &rendered, after: &after, any_fixed, ended: self.ended };
            let goes_on = head.len() < text.len();
            if !place.fits(head) || (goes_on && rendered.is_empty() && head.is_empty()) {
                return Err(reference);
            }
            rendered.push_str(head);
            if goes_on {
                break;
            }
        }
        Ok(rendered)
    }
}

/// The gap in an authority that data fills.
struct Gap<'a> {
    before: &'a str,
    /// The literal text after it.
    after: &'a str,
    any_fixed: bool,
    ended: bool,
}

impl Gap<'_> {
    /// Returns whether a text keeps to the part that the gap belongs to: a user, a part of a host's
    /// name, a port.
    fn fits(&self, text: &str) -> bool {
        let label = |char: char| char.is_alphanumeric() || matches!(char, '-' | '_');
        if text.is_empty() {
            return true;
        }
        if !self.any_fixed {
            return text.chars().all(|char| label(char) || matches!(char, '.' | ':' | '[' | ']'));
        }
        if self.after.contains('@') {
            let splits = self.before.contains(':');
            let plain =
                |char: char| char.is_ascii_alphanumeric() || "-._~!$&'()*+,;=%".contains(char);
            return text.chars().all(|char| plain(char) || (char == ':' && splits));
        }
        let host = self.before.rsplit('@').next().unwrap_or_default();
        if host.contains(':') && !host.ends_with(']') {
            return host.ends_with(':') && text.chars().all(|char| char.is_ascii_digit());
        }
        let ends_host = self.after.is_empty() || self.after.starts_with(':');
        if ends_host && !host.is_empty() && !host.ends_with('.') {
            // Text appended to `api.example.co` may name another domain; appended to a host of one
            // word it does not.
            let bounded = self.ended || !self.after.is_empty();
            return bounded && !host.contains('.') && text.chars().all(label);
        }
        text.chars().all(|char| label(char) || char == '.')
    }
}

#[cfg(test)]
mod tests {
    use super::super::Names;
    use super::*;
    use crate::definition::testing::Data;
    use crate::model::{Faults, Json, Pointer};

    /// Returns whether `{input}` may have this value in the URL. `{secrets.BASE}` is
    /// `https://api.example.com`.
    fn fits(url: &str, input: &str) -> bool {
        let names =
            Names { steps: &std::collections::BTreeSet::new(), ancestors: None, secrets: true };
        let (at, mut faults) = (Pointer::root(), Faults::default());
        let with = serde_json::json!({ "url": url }).to_string();
        let template =
            Template::compile(&with, &at, &names, &mut faults).with_url("url", &with, &names);
        assert_eq!(faults.len(), 0, "{url}");
        let data =
            Data::new(Json::string(input).as_str()).secret("BASE", "https://api.example.com");
        template.check_url(&data).is_ok()
    }

    #[test]
    fn data_after_a_host_stays_in_the_path() {
        for url in [
            "https://host{input}",
            "https://user:pw@host{input}",
            "https://host:80{input}",
            "https://[::1]:80{input}",
            "https://127.0.0.1{input}",
            "{secrets.BASE}{input}",
            "https:\\\\host{input}",
            " https://host{input}",
            "https:/host{input}",
        ] {
            for good in ["", "/", "/x@y", "/p:1?q#f", "?a=@b", "#f", "/\\evil", "//evil/"] {
                assert!(fits(url, good), "{url} with {good:?}");
            }
            for bad in [
                "@evil/x",
                ".evil/",
                ":81/",
                "0/",
                "x",
                "\\@evil/",
                "\t@evil",
                "\n/x@",
                "%2f@evil/",
                "%40evil",
                ":pw@evil",
                " ",
                "-evil.com/",
                "\u{3002}evil/",
                "\u{ff20}evil/",
                "5@evil/",
                "\0",
                "co/",
            ] {
                assert!(!fits(url, bad), "{url} with {bad:?}");
            }
        }
    }

    #[test]
    fn data_inside_an_authority_stays_a_label_a_port_or_a_user() {
        for (url, good, bad) in [
            ("https://{input}.example.com/", "a-1", "evil/"),
            ("https://{input}.example.com/", "a.b", "evil#"),
            ("https://{input}.example.com/", "ä", "evil?"),
            ("https://{input}.example.com/", "a_b", "evil\\"),
            ("https://{input}.example.com/", "", "u@evil:80/"),
            ("https://x-{input}-y.example.com", "1", "%2f"),
            ("https://u{input}@host/", "ser", "@evil/"),
            ("https://u{input}@host/", "%41", ":pw"),
            ("https://u:{input}@host/", "a:b", "a@evil"),
            ("http://host:{input}/", "8080", "80@evil"),
            ("http://host:{input}", "8080/x", "80@evil/"),
            ("http://worker{input}/", "7", ".evil"),
            ("http://worker{input}:80/", "7", "a@evil"),
            ("https://api.{input}/", "example.com", "u@evil"),
            ("https://api.example.co{input}/", "", "m"),
            ("https://api.example.co{input}:80/", "", "m"),
            ("https://{input}/api", "h.example:80", "u@h"),
            ("https://{input}", "h.example/x?y", "u@h/"),
            ("https:///{input}/x", "h", "/evil"),
            ("{input}://host/", "https", "http://evil/?"),
            ("http{input}://host/", "s", "://evil/?"),
            ("http:{input}", "h/x", "u@h"),
        ] {
            assert!(good.is_empty() || fits(url, good), "{url} with {good:?}");
            assert!(!fits(url, bad), "{url} with {bad:?}");
        }
        // An empty host would turn the path's first segment into the host.
        assert!(!fits("https://{input}/evil.example/", ""));
    }

    #[test]
    fn a_url_that_data_begins_may_be_anything() {
        for url in ["{input}", "{input}/v1", "{input}?a=b", " {input}"] {
            for input in ["https://u@h:1/x", "http://evil", "nothing"] {
                assert!(fits(url, input), "{url} with {input:?}");
            }
        }
        assert!(fits("https://host/{input}", "@evil/../..//x\\y"));
        assert!(fits("https://host?{input}", "@evil") && fits("https://host#{input}", "@evil"));
    }
}
