//! The keys of an issuer that tokens may be signed with, read from its JWK set (RFC 7517).
//!
//! A set may hold keys of other kinds and for other uses: those are ignored and are no fault.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse, RSAKeyParameters,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// The shortest RSA key, in bits. Shorter ones can be broken with enough machines (NIST SP 800-57).
const MIN_RSA_BITS: usize = 2048;
/// The algorithms of an RSA key that names none.
const RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// The algorithm of each curve of an `EC` key.
const CURVES: [(EllipticCurve, Algorithm); 2] =
    [(EllipticCurve::P256, Algorithm::ES256), (EllipticCurve::P384, Algorithm::ES384)];
/// The algorithm of each curve of an `OKP` key.
const EDWARDS_CURVES: [(EllipticCurve, Algorithm); 1] =
    [(EllipticCurve::Ed25519, Algorithm::EdDSA)];

/// A key, and the algorithms that it may have signed with.
#[derive(Debug, Clone)]
pub(super) struct SigningKey {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    pub(super) key: DecodingKey,
}

/// The usable keys of one set.
#[derive(Debug, Default)]
pub(super) struct SigningKeys(Vec<SigningKey>);

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl SigningKeys {
    /// Reads a key set.
    pub(super) fn read(text: &[u8]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(text)
            .map_err(|fault| format!("the key set is not a JWK set: {fault}"))?;
        let keys: Vec<_> = document.keys.into_iter().filter_map(usable).collect();
        if keys.is_empty() {
            return Err("the key set holds no key that tokens may be signed with".to_owned());
        }
        Ok(Self(keys))
    }

    /// Returns the number of keys.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns the key that a token's header means. A header without an id means the only key there
    /// is.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&SigningKey> {
        let fits = |key: &&SigningKey| key.algorithms.contains(&algorithm);
        match (id, self.0.as_slice()) {
            (None, [only]) => Some(only).filter(fits),
            (None, _) => None,
            (Some(id), keys) => keys.iter().filter(fits).find(|key| key.id.as_deref() == Some(id)),
        }
    }
}

/// Reads a key of a set; `None` if it is not usable.
fn usable(value: Value) -> Option<SigningKey> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let common = &jwk.common;
    let for_signatures = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
    let operations = common.key_operations.as_ref();
    if !for_signatures || operations.is_some_and(|all| !all.contains(&KeyOperations::Verify)) {
        return None;
    }
    let (mut algorithms, key) = material(&jwk)?;
    if let Some(named) = common.key_algorithm {
        let named = Algorithm::try_from(named).ok()?;
        algorithms.retain(|algorithm| *algorithm == named);
    }
    let used = !algorithms.is_empty();
    used.then(|| SigningKey { id: common.key_id.clone(), algorithms, key })
}

/// Returns the algorithms of a key of this kind, and the key.
fn material(jwk: &Jwk) -> Option<(Vec<Algorithm>, DecodingKey)> {
    // Other kinds are not used, above all a shared secret (`oct`).
    if let AlgorithmParameters::RSA(parameters) = &jwk.algorithm {
        return Some((RSA.to_vec(), rsa(parameters)?));
    }
    let (curve, known) = if let AlgorithmParameters::EllipticCurve(key) = &jwk.algorithm {
        (&key.curve, CURVES.as_slice())
    } else if let AlgorithmParameters::OctetKeyPair(key) = &jwk.algorithm {
        (&key.curve, EDWARDS_CURVES.as_slice())
    } else {
        return None;
    };
    let (_, algorithm) = known.iter().find(|(known, _)| known == curve)?;
    Some((vec![*algorithm], DecodingKey::from_jwk(jwk).ok()?))
}

/// Returns an RSA key if it is long enough. Some issuers write zeros in front of the modulus, which
/// `ring` does not accept.
fn rsa(parameters: &RSAKeyParameters) -> Option<DecodingKey> {
    let number = |text: &str| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok();
    let (n, e) = (number(&parameters.n)?, number(&parameters.e)?);
    let start = n.iter().position(|byte| *byte != 0)?;
    let modulus = n.get(start..)?;
    let unused = usize::try_from(modulus.first()?.leading_zeros()).ok()?;
    let bits = modulus.len() * 8 - unused;
    (bits >= MIN_RSA_BITS).then(|| DecodingKey::from_rsa_raw_components(modulus, &e))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn modulus(bits: usize) -> String {
        let mut bytes = vec![0xff; bits.div_ceil(8)];
        bytes[0] = 0xff >> (bytes.len() * 8 - bits);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn rsa_key(extra: &Value) -> Value {
        let mut key = json!({ "kty": "RSA", "kid": "a", "n": modulus(2048), "e": "AQAB" });
        key.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        key
    }

    fn point() -> Value {
        let text = URL_SAFE_NO_PAD.encode([1; 32]);
        json!({ "kty": "EC", "crv": "P-256", "kid": "p", "x": text, "y": text })
    }

    fn read(keys: &[Value]) -> Result<SigningKeys, String> {
        SigningKeys::read(json!({ "keys": keys }).to_string().as_bytes())
    }

    fn used(key: Value) -> bool {
        read(&[key]).is_ok()
    }

    #[test]
    fn keys_for_other_uses_and_short_keys_are_passed_over() {
        for extra in [json!({}), json!({ "use": "sig" }), json!({ "key_ops": ["verify"] })] {
            assert!(used(rsa_key(&extra)), "{extra}");
        }
        let others = [
            json!({ "use": "enc" }),
            json!({ "use": "other" }),
            json!({ "key_ops": ["encrypt"] }),
            json!({ "alg": "RSA-OAEP" }),
            json!({ "alg": "HS256" }),
            json!({ "alg": "ES256" }),
            json!({ "alg": "none" }),
            json!({ "n": modulus(2047) }),
            json!({ "n": modulus(1024) }),
            json!({ "n": "" }),
            json!({ "n": "!" }),
        ];
        for extra in others {
            assert!(!used(rsa_key(&extra)), "{extra}");
        }
        assert!(!used(json!({ "kty": "oct", "kid": "a", "k": "c2VjcmV0" })));
        assert!(!used(json!({ "kty": "AKP", "kid": "a" })) && !used(json!(1)));
    }

    #[test]
    fn zeros_in_front_do_not_lengthen_a_modulus() {
        let padded = |bits: usize| {
            let number = URL_SAFE_NO_PAD.decode(modulus(bits)).unwrap();
            json!({ "n": URL_SAFE_NO_PAD.encode([vec![0; 128], number].concat()) })
        };
        assert!(used(rsa_key(&padded(2048))));
        assert!(!used(rsa_key(&padded(1024))));
    }

    #[test]
    fn a_key_is_found_by_its_id_and_for_its_own_algorithms() {
        let keys = read(&[rsa_key(&json!({ "alg": "RS256" })), point(), json!({})]).unwrap();
        assert_eq!(keys.count(), 2);
        assert!(keys.find(Some("a"), Algorithm::RS256).is_some());
        assert!(keys.find(Some("p"), Algorithm::ES256).is_some());
        for (id, algorithm) in [
            (Some("a"), Algorithm::RS512),
            (Some("a"), Algorithm::ES256),
            (Some("a"), Algorithm::HS256),
            (Some("p"), Algorithm::ES384),
            (Some("b"), Algorithm::RS256),
            (None, Algorithm::RS256),
        ] {
            assert!(keys.find(id, algorithm).is_none(), "{id:?} {algorithm:?}");
        }
        let one = read(&[point()]).unwrap();
        assert!(one.find(None, Algorithm::ES256).is_some());
        assert!(one.find(None, Algorithm::RS256).is_none());
    }
}
