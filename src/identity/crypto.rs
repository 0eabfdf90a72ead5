//! Checks the signatures of tokens by `ring`: it is the provider of TLS here, and a second one is
//! not wanted.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: no_signer,
    verifier_factory: verifier,
    // These make JWKs out of keys, which nothing here does.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Installs `ring` for the tokens of this process.
pub(super) fn install() {
    if PROVIDER.install_default().is_err() {
        tracing::debug!("the cryptography of tokens is chosen already");
    }
}

/// The form in which `ring` takes a public key and an algorithm.
enum Check {
    Rsa(&'static RsaParameters),
    Curve(&'static dyn VerificationAlgorithm),
}

/// Returns the check of an accepted algorithm. Every other has none, above all those with a shared
/// secret: a public key must never be taken for a secret.
fn check(algorithm: Algorithm) -> Option<Check> {
    let table: [(Algorithm, Check); 9] = [
        (Algorithm::RS256, Check::Rsa(&RSA_PKCS1_2048_8192_SHA256)),
        (Algorithm::RS384, Check::Rsa(&RSA_PKCS1_2048_8192_SHA384)),
        (Algorithm::RS512, Check::Rsa(&RSA_PKCS1_2048_8192_SHA512)),
        (Algorithm::PS256, Check::Rsa(&RSA_PSS_2048_8192_SHA256)),
        (Algorithm::PS384, Check::Rsa(&RSA_PSS_2048_8192_SHA384)),
        (Algorithm::PS512, Check::Rsa(&RSA_PSS_2048_8192_SHA512)),
        (Algorithm::ES256, Check::Curve(&ECDSA_P256_SHA256_FIXED)),
        (Algorithm::ES384, Check::Curve(&ECDSA_P384_SHA384_FIXED)),
        (Algorithm::EdDSA, Check::Curve(&ED25519)),
    ];
    table.into_iter().find(|(taken, _)| *taken == algorithm).map(|(_, check)| check)
}

/// Returns whether tokens may be signed with this algorithm.
pub(super) fn is_taken(algorithm: Algorithm) -> bool {
    check(algorithm).is_some()
}

struct RingVerifier {
    algorithm: Algorithm,
    check: Check,
    key: DecodingKey,
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let held = match (&self.check, self.key.kind()) {
            (Check::Rsa(parameters), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
            (Check::Curve(algorithm), DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(*algorithm, point).verify(message, signature)
            }
            _ => return Err(signature::Error::new()),
        };
        held.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the type of a `CryptoProvider`'s member")]
fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    let check = check(*algorithm).ok_or(ErrorKind::UnsupportedAlgorithm)?;
    Ok(Box::new(RingVerifier { algorithm: *algorithm, check, key: key.clone() }))
}

/// Refuses to sign: this server makes no such tokens.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the type of a `CryptoProvider`'s member")]
fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    Err(ErrorKind::UnsupportedAlgorithm.into())
}
