//! Canonical JSON (RFC 8785): one text for every way to write the same value, so that two parties who
//! hold it come to the same digest.
//!
//! Pure. A number that no double holds exactly is outside that standard: it stays as it was written,
//! digit by digit, so that no two of them look the same. Called where a digest is made for people or
//! programs to compare.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Json, JsonFault, Node, hex, quote};

/// Largest whole number that every double around it can be told from: 2^53 - 1.
const MAX_EXACT: u64 = 9_007_199_254_740_991;
/// Digits before the point, beyond which a number is written with an exponent.
const MAX_POINT: i32 = 21;
/// Zeros behind the point, beyond which a number is written with an exponent.
const MIN_POINT: i32 = -6;

/// SHA-256, in hex, of a value's canonical text. Text that cannot be read stands for itself.
pub fn canonical_digest(json: &Json) -> String {
    let text = Node::parse(json).map_or_else(|_| json.as_str().to_owned(), |node| canonical(&node));
    hex(&Sha256::digest(text.as_bytes()))
}

/// The canonical text of a value of our own, without the members that are `null`. Their names are
/// ASCII, so that the order of bytes is that of UTF-16 units, and numbers are whole.
pub fn canonical_text<T: Serialize>(value: &T) -> Result<String, JsonFault> {
    let tree = serde_json::to_value(value);
    let mut tree = tree.map_err(|fault| JsonFault::Syntax(fault.to_string()))?;
    drop_nulls(&mut tree);
    tree.sort_all_objects();
    Ok(tree.to_string())
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, value| !value.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The canonical text of a value.
fn canonical(node: &Node) -> String {
    let mut out = String::new();
    write(node, &mut out);
    out
}

fn write(node: &Node, out: &mut String) {
    match node {
        Node::Null | Node::Bool(_) | Node::String(_) => node.write(out),
        Node::Number(digits) => out.push_str(&number(digits)),
        Node::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Node::Object(members) => object(members, out),
    }
}

fn object(members: &[(String, Node)], out: &mut String) {
    // Of members of one name the last counts, as every JSON parser has it.
    let mut sorted: Vec<(Vec<u16>, &str, &Node)> = Vec::with_capacity(members.len());
    for (key, value) in members.iter().rev() {
        sorted.push((key.encode_utf16().collect(), key, value));
    }
    sorted.sort_by(|one, other| one.0.cmp(&other.0));
    sorted.dedup_by(|later, kept| later.0 == kept.0);
    out.push('{');
    for (index, (_, key, value)) in sorted.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        quote(key, out);
        out.push(':');
        write(value, out);
    }
    out.push('}');
}

/// A number as ECMAScript writes it.
fn number(digits: &str) -> String {
    let unsigned = digits.trim_start_matches('-');
    let whole = unsigned.bytes().all(|byte| byte.is_ascii_digit());
    if whole && !unsigned.parse::<u64>().is_ok_and(|value| value <= MAX_EXACT) {
        return digits.to_owned();
    }
    let Some(value) = digits.parse::<f64>().ok().filter(|value| value.is_finite()) else {
        return digits.to_owned();
    };
    if value == 0.0 {
        return "0".to_owned();
    }
    // The shortest digits that read back as the same number, and where their point stands.
    let shortest = format!("{:e}", value.abs());
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let significant = mantissa.replace('.', "");
    let point = exponent.parse::<i32>().unwrap_or(0) + 1;
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}{}", placed(&significant, point))
}

/// Digits with their point after the first `point` of them.
fn placed(digits: &str, point: i32) -> String {
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let zeros = |many: i32| "0".repeat(usize::try_from(many).unwrap_or(0));
    if (count..=MAX_POINT).contains(&point) {
        return format!("{digits}{}", zeros(point - count));
    }
    if (1..=MAX_POINT).contains(&point) {
        let (before, after) = digits.split_at(usize::try_from(point).unwrap_or(0));
        return format!("{before}.{after}");
    }
    if (MIN_POINT + 1..=0).contains(&point) {
        return format!("0.{}{digits}", zeros(-point));
    }
    let (first, rest) = digits.split_at(1);
    let point_and_rest = if rest.is_empty() { String::new() } else { format!(".{rest}") };
    let exponent = point - 1;
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{first}{point_and_rest}e{sign}{}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn of(text: &str) -> String {
        canonical(&Node::parse(&Json::parse(text).unwrap()).unwrap())
    }

    #[test]
    fn the_standards_own_example_comes_out_as_it_says() {
        let text = r#"{
            "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
            "literals": [null, true, false]
        }"#;
        assert_eq!(
            of(text),
            concat!(
                r#"{"literals":[null,true,false],"#,
                r#""numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"#,
                r#""string":"€$\u000f\nA'B\"\\\\\"/"}"#
            )
        );
    }

    #[test]
    fn members_stand_in_the_order_of_their_utf_16_units() {
        let text = r#"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#;
        assert_eq!(
            of(text),
            "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\u{fb33}\":3}"
        );
        assert_eq!(of(r#"{"a":1,"b":2,"a":3}"#), r#"{"a":3,"b":2}"#);
    }

    #[test]
    fn numbers_are_written_as_ecmascript_does_and_what_no_double_holds_stays_itself() {
        for (text, wanted) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("1.0", "1"),
            ("-1.50", "-1.5"),
            ("1e21", "1e+21"),
            ("1e20", "100000000000000000000"),
            ("123456789012345680000.0", "123456789012345680000"),
            ("1e-6", "0.000001"),
            ("1e-7", "1e-7"),
            ("1.5e-9", "1.5e-9"),
            ("5e-324", "5e-324"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("9007199254740991", "9007199254740991"),
            ("9007199254740993", "9007199254740993"),
            ("-12345678901234567890123", "-12345678901234567890123"),
            ("1e400", "1e400"),
        ] {
            assert_eq!(of(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_digest_is_of_the_value_and_not_of_how_it_is_written() {
        let digest = |text: &str| canonical_digest(&Json::parse(text).unwrap());
        let wanted = digest(r#"{"choices":["approve","reject"],"prompt":"Ship 2?"}"#);
        assert_eq!(
            digest(r#"{ "prompt": "Ship \u0032?", "choices": ["approve","reject"] }"#),
            wanted
        );
        assert_ne!(digest(r#"{"choices":["approve","reject"],"prompt":"Ship 3?"}"#), wanted);
    }
}
