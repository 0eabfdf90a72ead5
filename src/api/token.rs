//! Stream tokens: they let a browser's `EventSource`, which cannot set headers, read one thread.
//!
//! A token is stateless: a seal (`seal.rs`) of the thread, the moment it expires and its holder, under a
//! key that all replicas share. It also contains the thread's namespace, unless that is `default`,
//! since its bearer has no key that would give it. A token opens one thread's stream, for reading,
//! and must never be logged. It is valid only as long as the API key, or the issuer's token, that
//! it was asked for with.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::seal::{self, SEAL_BYTES};
use crate::model::{Namespace, ThreadId, Timestamp};

/// The time that a token may be used to connect. An open stream lasts as long as the credential of
/// the caller that asked for the token.
pub(super) const LIFETIME: Duration = Duration::from_mins(1);
/// Keeps these signatures apart from any other use of the key.
const PURPOSE: &[u8] = b"rethread stream token v3\0";
/// The bytes of each of the two moments at the front of a token: its expiry, and the end of the
/// streams that it has opened.
const MOMENT_BYTES: usize = 8;
/// The bytes before the seal: the moments, and one that says whether there is a holder.
const FRONT_BYTES: usize = 2 * MOMENT_BYTES + 1;
/// Stands for the digest of a token without a holder. The byte in front of it tells it from a digest.
const NOBODY: [u8; 32] = [0; 32];

/// The validity of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    /// The time until which it opens a stream.
    pub(super) expires: Timestamp,
    /// The time at which the streams that it has opened end, if the caller that asked for it may
    /// read no longer than that.
    pub(super) ends: Option<Timestamp>,
}

/// Makes a token for one thread's stream. `holder` is the digest of the API key that it was asked
/// for with.
pub(super) fn sign(
    key: &[u8; 32],
    thread: &ThreadId,
    Validity { expires, ends }: Validity,
    holder: Option<&[u8; 32]>,
) -> Option<String> {
    let moments = [expires.millis(), ends.map_or(i64::MAX, Timestamp::millis)];
    let moments = moments.map(i64::to_be_bytes);
    let (held, digest) = holder.map_or((0, &NOBODY), |digest| (1, digest));
    let mut token = moments.concat();
    token.push(held);
    token.extend_from_slice(&seal::seal(key, &text(thread, &token), digest)?);
    let namespace = thread.namespace();
    if !namespace.is_default() {
        token.extend_from_slice(namespace.as_str().as_bytes());
    }
    Some(URL_SAFE_NO_PAD.encode(token))
}

/// A token as it came; its signature is not verified yet.
#[derive(Debug)]
pub(super) struct Given {
    /// The thread that it is for.
    pub(super) thread: ThreadId,
    /// The validity of the token.
    pub(super) validity: Validity,
    /// The bytes before the seal: the moments, and whether there is a holder.
    front: Vec<u8>,
    held: bool,
    seal: [u8; SEAL_BYTES],
}

/// The holder of a genuine token: the digest of an API key, if it was asked for with one.
pub(super) type Holder = Option<[u8; 32]>;

impl Given {
    /// Reads a token for the thread with this text; `None` if it is not a token, or has expired.
    pub(super) fn read(id: &str, token: &str, now: Timestamp) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (expiry, rest) = bytes.split_first_chunk::<MOMENT_BYTES>()?;
        let (end, rest) = rest.split_first_chunk::<MOMENT_BYTES>()?;
        let ([held], rest) = rest.split_first_chunk::<1>()?;
        let (seal, name) = rest.split_first_chunk::<SEAL_BYTES>()?;
        let namespace = match std::str::from_utf8(name).ok()? {
            "" => Namespace::default(),
            name => Namespace::parse(name).filter(|named| !named.is_default())?,
        };
        let thread = ThreadId::within(&namespace, id).ok()?;
        let [expires, ends] = [*expiry, *end].map(i64::from_be_bytes);
        let validity = Validity {
            expires: Timestamp::from_millis(expires),
            ends: (ends != i64::MAX).then(|| Timestamp::from_millis(ends)),
        };
        let valid = now < validity.expires;
        let front = bytes.get(..FRONT_BYTES)?.to_vec();
        valid.then_some(Self { thread, validity, front, held: *held == 1, seal: *seal })
    }

    /// Returns the holder, if this server made the token.
    pub(super) fn open(&self, key: &[u8; 32]) -> Option<Holder> {
        let digest = seal::open(key, &text(&self.thread, &self.front), &self.seal)?;
        Some(self.held.then_some(digest))
    }
}

/// Returns the text that is sealed with a digest. Its parts but the last have fixed lengths.
fn text<'a>(thread: &'a ThreadId, front: &'a [u8]) -> [&'a [u8]; 3] {
    [PURPOSE, front, thread.as_str().as_bytes()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn thread(id: &str) -> ThreadId {
        ThreadId::parse(id).unwrap()
    }

    fn signed(thread: &ThreadId) -> String {
        sign(&[7; 32], thread, Validity { expires: NOW.plus(LIFETIME), ends: None }, None).unwrap()
    }

    fn opened(key: u8, id: &str, token: &str, now: Timestamp) -> Option<ThreadId> {
        let given = Given::read(id, token, now)?;
        given.open(&[key; 32])?.is_none().then_some(given.thread)
    }

    fn opens(key: u8, id: &str, token: &str, now: Timestamp) -> bool {
        opened(key, id, token, now).is_some()
    }

    #[test]
    fn a_token_opens_its_own_thread_until_it_expires() {
        let token = signed(&thread("t1"));
        assert_eq!(opened(7, "t1", &token, NOW), Some(thread("t1")));
        assert!(!opens(7, "t2", &token, NOW));
        assert!(!opens(8, "t1", &token, NOW));
        assert!(!opens(7, "t1", &token, NOW.plus(LIFETIME)));
    }

    #[test]
    fn a_token_opens_the_thread_of_its_namespace_alone() {
        let team = Namespace::parse("team").unwrap();
        let theirs = ThreadId::within(&team, "t1").unwrap();
        let token = signed(&theirs);
        assert_eq!(opened(7, "t1", &token, NOW), Some(theirs));
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        let known = FRONT_BYTES + SEAL_BYTES;
        for name in ["", "default", "teal", "team2", "tea"] {
            let forged = [&bytes[..known], name.as_bytes()].concat();
            assert!(!opens(7, "t1", &URL_SAFE_NO_PAD.encode(forged), NOW), "{name}");
        }
        let ours = signed(&thread("t1"));
        let mut bytes = URL_SAFE_NO_PAD.decode(&ours).unwrap();
        bytes.extend_from_slice(b"team");
        assert!(!opens(7, "t1", &URL_SAFE_NO_PAD.encode(bytes), NOW));
    }

    #[test]
    fn a_token_is_of_the_key_that_it_was_asked_for_with_and_of_no_other() {
        let validity = Validity { expires: NOW.plus(LIFETIME), ends: Some(NOW) };
        let token = sign(&[7; 32], &thread("t1"), validity, Some(&[1; 32])).unwrap();
        let given = Given::read("t1", &token, NOW).unwrap();
        assert_eq!(given.validity, validity);
        assert_eq!(given.open(&[7; 32]), Some(Some([1; 32])));
        assert_eq!(given.open(&[8; 32]), None);
        let nobodys = signed(&thread("t1"));
        assert_eq!(Given::read("t1", &nobodys, NOW).unwrap().open(&[7; 32]), Some(None));
        for token in [token, nobodys] {
            let mut bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
            bytes[FRONT_BYTES - 1] ^= 1;
            let given = Given::read("t1", &URL_SAFE_NO_PAD.encode(&bytes), NOW).unwrap();
            assert_eq!(given.open(&[7; 32]), None, "whether there is a holder is sealed as well");
        }
    }

    #[test]
    fn a_changed_or_cut_token_is_refused() {
        let token = signed(&thread("t1"));
        for end in 0..token.len() {
            assert!(!opens(7, "t1", &token[..end], NOW), "{end}");
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        bytes[0] ^= 1;
        assert!(!opens(7, "t1", &URL_SAFE_NO_PAD.encode(&bytes), NOW));
        assert!(!opens(7, "t1", "ü not base64", NOW));
    }
}
