//! Seals: the proof in a cookie or a stream token that this server made it, and for which API key.
//!
//! A seal holds the digest of the key, signed and hidden under a key that all replicas share. So it
//! takes the same work to open one whatever the number of keys, and whoever has one learns nothing
//! that would help to guess the key's secret.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The bytes of a digest, and of a signature.
const BYTES: usize = 32;
/// The bytes of a seal: a signature, and the hidden digest.
pub(super) const SEAL_BYTES: usize = 2 * BYTES;
/// Keeps the bytes that hide a digest apart from any other use of the shared key.
const HIDING: &[u8] = b"rethread hidden digest v1\0";

/// Seals a digest together with a text that says what it is for. The signature decides how the digest
/// is hidden: two texts never hide theirs in the same way.
pub(super) fn seal(
    shared: &[u8; 32],
    text: &[&[u8]],
    digest: &[u8; BYTES],
) -> Option<[u8; SEAL_BYTES]> {
    let signature: [u8; BYTES] = signed(shared, text, digest)?.finalize().into_bytes().into();
    let hidden = hide(shared, &signature, digest)?;
    let mut seal = [0; SEAL_BYTES];
    let (first, second) = seal.split_at_mut(BYTES);
    first.copy_from_slice(&signature);
    second.copy_from_slice(&hidden);
    Some(seal)
}

/// Returns the digest in a seal, if it was made with the same key and text.
pub(super) fn open(
    shared: &[u8; 32],
    text: &[&[u8]],
    seal: &[u8; SEAL_BYTES],
) -> Option<[u8; BYTES]> {
    let (signature, hidden) = seal.split_first_chunk::<BYTES>()?;
    let digest = hide(shared, signature, hidden.first_chunk()?)?;
    signed(shared, text, &digest)?.verify_slice(signature).is_ok().then_some(digest)
}

fn signed(shared: &[u8; 32], text: &[&[u8]], digest: &[u8; BYTES]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(shared).ok()?;
    for part in text {
        mac.update(part);
    }
    mac.update(digest);
    Some(mac)
}

/// Hides a digest, or shows a hidden one.
fn hide(shared: &[u8; 32], signature: &[u8; BYTES], digest: &[u8; BYTES]) -> Option<[u8; BYTES]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(shared).ok()?;
    mac.update(HIDING);
    mac.update(signature);
    let mut bytes: [u8; BYTES] = mac.finalize().into_bytes().into();
    for (byte, other) in bytes.iter_mut().zip(digest) {
        *byte ^= other;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_gives_its_digest_to_the_same_key_and_text_alone() {
        let seal = seal(&[7; 32], &[b"a", b"b"], &[1; 32]).unwrap();
        assert_eq!(open(&[7; 32], &[b"a", b"b"], &seal), Some([1; 32]));
        assert_eq!(open(&[8; 32], &[b"a", b"b"], &seal), None);
        assert_eq!(open(&[7; 32], &[b"a", b"c"], &seal), None);
        for place in 0..SEAL_BYTES {
            let mut changed = seal;
            changed[place] ^= 1;
            assert_eq!(open(&[7; 32], &[b"a", b"b"], &changed), None, "{place}");
        }
    }

    #[test]
    fn a_seal_shows_neither_the_digest_nor_what_two_of_them_have_in_common() {
        let sealed = |text: &[u8], digest| seal(&[7; 32], &[text], &[digest; 32]).unwrap();
        let [one, two, three] = [sealed(b"a", 1), sealed(b"a", 2), sealed(b"b", 1)];
        let hidden = |seal: &[u8; SEAL_BYTES]| seal[BYTES..].to_vec();
        for seal in [&one, &two, &three] {
            assert!(hidden(seal).iter().any(|byte| *byte != seal[BYTES]), "it is not one byte");
        }
        let common = |a, b| hidden(a).iter().zip(hidden(b)).all(|(x, y)| x ^ y == 3);
        assert!(!common(&one, &two) && hidden(&one) != hidden(&three));
    }
}
