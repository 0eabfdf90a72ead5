//! `http`: a request.

use super::members::{is_template, literal, map, scalar, word};
use super::{Kind, Reads};
use crate::contract::{Fields, Value};
use crate::definition::Action;
use crate::model::{Faults, Pointer};

pub(super) const KIND: Kind = Kind {
    name: "http",
    about: "a request",
    members: &[
        ("method", "`GET` unless given"),
        ("url", "absolute, `http` or `https`"),
        ("headers", "an object; a value is a string, number or boolean"),
        ("query", "an object; a value may also be an array of strings, numbers and booleans"),
        ("json", "any value, sent as JSON"),
        ("body", "text to send, if there is no `json`"),
        (
            "expectStatus",
            "200 to 299 unless given: an integer, or an array of integers and of ranges such as `\"200-299\"`",
        ),
    ],
    reads: Reads::Url("url"),
    shows_life: true,
    check,
};

/// Methods that a step may use: `CONNECT` and `TRACE` are for proxies, and what a server makes of any
/// other one is unknown.
pub const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

#[expect(clippy::unnecessary_wraps, reason = "beside kinds that can have nothing to do")]
fn check(with: &Fields<'_>, faults: &mut Faults) -> Option<Action> {
    word(with, "method", &METHODS, faults);
    with.require("url", faults);
    if let Some(text) = literal(with, "url", faults) {
        check_url(&text, &with.at().key("url"), faults);
    }
    map(with, "headers", faults, |name, value, at, faults| {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(token) {
            faults.add(at, "not the name of a header");
        }
        scalar(value, at, faults);
        if value.text().is_some_and(|text| text.contains(['\r', '\n', '\0'])) {
            faults.add(at, "a header is one line");
        }
    });
    map(with, "query", faults, |_, value, at, faults| match value.items() {
        Some(items) => {
            for (index, item) in items.into_iter().enumerate() {
                scalar(item, &at.index(index), faults);
            }
        }
        None => scalar(value, at, faults),
    });
    with.text("body", faults);
    if with.get("json").is_some() && with.get("body").is_some() {
        with.fault("body", "a request has json or body, not both", faults);
    }
    if let Some(expected) = with.get("expectStatus") {
        check_expected(expected, &with.at().key("expectStatus"), faults);
    }
    Some(Action::Http)
}

fn check_url(text: &str, at: &Pointer, faults: &mut Faults) {
    match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => {}
        Ok(_) => faults.add(at, "a url begins with http:// or https://"),
        Err(fault) => faults.add(at, format!("not an absolute url: {fault}")),
    }
}

fn check_expected(expected: Value<'_>, at: &Pointer, faults: &mut Faults) {
    if let Some(items) = expected.items() {
        for (index, item) in items.iter().enumerate() {
            if !(is_template(*item) || is_status(*item) || is_range(*item)) {
                faults.add(&at.index(index), "a status from 100 to 599, or \"200-299\"");
            }
        }
        if items.is_empty() {
            faults.add(at, "expectStatus names at least one status");
        }
    } else if !(is_template(expected) || is_status(expected)) {
        faults.add(at, "a status from 100 to 599, or an array of statuses and \"200-299\"");
    }
}

fn is_status(value: Value<'_>) -> bool {
    value.number().and_then(status).is_some()
}

fn is_range(value: Value<'_>) -> bool {
    let text = value.text().unwrap_or_default();
    let ends = text.split_once('-').map(|(low, high)| (status(low), status(high)));
    matches!(ends, Some((Some(low), Some(high))) if low <= high)
}

fn status(digits: &str) -> Option<u16> {
    digits.parse().ok().filter(|code| (100..=599).contains(code))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::definition::testing::assert_with;

    #[test]
    fn its_with_is_checked() {
        assert_with(
            "http",
            &[
                (json!({"url": "http://h/"}), &[]),
                (
                    json!({"url": "{input}", "method": "{input.m}", "headers": "{input.h}", "query": {"a": [1, "b"], "c": true},
            "body": "x", "expectStatus": [200, "300-399", "{input.s}"]}),
                    &[],
                ),
                (
                    json!({"url": "http://h/{input.x}?a={secrets.KEY}", "headers": {"X-A": 1}, "json": null}),
                    &[],
                ),
                (json!({}), &[""]),
                (json!({"url": "host/x"}), &["/url"]),
                (json!({"url": "ftp://host/x"}), &["/url"]),
                (json!({"url": 1}), &["/url"]),
                (
                    json!({"url": "http://h", "method": "get", "headers": {"a b": "x", "c": [], "d": "x\ny"}, "query": {"a": {}, "b": [null]}}),
                    &[
                        "/method",
                        "/headers/a b",
                        "/headers/c",
                        "/headers/d",
                        "/query/a",
                        "/query/b/0",
                    ],
                ),
                (json!({"url": "http://h", "json": 1, "body": {}}), &["/body", "/body"]),
                (json!({"url": "http://h", "expectStatus": 99}), &["/expectStatus"]),
                (json!({"url": "http://h", "expectStatus": "ok"}), &["/expectStatus"]),
                (json!({"url": "http://h", "expectStatus": []}), &["/expectStatus"]),
                (
                    json!({"url": "http://h", "expectStatus": [200, "299-200", "x", {}]}),
                    &["/expectStatus/1", "/expectStatus/2", "/expectStatus/3"],
                ),
                (json!({"url": "http://h", "timeout": 1}), &["/timeout"]),
            ],
        );
    }
}
