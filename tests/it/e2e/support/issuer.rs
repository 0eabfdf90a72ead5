//! An issuer of tokens on this machine: its configuration, its key set, and keys that sign.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::rsa;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA512,
    RsaEncoding,
};
use serde_json::{Value, json};

use super::beside;
use super::server::Launch;

/// What tokens are for.
pub(crate) const AUDIENCE: &str = "rethread-test";
/// An RSA key; `ring` makes none.
const RSA_KEY: &str = include_str!("issuer-rsa.pem");

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "tests have no clock of their own")]
    let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// A part of a token.
pub(crate) fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

enum Pair {
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair, &'static str),
    Rsa(rsa::KeyPair, &'static dyn RsaEncoding),
}

/// A key that signs tokens.
pub(crate) struct Signer {
    pub(crate) id: String,
    algorithm: &'static str,
    pair: Pair,
}

impl Signer {
    /// A new key for ES256.
    pub(crate) fn new(id: &str) -> Self {
        Self::of("ES256", id)
    }

    /// A key for an algorithm.
    pub(crate) fn of(algorithm: &'static str, id: &str) -> Self {
        let random = SystemRandom::new();
        let ec = |algorithm: &'static EcdsaSigningAlgorithm, curve| {
            let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
            Pair::Ec(EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).unwrap(), curve)
        };
        let pair = match algorithm {
            "ES256" => ec(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"),
            "ES384" => ec(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
            "RS256" => Pair::Rsa(rsa_key(), &RSA_PKCS1_SHA256),
            "PS512" => Pair::Rsa(rsa_key(), &RSA_PSS_SHA512),
            "EdDSA" => {
                let key = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
                Pair::Ed(Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap())
            }
            other => panic!("{other}"),
        };
        Self { id: id.to_owned(), algorithm, pair }
    }

    /// The public half, as a key set has it.
    pub(crate) fn public(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match &self.pair {
            Pair::Ed(pair) => {
                let x = text(pair.public_key().as_ref());
                json!({ "kid": self.id, "kty": "OKP", "crv": "Ed25519", "x": x })
            }
            Pair::Ec(pair, curve) => {
                let (x, y) = self.point(pair.public_key().as_ref());
                json!({ "kid": self.id, "use": "sig", "kty": "EC", "crv": curve,
                    "x": text(x), "y": text(y), "alg": self.algorithm })
            }
            Pair::Rsa(pair, _) => {
                let parts = rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({ "kid": self.id, "use": "sig", "kty": "RSA",
                    "n": text(&parts.n), "e": text(&parts.e) })
            }
        }
    }

    fn point<'a>(&self, public: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        assert_eq!(public[0], 4, "{}", self.id);
        public[1..].split_at(public.len() / 2)
    }

    /// A token with these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        let header = json!({ "alg": self.algorithm, "typ": "JWT", "kid": self.id });
        self.token_with(&header, claims)
    }

    /// A token with a header of the test's own.
    pub(crate) fn token_with(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", part(header), part(claims));
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Ed(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
            Pair::Ec(pair, _) => pair.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(*encoding, &random, message.as_bytes(), &mut signature).unwrap();
                signature
            }
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn rsa_key() -> rsa::KeyPair {
    let lines = RSA_KEY.lines().skip_while(|line| !line.starts_with("-----BEGIN"));
    let text: String = lines.filter(|line| !line.starts_with("-----")).collect();
    rsa::KeyPair::from_pkcs8(&STANDARD.decode(text).unwrap()).unwrap()
}

#[derive(Debug, Default)]
struct Book {
    keys: Vec<Value>,
    away: bool,
    fetches: usize,
}

/// The issuer.
#[derive(Debug, Clone)]
pub(crate) struct Issuer {
    addr: SocketAddr,
    book: Arc<Mutex<Book>>,
}

impl Issuer {
    /// Starts one with these keys.
    pub(crate) async fn start(keys: &[&Signer]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = Self { addr: listener.local_addr().unwrap(), book: Arc::default() };
        issuer.has(&keys.iter().map(|key| key.public()).collect::<Vec<_>>());
        let app = axum::Router::new().fallback(answer).with_state(issuer.clone());
        beside(async { axum::serve(listener, app).await });
        issuer
    }

    /// How it names itself.
    pub(crate) fn name(&self) -> String {
        format!("http://{}/realms/test", self.addr)
    }

    /// Changes its key set.
    pub(crate) fn has(&self, keys: &[Value]) {
        self.book.lock().unwrap().keys = keys.to_vec();
    }

    /// Lets it fail, or answer again.
    pub(crate) fn is_away(&self, away: bool) {
        self.book.lock().unwrap().away = away;
    }

    /// How often its configuration was asked for.
    pub(crate) fn fetches(&self) -> usize {
        self.book.lock().unwrap().fetches
    }

    /// Claims of a token that holds for a while, with some of the test's own.
    pub(crate) fn claims(&self, subject: &str, more: &Value) -> Value {
        let mut claims = json!({
            "iss": self.name(), "aud": ["other", AUDIENCE], "sub": subject,
            "iat": now(), "nbf": now(), "exp": now() + 600,
        });
        let claimed = claims.as_object_mut().unwrap();
        for (name, value) in more.as_object().unwrap() {
            if value.is_null() {
                claimed.remove(name);
            } else {
                claimed.insert(name.clone(), value.clone());
            }
        }
        claims
    }

    /// A server that takes its tokens.
    pub(crate) fn with<'a>(&self, launch: Launch<'a>) -> Launch<'a> {
        launch.set("RETHREAD_OIDC_ISSUER", &self.name()).set("RETHREAD_OIDC_AUDIENCE", AUDIENCE)
    }
}

async fn answer(State(issuer): State<Issuer>, request: Request) -> Response {
    let mut book = issuer.book.lock().unwrap();
    let configuration = request.uri().path() == "/realms/test/.well-known/openid-configuration";
    book.fetches += usize::from(configuration);
    if book.away {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let document = match request.uri().path() {
        _ if configuration => {
            let keys = format!("http://{}/keys", issuer.addr);
            json!({ "issuer": issuer.name(), "jwks_uri": keys })
        }
        "/keys" => json!({ "keys": book.keys }),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    axum::Json(document).into_response()
}

/// Longest time between two fetches of the server while it misses something: the named one of
/// `identity/issuer.rs`.
pub(crate) const ASK_EVERY: Duration = Duration::from_secs(10);
