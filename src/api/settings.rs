//! The settings of the API, and the interface that it reports requests to.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::cors::Origins;
use super::keys::Keys;
use crate::identity::Issuer;
use crate::model::HostPort;

/// The largest request body unless configured otherwise, in bytes (`RETHREAD_MAX_BODY`).
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
    /// The time to the headers of the answer.
    pub elapsed: Duration,
}

/// The metrics that the API reports to, and that `GET /metrics` renders.
pub trait HttpMetrics: Send + Sync + std::fmt::Debug {
    /// Counts an answered request.
    fn answered(&self, answered: &Answered<'_>);
    /// Counts an event stream that was opened (`+1`) or closed (`-1`).
    fn streams(&self, change: i64);
    /// Counts an event stream that had sent events which its journal does not have any more.
    fn stream_reset(&self);
    /// Counts a journal with a gap.
    fn journal_gap(&self);
    /// Counts a wrong key, which was either looked up or refused unseen.
    fn wrong_key(&self, looked_at: bool);
    /// Counts a request that was refused because this quota is used up.
    fn refused(&self, quota: &'static str);
    /// Returns all metrics of the process in the Prometheus text format.
    fn render(&self) -> String;
}

/// Metrics that record nothing: for tests and for a server without them.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMetrics;

impl HttpMetrics for NoMetrics {
    fn answered(&self, _: &Answered<'_>) {}
    fn streams(&self, _: i64) {}
    fn stream_reset(&self) {}
    fn journal_gap(&self) {}
    fn wrong_key(&self, _: bool) {}
    fn refused(&self, _: &'static str) {}
    fn render(&self) -> String {
        "# EOF\n".to_owned()
    }
}

/// A rate of requests, and the number that may come at once after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The requests a second.
    pub per_second: NonZeroU32,
    /// The requests at once.
    pub burst: NonZeroU32,
}

/// The quotas of each key, or of each namespace; `None` is no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quotas {
    /// The requests a second.
    pub rate: Option<Rate>,
    /// The requests that are answered at once; an event stream is one for as long as it lives.
    pub concurrency: Option<usize>,
    /// The bytes of request bodies a second.
    pub bytes: Option<u64>,
}

/// The settings of the API.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// The keys of the callers; without any, every caller is `anonymous`.
    pub keys: Keys,
    /// The issuer whose tokens are accepted beside keys; with one, the keys are [`Keys::beside_tokens`].
    pub issuer: Option<Arc<Issuer>>,
    /// The host of the listen address, to which a server without keys answers beside loopback
    /// names.
    pub address: Option<HostPort>,
    /// The names that a server with keys answers to; any name if empty.
    pub hosts: Vec<HostPort>,
    /// The origins whose pages may call from a browser.
    pub origins: Origins,
    /// Whether reads of inputs and outputs are recorded in the audit list.
    pub audit_reads: bool,
    /// The size of the largest request body, in bytes; a larger one is answered with 413.
    pub max_body: usize,
    /// The number of wrong keys that are looked up per minute and address; `None`: all of them.
    pub wrong_keys: Option<NonZeroU32>,
    /// The quotas of each key, and those of each namespace.
    pub quotas: (Quotas, Quotas),
    /// The metrics that count requests.
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
