//! Stream tokens: let a browser's `EventSource`, which cannot set headers, read one thread.
//!
//! Stateless: an HMAC over the thread and the moment it expires, under a key that all replicas
//! share. A token opens one thread's stream, for reading, and must never be logged.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::model::{ThreadId, Timestamp};

/// How long a token may be used to connect; a stream that is open stays open.
pub(super) const LIFETIME: Duration = Duration::from_mins(1);
/// Keeps these signatures apart from any other use of the key.
const PURPOSE: &[u8] = b"rethread stream token v1\0";
/// Bytes of the expiry at the front of a token.
const EXPIRY_BYTES: usize = 8;

/// A token for one thread's stream.
pub(super) fn sign(key: &[u8; 32], thread: &ThreadId, expires: Timestamp) -> Option<String> {
    let expiry = expires.millis().to_be_bytes();
    let mut token = expiry.to_vec();
    token.extend_from_slice(&mac(key, thread, expiry)?.finalize().into_bytes());
    Some(URL_SAFE_NO_PAD.encode(token))
}

/// Whether a token opens this thread's stream now; compared in constant time.
pub(super) fn verify(key: &[u8; 32], thread: &ThreadId, token: &str, now: Timestamp) -> bool {
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(token) else { return false };
    let Some((expiry, signature)) = bytes.split_first_chunk::<EXPIRY_BYTES>() else { return false };
    let genuine = mac(key, thread, *expiry).is_some_and(|mac| mac.verify_slice(signature).is_ok());
    genuine && now < Timestamp::from_millis(i64::from_be_bytes(*expiry))
}

fn mac(key: &[u8; 32], thread: &ThreadId, expiry: [u8; EXPIRY_BYTES]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(PURPOSE);
    mac.update(&expiry);
    mac.update(thread.as_str().as_bytes());
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn thread(id: &str) -> ThreadId {
        ThreadId::parse(id).unwrap()
    }

    #[test]
    fn a_token_opens_its_own_thread_until_it_expires() {
        let token = sign(&[7; 32], &thread("t1"), NOW.plus(LIFETIME)).unwrap();
        assert!(verify(&[7; 32], &thread("t1"), &token, NOW));
        assert!(!verify(&[7; 32], &thread("t2"), &token, NOW));
        assert!(!verify(&[8; 32], &thread("t1"), &token, NOW));
        assert!(!verify(&[7; 32], &thread("t1"), &token, NOW.plus(LIFETIME)));
    }

    #[test]
    fn a_changed_or_cut_token_is_refused() {
        let token = sign(&[7; 32], &thread("t1"), NOW.plus(LIFETIME)).unwrap();
        for end in 0..token.len() {
            assert!(!verify(&[7; 32], &thread("t1"), &token[..end], NOW), "{end}");
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        bytes[0] ^= 1;
        assert!(!verify(&[7; 32], &thread("t1"), &URL_SAFE_NO_PAD.encode(&bytes), NOW));
        assert!(!verify(&[7; 32], &thread("t1"), "ü not base64", NOW));
    }
}
