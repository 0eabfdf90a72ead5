//! API keys of callers. They can be replaced while the server runs.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::watch;

use crate::model::{Namespace, Role};

/// A caller with a name; the secret itself is not kept.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub(super) name: Arc<str>,
    pub(super) digest: [u8; 32],
    pub(super) role: Role,
    pub(super) namespace: Namespace,
}

impl ApiKey {
    /// Makes an admin's key of the default namespace from its name and its secret.
    pub fn new(name: &str, secret: &str) -> Self {
        Self::from_digest(name, Sha256::digest(secret.as_bytes()).into())
    }

    /// Makes an admin's key of the default namespace from its name and the SHA-256 of its secret.
    pub fn from_digest(name: &str, digest: [u8; 32]) -> Self {
        let name = Arc::from(name);
        Self { name, digest, role: Role::Admin, namespace: Namespace::default() }
    }

    /// Returns whether this key has rights that it lacked in `before`: a higher role, or another
    /// namespace. Keys match by secret, and without such a match by name. A new key gains nothing.
    fn has_gained(&self, before: &[Self]) -> bool {
        let same = |key: &&Self| key.digest == self.digest;
        let named = |key: &&Self| key.name == self.name;
        let known: Vec<_> = before.iter().filter(same).collect();
        let known = if known.is_empty() { before.iter().filter(named).collect() } else { known };
        let covers = |key: &&Self| key.namespace == self.namespace && key.role >= self.role;
        !known.is_empty() && !known.iter().any(covers)
    }

    /// Returns the same key with another role and namespace.
    #[must_use]
    pub fn granted(self, role: Role, namespace: Namespace) -> Self {
        Self { role, namespace, ..self }
    }
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKey").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A change of the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// The keys that are gone, and those that are new.
    pub detail: String,
    /// The keys that have more rights than before, or other ones; `None` if there are none.
    pub gained: Option<String>,
}

/// Names keys with their roles and namespaces.
fn told<'a>(keys: impl Iterator<Item = &'a ApiKey>) -> String {
    let mut named: Vec<String> =
        keys.map(|key| format!("{} ({} in {})", key.name, key.role, key.namespace)).collect();
    let more = named.len().saturating_sub(MOST_NAMED);
    named.truncate(MOST_NAMED);
    let named = named.join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}

fn gained(before: &[ApiKey], now: &[ApiKey]) -> Option<String> {
    let gained = told(now.iter().filter(|key| key.has_gained(before)));
    Some(gained).filter(|names| !names.is_empty())
}

/// The most keys that are named of the new ones, and of the removed ones.
const MOST_NAMED: usize = 20;

/// The keys that are accepted now. Clones share them.
#[derive(Debug, Clone)]
pub struct Keys {
    taken: watch::Sender<Arc<[ApiKey]>>,
    /// Whether tokens of an issuer are accepted beside the keys.
    tokens: bool,
    fault: watch::Sender<Fault>,
}

/// The reason why newer keys could not be read, and the number of times in a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) times: u32,
    pub(super) detail: String,
}

impl Keys {
    /// Accepts these keys; without any, every caller is let in as `anonymous`.
    pub fn new(keys: Vec<ApiKey>) -> Self {
        let taken = watch::Sender::new(Arc::from(keys));
        Self { taken, tokens: false, fault: watch::Sender::default() }
    }

    /// Accepts the same keys beside the tokens of an issuer. Then a server without keys lets nobody
    /// in without a token.
    #[must_use]
    pub fn beside_tokens(self) -> Self {
        Self { tokens: true, ..self }
    }

    /// Names the keys of `next` that have rights which they lack today; `None` if none has.
    pub fn gained(&self, next: &[ApiKey]) -> Option<String> {
        gained(&self.taken.borrow(), next)
    }

    /// Accepts these keys instead, from the next request on, and describes the change. Streams of
    /// removed keys end.
    pub fn replace(&self, keys: Vec<ApiKey>) -> KeyChange {
        let now: Arc<[ApiKey]> = Arc::from(keys);
        let before = self.taken.send_replace(Arc::clone(&now));
        self.fault.send_replace(Fault::default());
        let missing = |from: &[ApiKey], of: &[ApiKey]| {
            let told = told(of.iter().filter(|key| !from.contains(key)));
            if told.is_empty() { "none".to_owned() } else { told }
        };
        let detail =
            format!("removed: {}; added: {}", missing(&now, &before), missing(&before, &now));
        KeyChange { detail, gained: gained(&before, &now) }
    }

    /// Notes that newer keys cannot be read: the previous keys stay in use, and `/health` warns.
    pub fn broken(&self, detail: String) {
        self.fault.send_modify(|fault| *fault = Fault { times: fault.times + 1, detail });
    }

    /// Returns why newer keys could not be read.
    pub(super) fn fault(&self) -> Option<Fault> {
        Some(self.fault.borrow().clone()).filter(|fault| fault.times > 0)
    }

    /// Returns the number of keys.
    pub(super) fn count(&self) -> usize {
        self.taken.borrow().len()
    }

    /// Returns whether callers need a key or a token.
    pub fn are_needed(&self) -> bool {
        self.tokens || !self.taken.borrow().is_empty()
    }

    /// Returns whether these keys would let every caller in where a key is needed now.
    pub fn would_open(&self, keys: &[ApiKey]) -> bool {
        keys.is_empty() && !self.tokens && self.are_needed()
    }

    /// Returns the key whose secret has this SHA-256, of those that are looked at. The comparison
    /// takes the same time for each of them, so that its duration does not reveal a common prefix.
    pub(super) fn find(
        &self,
        digest: &[u8; 32],
        is_looked_at: impl Fn(&ApiKey) -> bool,
    ) -> Option<ApiKey> {
        let mut found = None;
        for key in self.taken.borrow().iter().filter(|key| is_looked_at(key)) {
            if bool::from(key.digest.ct_eq(digest)) {
                found = Some(key.clone());
            }
        }
        found
    }

    /// Resolves when the key is removed or changed; for a caller without a key (`None`), when the
    /// first key is added.
    pub(super) async fn revoked(&self, key: Option<&ApiKey>) {
        let mut keys = self.taken.subscribe();
        let gone = |keys: &Arc<[ApiKey]>| match key {
            Some(key) => !keys.contains(key),
            None => !keys.is_empty(),
        };
        if keys.wait_for(gone).await.is_err() {
            // No code is left that could replace them.
            std::future::pending::<()>().await;
        }
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_secret_finds_its_key_until_the_keys_are_replaced() {
        let keys = Keys::new(vec![ApiKey::new("ops", "s3cret"), ApiKey::new("ci", "other")]);
        let find = |secret: &str| keys.find(&Sha256::digest(secret.as_bytes()).into(), |_| true);
        assert_eq!(find("s3cret").unwrap().name.as_ref(), "ops");
        assert!(find("s3cre").is_none());
        keys.replace(vec![ApiKey::new("ci", "other")]);
        assert!(find("s3cret").is_none());
        assert!(find("other").is_some());
    }

    #[test]
    fn a_key_is_revoked_once_it_is_gone_or_another_one() {
        let ops = ApiKey::new("ops", "s3cret");
        let keys = Keys::new(vec![ops.clone()]);
        let revoked = || keys.revoked(Some(&ops)).now_or_never().is_some();
        assert!(!revoked());
        keys.replace(vec![ops.clone(), ApiKey::new("ci", "other")]);
        assert!(!revoked());
        keys.replace(vec![ops.clone().granted(Role::Admin, Namespace::parse("b").unwrap())]);
        assert!(revoked());
        keys.replace(Vec::new());
        assert!(revoked());
    }

    #[test]
    fn keys_that_gained_rights_are_named() {
        let key = |name: &str, secret: &str, role, namespace: &str| {
            ApiKey::new(name, secret).granted(role, Namespace::parse(namespace).unwrap())
        };
        let keys = Keys::new(vec![
            key("ops", "s3cret", Role::Operator, "a"),
            key("viewer", "other", Role::Reader, "a"),
        ]);
        let gained = |now: Vec<ApiKey>| keys.replace(now).gained;
        let viewer = |role, namespace| key("viewer", "other", role, namespace);
        assert_eq!(gained(vec![viewer(Role::Reader, "a"), ApiKey::new("new", "newer")]), None);
        let named = |text: &str| Some(text.to_owned());
        assert_eq!(gained(vec![viewer(Role::Reader, "b")]), named("viewer (reader in b)"));
        assert_eq!(gained(vec![viewer(Role::Admin, "b")]), named("viewer (admin in b)"));
        assert_eq!(gained(vec![viewer(Role::Reader, "b")]), None);
        let rotated = key("viewer", "fresh", Role::Invoker, "b");
        assert_eq!(gained(vec![rotated]), named("viewer (invoker in b)"));
    }

    #[test]
    fn who_needed_no_key_is_revoked_once_one_is_needed() {
        let keys = Keys::default();
        assert!(keys.revoked(None).now_or_never().is_none());
        keys.replace(vec![ApiKey::new("ops", "s3cret")]);
        assert!(keys.revoked(None).now_or_never().is_some());
    }

    #[test]
    fn beside_tokens_no_keys_let_nobody_in() {
        let keys = Keys::new(vec![ApiKey::new("ops", "s3cret")]);
        assert!(keys.are_needed() && keys.would_open(&[]));
        assert!(!Keys::default().are_needed() && !Keys::default().would_open(&[]));
        let keys = Keys::default().beside_tokens();
        assert!(keys.are_needed() && !keys.would_open(&[]));
    }

    #[test]
    fn a_keys_secret_is_not_in_its_debug_text() {
        let text = format!("{:?}", ApiKey::new("ops", "s3cret"));
        assert_eq!(text, "ApiKey { name: \"ops\", .. }");
    }
}
