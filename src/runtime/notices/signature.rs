//! Signs a message according to the Standard Webhooks specification
//! (<https://www.standardwebhooks.com>): HMAC-SHA256 over id, time and body.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::{Digest, Sha256};

use crate::model::{Clock, Entropy, Seq, ThreadId, Timestamp};

/// The number of version-7 ids that a secret is made from: they hold 296 random bits, more than it
/// has.
const DRAWS: usize = 4;

/// Returns the id of a message, which is the same for every attempt to send an event. `at`, the
/// time in the journal at which the event was decided, tells the event from that of a deleted
/// thread with the same id, which receivers would take for a repeat. The id contains no full stop,
/// because the specification joins it with one to what follows.
pub(super) fn message_id(thread: &ThreadId, seq: Seq, at: Timestamp) -> String {
    format!("{}/{seq}/{}", thread.as_str().replace('.', "~"), at.millis())
}

/// Returns the `webhook-signature` of a message; `seconds` is its `webhook-timestamp`.
pub(super) fn sign(
    secret: &SecretSlice<u8>,
    id: &str,
    seconds: i64,
    body: &[u8],
) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret()).ok()?;
    mac.update(format!("{id}.{seconds}.").as_bytes());
    mac.update(body);
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

/// Makes a secret.
pub(super) fn make_secret(clock: &dyn Clock, entropy: &dyn Entropy) -> SecretSlice<u8> {
    let mut digest = Sha256::new();
    for _ in 0..DRAWS {
        digest.update(entropy.uuid(clock.now()).as_bytes());
    }
    SecretSlice::from(digest.finalize().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::SigningSecret;

    #[test]
    fn a_signature_is_that_of_the_specifications_example() {
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let signed = sign(secret.bytes(), id, 1_614_265_330, br#"{"test": 2432232314}"#).unwrap();
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let other = sign(secret.bytes(), id, 1_614_265_331, br#"{"test": 2432232314}"#).unwrap();
        assert_ne!(signed, other);
    }

    #[test]
    fn the_id_of_a_message_holds_no_full_stop_and_is_one_threads_alone() {
        let at = Timestamp::from_millis(1_700_000_000_123);
        let id = |thread: &str| message_id(&ThreadId::parse(thread).unwrap(), 7, at);
        assert_eq!(id("order-1"), "order-1/7/1700000000123");
        assert_eq!(id("a.b"), "a~b/7/1700000000123");
        assert!(ThreadId::parse("a~b").is_err());
    }
}
