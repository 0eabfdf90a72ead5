//! One token: tells whether a text is one, reads its header, and checks it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header};
use serde_json::Value;

use super::claims::Claims;
use super::crypto;
use super::keys::SigningKey;
use super::refusal::Refusal;

/// The longest token, in bytes. Tokens with all groups of a person are a few KiB; heads of requests
/// are not much larger.
const MAX_TOKEN: usize = 16 << 10;
/// The largest difference between the issuer's clock and this machine's.
pub(super) const LEEWAY: Duration = Duration::from_secs(30);
/// The types of tokens that a server may accept (RFC 9068, section 4; RFC 7519, section 5.1).
/// Others are for other uses: to log somebody out, to prove a key.
const TYPES: [&str; 3] = ["jwt", "at+jwt", "application/at+jwt"];

/// Returns whether a text has the form of a signed token (RFC 7515, section 3.1): three parts in
/// base64url, of which the first is an object that names an algorithm.
pub fn is_token(text: &str) -> bool {
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    let parts: Vec<&str> = text.split('.').collect();
    let [header, payload, signature] = parts.as_slice() else { return false };
    if text.len() > MAX_TOKEN || ![payload, signature].into_iter().all(|part| plain(part)) {
        return false;
    }
    let object = URL_SAFE_NO_PAD.decode(header).ok();
    let object = object.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    object.is_some_and(|object| object.get("alg").is_some_and(Value::is_string))
}

/// The header of a token about its own signature, which cannot be trusted yet.
pub(super) struct Told {
    pub(super) key: Option<String>,
    pub(super) algorithm: Algorithm,
}

/// Reads a token's header.
pub(super) fn told(token: &str) -> Result<Told, Refusal> {
    let header =
        decode_header(token).ok().filter(|header| crypto::is_taken(header.alg)).ok_or_else(
            || Refusal::invalid("the token is not signed with an algorithm that is taken"),
        )?;
    if !has_taken_type(&header) {
        return Err(Refusal::invalid("the token is of a type for another use"));
    }
    Ok(Told { key: header.kid, algorithm: header.alg })
}

fn has_taken_type(header: &Header) -> bool {
    let named = header.typ.as_deref().map(str::to_ascii_lowercase);
    named.is_none_or(|named| TYPES.contains(&named.as_str()))
}

/// Returns the claims of a token, if its signature, times, issuer and audience are valid.
pub(super) fn claims(
    token: &str,
    (key, algorithm): (&SigningKey, Algorithm),
    (issuer, audience): (&str, &str),
) -> Result<Claims, Refusal> {
    let mut validation = Validation::new(algorithm);
    validation.leeway = LEEWAY.as_secs();
    validation.validate_nbf = true;
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    let claims = decode::<Claims>(token, &key.key, &validation)
        .map_err(|error| Refusal::Invalid(words(&error)))?
        .claims;
    // The library also accepts a list that names the issuer among others.
    if claims.get("iss").and_then(Value::as_str) != Some(issuer) {
        return Err(Refusal::invalid("the token is of another issuer"));
    }
    Ok(claims)
}

/// Says why the token is not valid, for the sender of the token.
fn words(error: &Error) -> String {
    if let ErrorKind::MissingRequiredClaim(name) | ErrorKind::InvalidClaimFormat(name) =
        error.kind()
    {
        return format!("the token's {name} is missing, or not readable");
    }
    let table = [
        (ErrorKind::ExpiredSignature, "the token has expired"),
        (ErrorKind::ImmatureSignature, "the token is not valid yet (nbf)"),
        (ErrorKind::InvalidIssuer, "the token is of another issuer"),
        (ErrorKind::InvalidAudience, "the token is for another audience"),
        (ErrorKind::InvalidSignature, "the token's signature does not hold"),
    ];
    let found = table.iter().find(|(kind, _)| kind == error.kind());
    found.map_or("the token is not readable", |(_, words)| *words).to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn part(value: &Value) -> String {
        URL_SAFE_NO_PAD.encode(value.to_string())
    }

    #[test]
    fn a_token_is_told_from_a_key_by_its_form() {
        let header = part(&json!({ "alg": "none" }));
        assert!(is_token(&format!("{header}.e30.")));
        assert!(is_token(&format!("{header}.e30.c2ln")));
        let long = "a".repeat(MAX_TOKEN);
        for key in [
            "s3cret".to_owned(),
            "a.b.c".to_owned(),
            String::new(),
            "..".to_owned(),
            format!("{header}.e30"),
            format!("{header}.e30.a.b"),
            format!("{header}.e30.a b"),
            format!("{header}.e30.{long}"),
            format!("{}.e30.a", part(&json!({ "typ": "JWT" }))),
            format!("{}.e30.a", part(&json!(["alg"]))),
        ] {
            assert!(!is_token(&key), "{key}");
        }
    }

    #[test]
    fn headers_of_other_algorithms_and_types_are_refused() {
        let read = |header: Value| told(&format!("{}.e30.a", part(&header)));
        let good = read(json!({ "alg": "ES256", "kid": "a", "typ": "at+JWT" })).ok().unwrap();
        assert_eq!((good.key.as_deref(), good.algorithm), (Some("a"), Algorithm::ES256));
        assert!(read(json!({ "alg": "EdDSA" })).is_ok());
        for bad in [
            json!({ "alg": "none" }),
            json!({ "alg": "HS256" }),
            json!({ "alg": "HS512" }),
            json!({ "alg": "ES512" }),
            json!({ "alg": "RSA-OAEP" }),
            json!({ "alg": "RS256", "typ": "logout+jwt" }),
            json!({ "alg": "RS256", "kid": 1 }),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }
}
