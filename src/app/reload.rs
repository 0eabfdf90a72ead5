//! Reads API keys and the filter of the log again: both at SIGHUP, and the keys also once their
//! file has changed. A file that cannot be read changes nothing.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::api::{self, Keys};
use crate::config::{ApiKey, ConfigError, Reload, Reloaded};
use crate::model::Namespace;
use crate::runtime::{AuditEvent, Handle};
use crate::telemetry;

/// The time between two looks at the file of the keys: a key that is removed stops working within
/// seconds.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The time that a file has to stay unchanged before it is read: its writer may not be done.
const SETTLED_AFTER: Duration = Duration::from_millis(200);

/// The actor of a reload that no caller asked for.
const OURSELVES: &str = "rethread";

/// Keeps the keys in step with their file.
#[derive(Debug)]
pub(super) struct Reloading {
    keys: Keys,
    handle: Handle,
    reload: Reload,
    hangups: Arc<Notify>,
    /// The keys of this process alone, which are in no file.
    own: Vec<ApiKey>,
    file: Option<PathBuf>,
    seen: Option<Print>,
}

/// A fingerprint of a file's state: the time of its last change, its size and its number.
type Print = (i64, i64, u64, u64);

impl Reloading {
    /// Starts from the keys that the server was started with.
    pub(super) async fn new(
        (keys, handle): (Keys, Handle),
        started_with: &[ApiKey],
        (reload, hangups): (Reload, Arc<Notify>),
    ) -> Self {
        let first = read(&reload).await.ok();
        let own = first.as_ref().map(|read| {
            started_with.iter().filter(|key| !read.api_keys.contains(key)).cloned().collect()
        });
        let own = own.unwrap_or_default();
        let file = first.and_then(|read| read.key_file);
        let mut reloading = Self { keys, handle, reload, hangups, own, file, seen: None };
        reloading.seen = reloading.look().await;
        reloading
    }

    /// Looks for changes until it is dropped.
    pub(super) async fn run(mut self) {
        loop {
            let hung_up = tokio::select! {
                () = self.hangups.notified() => true,
                () = tokio::time::sleep(LOOK_EVERY) => false,
            };
            if hung_up {
                tracing::info!("SIGHUP: API keys and the filter of the log are read again");
            } else if !self.changed().await {
                continue;
            }
            match read(&self.reload).await {
                Ok(read) => self.take(read, hung_up).await,
                Err(error) => self.refuse(&error).await,
            }
        }
    }

    /// Returns whether the file has changed and has settled since.
    async fn changed(&mut self) -> bool {
        let found = self.look().await;
        if found == self.seen {
            return false;
        }
        tokio::time::sleep(SETTLED_AFTER).await;
        if self.look().await != found {
            // The next look comes soon.
            return false;
        }
        self.seen = found;
        true
    }

    async fn look(&self) -> Option<Print> {
        match &self.file {
            Some(file) => print(file).await,
            None => None,
        }
    }

    async fn take(&mut self, read: Reloaded, log: bool) {
        telemetry::log_notices(&read.notices);
        if log && let Err(error) = telemetry::reload(&read.log) {
            tracing::error!(%error, "the filter of the log stays as it was");
        }
        self.file = read.key_file;
        let all: Vec<ApiKey> = read.api_keys.into_iter().chain(self.own.iter().cloned()).collect();
        let keys = api_keys(&all);
        if self.keys.would_open(&keys) {
            let nobody = "no keys are left, which would let everybody in".to_owned();
            return self.refuse(&ConfigError::one(nobody)).await;
        }
        if let Some(fault) = read.cut_off.and_then(|fault| self.cut_off(&fault, &keys)) {
            return self.refuse(&fault).await;
        }
        tracing::info!(keys = keys.len(), "API keys are read again");
        self.replace(keys).await;
    }

    /// Returns why keys of a file that may be cut off are not taken: the rest of its last line may have
    /// meant less.
    fn cut_off(&self, fault: &str, keys: &[api::ApiKey]) -> Option<ConfigError> {
        let Some(gained) = self.keys.gained(keys) else {
            tracing::warn!(fault, "the file of API keys is taken all the same");
            return None;
        };
        let fault = format!("{fault}, and {gained} would have more rights than before");
        Some(ConfigError::one(fault))
    }

    async fn replace(&self, keys: Vec<api::ApiKey>) {
        let change = self.keys.replace(keys);
        if let Some(gained) = &change.gained {
            tracing::warn!(keys = %gained, "API keys have more rights than before");
        }
        self.audit("keys_changed", &change.detail).await;
    }

    /// Logs and audits a broken file. The keys from before stay, so that the file neither locks
    /// anybody out nor lets anybody in.
    async fn refuse(&self, error: &ConfigError) {
        tracing::error!(%error, "API keys cannot be read; those from before stay");
        self.keys.broken(error.faults.join("; "));
        self.audit("keys_refused", "they cannot be read; those from before stay").await;
    }

    async fn audit(&self, action: &str, detail: &str) {
        let event = AuditEvent {
            namespace: Namespace::default().to_string(),
            by: OURSELVES.to_owned(),
            role: None,
            action: action.to_owned(),
            about: "RETHREAD_API_KEYS".to_owned(),
            status: None,
            detail: Some(detail.to_owned()),
            address: None,
        };
        self.handle.record_audit(event).await;
    }
}

async fn print(file: &Path) -> Option<Print> {
    let found = tokio::fs::metadata(file).await.ok()?;
    Some((found.mtime(), found.mtime_nsec(), found.size(), found.ino()))
}

/// Reads off the workers: a file may lie on a disk that does not answer.
async fn read(reload: &Reload) -> Result<Reloaded, ConfigError> {
    let reload = reload.clone();
    let read = tokio::task::spawn_blocking(move || reload.read()).await;
    read.unwrap_or_else(|_| Err(ConfigError::one("the reading broke off".to_owned())))
}

/// Returns the keys in the form that the API takes.
pub(super) fn api_keys(keys: &[ApiKey]) -> Vec<api::ApiKey> {
    let key = |key: &ApiKey| {
        api::ApiKey::from_digest(&key.name, key.hash).granted(key.role, key.namespace.clone())
    };
    keys.iter().map(key).collect()
}
