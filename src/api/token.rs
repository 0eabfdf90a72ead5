//! Stream tokens: let a browser's `EventSource`, which cannot set headers, read one thread.
//!
//! Stateless: an HMAC over the thread and the moment it expires, under a key that all replicas
//! share, and the thread's namespace, unless that is `default`: whoever comes with it has no key that
//! would tell. A token opens one thread's stream, for reading, and must never be logged.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::model::{Namespace, ThreadId, Timestamp};

/// How long a token may be used to connect; a stream that is open stays open.
pub(super) const LIFETIME: Duration = Duration::from_mins(1);
/// Keeps these signatures apart from any other use of the key.
const PURPOSE: &[u8] = b"rethread stream token v1\0";
/// Bytes of the expiry at the front of a token.
const EXPIRY_BYTES: usize = 8;
/// Bytes of the HMAC-SHA256 after it.
const SIGNATURE_BYTES: usize = 32;

/// A token for one thread's stream.
pub(super) fn sign(key: &[u8; 32], thread: &ThreadId, expires: Timestamp) -> Option<String> {
    let expiry = expires.millis().to_be_bytes();
    let mut token = expiry.to_vec();
    token.extend_from_slice(&mac(key, thread, expiry)?.finalize().into_bytes());
    let namespace = thread.namespace();
    if !namespace.is_default() {
        token.extend_from_slice(namespace.as_str().as_bytes());
    }
    Some(URL_SAFE_NO_PAD.encode(token))
}

/// The thread with this text whose stream a token opens now, if it opens one; compared in constant
/// time.
pub(super) fn verify(key: &[u8; 32], id: &str, token: &str, now: Timestamp) -> Option<ThreadId> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (expiry, rest) = bytes.split_first_chunk::<EXPIRY_BYTES>()?;
    let (signature, name) = rest.split_at_checked(SIGNATURE_BYTES)?;
    let namespace = match std::str::from_utf8(name).ok()? {
        "" => Namespace::default(),
        name => Namespace::parse(name).filter(|named| !named.is_default())?,
    };
    let thread = ThreadId::within(&namespace, id).ok()?;
    mac(key, &thread, *expiry)?.verify_slice(signature).ok()?;
    (now < Timestamp::from_millis(i64::from_be_bytes(*expiry))).then_some(thread)
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

    fn opens(key: u8, id: &str, token: &str, now: Timestamp) -> bool {
        verify(&[key; 32], id, token, now).is_some()
    }

    #[test]
    fn a_token_opens_its_own_thread_until_it_expires() {
        let token = sign(&[7; 32], &thread("t1"), NOW.plus(LIFETIME)).unwrap();
        assert_eq!(verify(&[7; 32], "t1", &token, NOW), Some(thread("t1")));
        assert!(!opens(7, "t2", &token, NOW));
        assert!(!opens(8, "t1", &token, NOW));
        assert!(!opens(7, "t1", &token, NOW.plus(LIFETIME)));
    }

    #[test]
    fn a_token_opens_the_thread_of_its_namespace_alone() {
        let team = Namespace::parse("team").unwrap();
        let theirs = ThreadId::within(&team, "t1").unwrap();
        let token = sign(&[7; 32], &theirs, NOW.plus(LIFETIME)).unwrap();
        assert_eq!(verify(&[7; 32], "t1", &token, NOW), Some(theirs));
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        let known = EXPIRY_BYTES + SIGNATURE_BYTES;
        for name in ["", "default", "teal", "team2", "tea"] {
            let forged = [&bytes[..known], name.as_bytes()].concat();
            assert!(!opens(7, "t1", &URL_SAFE_NO_PAD.encode(forged), NOW), "{name}");
        }
        let ours = sign(&[7; 32], &thread("t1"), NOW.plus(LIFETIME)).unwrap();
        let mut bytes = URL_SAFE_NO_PAD.decode(&ours).unwrap();
        bytes.extend_from_slice(b"team");
        assert!(!opens(7, "t1", &URL_SAFE_NO_PAD.encode(bytes), NOW));
    }

    #[test]
    fn a_changed_or_cut_token_is_refused() {
        let token = sign(&[7; 32], &thread("t1"), NOW.plus(LIFETIME)).unwrap();
        for end in 0..token.len() {
            assert!(!opens(7, "t1", &token[..end], NOW), "{end}");
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        bytes[0] ^= 1;
        assert!(!opens(7, "t1", &URL_SAFE_NO_PAD.encode(&bytes), NOW));
        assert!(!opens(7, "t1", "ü not base64", NOW));
    }
}
