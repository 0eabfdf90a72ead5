//! The settings of the API, and the hook that it reports requests to.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::cors::Origins;
use super::keys::Keys;
use crate::identity::Issuer;
use crate::model::HostPort;

/// Largest request body unless configured otherwise, in bytes (`RETHREAD_MAX_BODY`).
pub const DEFAULT_MAX_BODY: usize = 4 * 1024 * 1024;

/// One answered request, for metrics. Labels are bounded: the route is the pattern it matched.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// The HTTP method, or `other` for one that is not of RFC 9110.
    pub method: &'a str,
    /// The pattern of the route, or `other` if none matched.
    pub route: &'a str,
    /// The HTTP status of the answer.
    pub status: u16,
    /// Time to the headers of the answer.
    pub elapsed: Duration,
}

/// Where the API reports what it does, and where `GET /metrics` comes from.
pub trait HttpMetrics: Send + Sync + std::fmt::Debug {
    /// A request was answered.
    fn answered(&self, answered: &Answered<'_>);
    /// An event stream was opened (`+1`) or closed (`-1`).
    fn streams(&self, change: i64);
    /// A key was wrong; whether it was looked at, or refused unseen.
    fn wrong_key(&self, looked_at: bool);
    /// A request was refused because this quota is used up.
    fn refused(&self, quota: &'static str);
    /// All metrics of the process in the Prometheus text format.
    fn render(&self) -> String;
}

/// Metrics that go nowhere: for tests and for a server without them.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMetrics;

impl HttpMetrics for NoMetrics {
    fn answered(&self, _: &Answered<'_>) {}
    fn streams(&self, _: i64) {}
    fn wrong_key(&self, _: bool) {}
    fn refused(&self, _: &'static str) {}
    fn render(&self) -> String {
        "# EOF\n".to_owned()
    }
}

/// Requests a second, and how many may come at once after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests a second.
    pub per_second: NonZeroU32,
    /// Requests at once.
    pub burst: NonZeroU32,
}

/// The quotas of each key, or of each namespace; what is `None` is not bounded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Requests a second.
    pub rate: Option<Rate>,
    /// Requests that are answered at once; an event stream is one for as long as it lives.
    pub concurrency: Option<usize>,
    /// Bytes of request bodies a second.
    pub bytes: Option<u64>,
}

/// The settings of the API.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// Keys of the callers; without any, everybody is `anonymous`.
    pub keys: Keys,
    /// The issuer whose tokens are accepted beside keys; with one, the keys are [`Keys::beside_tokens`].
    pub issuer: Option<Arc<Issuer>>,
    /// The host of the listen address: what a server without keys answers to beside loopback names.
    pub address: Option<HostPort>,
    /// Names that a server with keys answers to; any name if empty.
    pub hosts: Vec<HostPort>,
    /// Origins whose pages may call from a browser.
    pub origins: Origins,
    /// Whether the audit list is told of reads of inputs and outputs.
    pub audit_reads: bool,
    /// Largest request body, in bytes; larger is 413.
    pub max_body: usize,
    /// Wrong keys a minute that are looked at from one address; `None`: all of them.
    pub wrong_keys: Option<NonZeroU32>,
    /// The quotas of each key, and those of each namespace.
    pub quotas: (Quotas, Quotas),
    /// Where requests are counted.
    pub metrics: Arc<dyn HttpMetrics>,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            keys: Keys::default(),
            issuer: None,
            address: None,
            hosts: Vec::new(),
            origins: Origins::default(),
            audit_reads: false,
            max_body: DEFAULT_MAX_BODY,
            wrong_keys: None,
            quotas: (Quotas::default(), Quotas::default()),
            metrics: Arc::new(NoMetrics),
        }
    }
}
