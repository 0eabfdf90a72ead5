//! The functions of filters on strings: letter case, and the escapes of other formats.
//!
//! Each computes the length of its result first, and takes that memory before it makes the result.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jaq_core::native::{bome, v};
use jaq_core::{Error, ValR};

use super::kind::Native;
use super::meter::{lend, spend, spend_bytes};
use super::value::{Text, Value, allow_text};

/// The characters that HTML reserves, and their replacements.
const HTML: [(char, &str); 5] =
    [('<', "&lt;"), ('>', "&gt;"), ('&', "&amp;"), ('\'', "&apos;"), ('"', "&quot;")];
/// The replacement of a quote between the quotes of a shell.
const SHELL_QUOTE: &str = r"'\''";
/// The bytes that stand for themselves in a URI, beside letters and digits.
const UNRESERVED: &[u8] = b"-_.~";

/// Returns the native functions of this file.
pub(super) fn natives() -> [Native; 9] {
    [
        ("ascii_downcase", v(0), |cv| bome(cased(&cv.1, str::make_ascii_lowercase))),
        ("ascii_upcase", v(0), |cv| bome(cased(&cv.1, str::make_ascii_uppercase))),
        ("escape_sh", v(0), |cv| {
            bome(replaced(&cv.1, |sign| (sign == '\'').then_some(SHELL_QUOTE)))
        }),
        ("escape_html", v(0), |cv| {
            let escape = |sign| HTML.iter().find(|(from, _)| *from == sign).map(|(_, to)| *to);
            bome(replaced(&cv.1, escape))
        }),
        ("unescape_html", v(0), |cv| bome(unescape_html(&cv.1))),
        ("encode_uri", v(0), |cv| bome(encode_uri(&cv.1))),
        ("decode_uri", v(0), |cv| bome(decode_uri(&cv.1))),
        ("encode_base64", v(0), |cv| bome(encode_base64(&cv.1))),
        ("decode_base64", v(0), |cv| bome(decode_base64(&cv.1))),
    ]
}

/// Returns the text of a string; an error for any other value.
pub(super) fn text_of(value: &Value) -> Result<&str, Error<Value>> {
    let Value::Str(text) = value else { return Err(Error::typ(value.clone(), "string")) };
    Ok(text)
}

fn cased(value: &Value, change: fn(&mut str)) -> ValR<Value> {
    let text = text_of(value)?;
    let held = allow_text(text.len());
    let mut text = text.to_owned();
    change(&mut text);
    Ok(Value::Str(Text::new(text, held)))
}

/// Returns the text with some characters replaced.
fn replaced(value: &Value, by: impl Fn(char) -> Option<&'static str>) -> ValR<Value> {
    let text = text_of(value)?;
    spend_bytes(text.len());
    let len = |sign: char| by(sign).map_or_else(|| sign.len_utf8(), str::len);
    let len = text.chars().map(len).sum();
    let held = allow_text(len);
    let mut out = String::with_capacity(len);
    for sign in text.chars() {
        match by(sign) {
            Some(other) => out.push_str(other),
            None => out.push(sign),
        }
    }
    Ok(Value::Str(Text::new(out, held)))
}

fn unescape_html(value: &Value) -> ValR<Value> {
    let text = text_of(value)?;
    let held = allow_text(text.len());
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        spend(1);
        out.push_str(before);
        let at = rest.get(before.len()..).unwrap_or_default();
        let found = HTML.iter().find_map(|(sign, name)| Some((*sign, at.strip_prefix(name)?)));
        let (sign, after) = found.unwrap_or(('&', after));
        out.push(sign);
        rest = after;
    }
    out.push_str(rest);
    Ok(Value::Str(Text::new(out, held)))
}

fn encode_uri(value: &Value) -> ValR<Value> {
    let text = text_of(value)?;
    let stays = |byte: u8| byte.is_ascii_alphanumeric() || UNRESERVED.contains(&byte);
    let len = text.bytes().map(|byte| if stays(byte) { 1 } else { 3 }).sum();
    let held = allow_text(len);
    let mut out = String::with_capacity(len);
    for byte in text.bytes() {
        if stays(byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(percent_encoding::percent_encode_byte(byte));
        }
    }
    Ok(Value::Str(Text::new(out, held)))
}

fn decode_uri(value: &Value) -> ValR<Value> {
    let text = text_of(value)?;
    spend_bytes(text.len());
    let _bytes = lend(text.len());
    let bytes: Vec<u8> = percent_encoding::percent_decode_str(text).collect();
    Ok(Value::lossy(&bytes))
}

fn encode_base64(value: &Value) -> ValR<Value> {
    let text = text_of(value)?;
    let held = allow_text(text.len().div_ceil(3).saturating_mul(4));
    Ok(Value::Str(Text::new(STANDARD.encode(text), held)))
}

fn decode_base64(value: &Value) -> ValR<Value> {
    let text = text_of(value)?;
    spend_bytes(text.len());
    let _bytes = lend(text.len());
    let bytes = STANDARD.decode(text).map_err(Error::str)?;
    Ok(Value::lossy(&bytes))
}
