//! `http`: a request.
//!
//! - `method` (GET unless given), `url` (absolute, http or https), `headers` and `query` (objects; a header is
//!   a string, number or boolean, a query value may also be an array of them)
//! - `json` (any value, sent as JSON) or `body` (text), not both
//! - `expectStatus` (200–299 unless given): an integer, or an array of integers and of ranges such as
//!   `"200-299"`

use super::members::{is_open, literal, map, scalar, word};
use super::{Kind, Reads};
use crate::definition::Action;
use crate::definition::parse::Fields;
use crate::model::{Faults, Node, Pointer};

pub(super) const KIND: Kind = Kind {
    name: "http",
    fields: &["method", "url", "headers", "query", "json", "body", "expectStatus"],
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
        check_url(text, &with.at().key("url"), faults);
    }
    map(with, "headers", faults, |name, value, at, faults| {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(token) {
            faults.add(at, "not the name of a header");
        }
        scalar(value, at, faults);
        if let Node::String(text) = value
            && text.contains(['\r', '\n', '\0'])
        {
            faults.add(at, "a header is one line");
        }
    });
    map(with, "query", faults, |_, value, at, faults| match value {
        Node::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                scalar(item, &at.index(index), faults);
            }
        }
        Node::Null | Node::Bool(_) | Node::Number(_) | Node::String(_) | Node::Object(_) => {
            scalar(value, at, faults);
        }
    });
    with.text("body", faults);
    if with.get("json").is_some() && with.get("body").is_some() {
        faults.add(&with.at().key("body"), "a request has json or body, not both");
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

fn check_expected(node: &Node, at: &Pointer, faults: &mut Faults) {
    match node {
        Node::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                if !is_expectation(item) {
                    faults.add(&at.index(index), "a status from 100 to 599, or \"200-299\"");
                }
            }
            if items.is_empty() {
                faults.add(at, "expectStatus names at least one status");
            }
        }
        Node::Number(_) if is_expectation(node) => {}
        Node::String(text) if is_open(text) => {}
        Node::Null | Node::Bool(_) | Node::Number(_) | Node::String(_) | Node::Object(_) => {
            faults.add(at, "a status from 100 to 599, or an array of statuses and \"200-299\"");
        }
    }
}

fn is_expectation(node: &Node) -> bool {
    let status = |digits: &str| digits.parse().ok().filter(|code| (100..=599_u16).contains(code));
    match node {
        Node::Number(digits) => status(digits).is_some(),
        Node::String(text) if is_open(text) => true,
        Node::String(text) => text.split_once('-').is_some_and(|(low, high)| {
            matches!((status(low), status(high)), (Some(low), Some(high)) if low <= high)
        }),
        Node::Null | Node::Bool(_) | Node::Array(_) | Node::Object(_) => false,
    }
}
