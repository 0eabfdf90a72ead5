//! The server's metrics and their Prometheus text.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::model::{Namespace, lock};

use super::register::{Label, Register as _};
use super::{
    CircuitMetrics, IntegrityMetrics, LatencyWindow, MemoryMetrics, NotificationMetrics,
    SnapshotMetrics,
};

/// The content type of [`Metrics::encode`]: the `OpenMetrics` text that Prometheus asks for.
pub const METRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The prefix of every metric's name.
const PREFIX: &str = "rethread";

/// The tally of [`StorageRetries::retries`].
pub const RETRIES_TALLY: &str = "storage/retries";
/// The tally of [`StorageRetries::recovered`].
pub const RECOVERED_TALLY: &str = "storage/recovered";
/// The tally of [`StorageRetries::abandoned`].
pub const ABANDONED_TALLY: &str = "storage/abandoned";

/// Returns the prefix of the names of tallies of a namespace's checkpoints; their kind follows.
pub fn checkpoint_tally(namespace: &Namespace) -> String {
    if namespace.is_default() {
        "checkpoint/".to_owned()
    } else {
        format!("checkpoint@{namespace}/")
    }
}

/// A request to the API and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The matched route, or `other`.
    pub route: String,
    /// The method, or `other` for a method that is not HTTP's own.
    pub method: &'static str,
    /// The answer's status code.
    pub status: u16,
}

/// Counts of store calls that were retried; see [`Metrics::storage_retry_stats`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StorageRetries {
    /// The number of tries after the first one of each call.
    pub retries: u64,
    /// The number of calls that succeeded after at least one retry.
    pub recovered: u64,
    /// The number of calls that were given up after at least one retry.
    pub abandoned: u64,
}

impl StorageRetries {
    /// Returns the share of calls that succeeded among those that were retried and have ended, 0 to
    /// 1; `None` if there are none.
    pub fn success_rate(&self) -> Option<f64> {
        let count = |number: u64| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
        let ended = self.recovered.saturating_add(self.abandoned);
        (ended > 0).then(|| count(self.recovered) / count(ended))
    }
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// All metrics. Fields are handles: cheap to clone, safe to share.
#[derive(Debug)]
#[expect(missing_docs, reason = "each metric's help text stands in `Metrics::new`")]
pub struct Metrics {
    registry: Registry,
    pub threads_started: Counter,
    /// The final status is `completed`, `failed` or `aborted`.
    pub threads_finished: Family<Label, Counter>,
    /// The outcome of an attempt is `completed`, `retried` or `failed`.
    pub compensations: Family<Label, Counter>,
    pub threads_running: Gauge,
    pub threads_queued: Gauge,
    /// The outcome of a step is `completed`, `failed` or `skipped`.
    pub steps_finished: Family<[(&'static str, &'static str); 2], Counter>,
    pub step_duration: Histograms<Label>,
    pub step_retries: Counter,
    /// The cause of a takeover is as the `workflow_recovered` event has it.
    pub recoveries: Family<Label, Counter>,
    pub journal_commit: Histogram,
    pub journal_batch_size: Histogram,
    pub journal_load: Histogram,
    pub snapshots: SnapshotMetrics,
    pub circuits: CircuitMetrics,
    pub notifications: NotificationMetrics,
    pub memory: MemoryMetrics,
    pub storage_errors: Counter,
    pub storage_retries: Counter,
    /// The operation is the type of the event that the checkpoint follows.
    pub checkpoints: Family<Label, Counter>,
    pub storage_recovered: Counter,
    pub storage_abandoned: Counter,
    pub storage_log_bytes: Gauge,
    pub storage_free_bytes: Gauge,
    pub integrity: IntegrityMetrics,
    pub log_lines_dropped: Counter,
    /// In seconds; negative: behind.
    pub clock_skew: Gauge<f64, AtomicU64>,
    pub sse_streams_open: Gauge,
    pub sse_streams_reset: Counter,
    /// The quota of a `key` or a `namespace`: its `rate`, `concurrency` or `bytes`, joined by `_`.
    pub quota_refusals: Family<Label, Counter>,
    /// `checked`, or `unchecked` for keys beyond the number that is checked from one address.
    pub wrong_keys: Family<Label, Counter>,
    pub http_requests: Family<RequestLabels, Counter>,
    /// The matched route, or `other`: never the path itself, which a client chooses.
    pub http_request_duration: Histograms<[(&'static str, String); 1]>,
    /// The checkpoints again, in a form that can be read back.
    checkpoint_counts: Mutex<BTreeMap<Namespace, BTreeMap<&'static str, u64>>>,
    /// Recent journal commits, for the health report.
    pub recent_saves: LatencyWindow,
    /// Recent loads of threads, for the health report.
    pub recent_loads: LatencyWindow,
    /// Recent heartbeats, for the health report: they are made whether or not anybody calls.
    pub recent_beats: LatencyWindow,
}

/// Makes a histogram of 1 ms to 17 min: from a local call to a long program.
fn step_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 4.0, 11))
}

/// Makes a histogram of 0.25 ms to 8 s: from a page in memory to a store in trouble.
fn store_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.0, 16))
}

/// Makes a histogram of 0.5 ms to 16 s: from a cached status to a request that waits.
fn request_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_5, 2.0, 16))
}

/// Makes a histogram of 1 to 1024 appends in one statement.
fn batch_sizes() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 2.0, 11))
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Makes metrics that all are at zero.
    pub fn new() -> Self {
        let mut r = Registry::with_prefix(PREFIX);
        let by_kind: Histograms<Label> = Family::new_with_constructor(step_seconds);
        let by_route: Histograms<_> = Family::new_with_constructor(request_seconds);
        Self {
            threads_started: r.add("threads_started", "Threads accepted"),
            threads_finished: r.add("threads_finished", "Threads that ended, by status"),
            compensations: r.add("compensations", "Attempts to undo a step, by outcome"),
            threads_running: r.add("threads_running", "Threads this replica drives"),
            threads_queued: r.add("threads_queued", "Threads that wait for a replica"),
            steps_finished: r.add("steps_finished", "Steps that ended, by kind and outcome"),
            step_duration: r.put("step_duration_seconds", "Time of one attempt, by kind", by_kind),
            step_retries: r.add("step_retries", "Attempts that failed and are made again"),
            recoveries: r.add("recoveries", "Takeovers of threads, by cause"),
            journal_commit: r.put(
                "journal_commit_seconds",
                "Time to commit a batch",
                store_seconds(),
            ),
            journal_batch_size: r.put(
                "journal_batch_size",
                "Appends committed together",
                batch_sizes(),
            ),
            journal_load: r.put("journal_load_seconds", "Time to load a thread", store_seconds()),
            snapshots: SnapshotMetrics::new(&mut r),
            circuits: CircuitMetrics::new(&mut r),
            notifications: NotificationMetrics::new(&mut r),
            memory: MemoryMetrics::new(&mut r),
            storage_errors: r.add("storage_errors", "Store calls that failed"),
            storage_retries: r.add("storage_retries", "Store calls made again"),
            checkpoints: r.add("checkpoints", "Checkpoints, by what was done"),
            checkpoint_counts: Mutex::default(),
            storage_recovered: r.add(
                "storage_retries_recovered",
                "Store calls that succeeded after they were made again",
            ),
            storage_abandoned: r.add(
                "storage_retries_abandoned",
                "Store calls given up after they were made again",
            ),
            storage_log_bytes: r.add("storage_log_bytes", "Bytes of a file's write-ahead log"),
            storage_free_bytes: r.add("storage_free_bytes", "Bytes free on a file's disk"),
            integrity: IntegrityMetrics::new(&mut r),
            log_lines_dropped: r
                .add("log_lines_dropped", "Lines of the log that could not be written"),
            clock_skew: r
                .add("clock_skew_seconds", "How far this machine's clock is ahead of the store's"),
            sse_streams_open: r.add("sse_streams_open", "Event streams open now"),
            sse_streams_reset: r.add(
                "sse_streams_reset",
                "Open event streams whose journal came back in an earlier state",
            ),
            quota_refusals: r.add("quota_refusals", "Requests refused by a quota, by which"),
            wrong_keys: r.add("wrong_keys", "Requests with a wrong key, by what became of it"),
            http_requests: r.add("http_requests", "Requests, by route, method and status"),
            http_request_duration: r.put(
                "http_request_duration_seconds",
                "Time to answer a request, by route",
                by_route,
            ),
            recent_saves: LatencyWindow::default(),
            recent_loads: LatencyWindow::default(),
            recent_beats: LatencyWindow::default(),
            registry: r,
        }
    }

    /// Records a commit of `appends` appends, or the failure of one.
    pub fn saved(&self, took: Duration, appends: usize, ok: bool) {
        self.recent_saves.record(took, ok);
        if ok {
            self.journal_commit.observe(took.as_secs_f64());
            self.journal_batch_size.observe(f64::from(u32::try_from(appends).unwrap_or(u32::MAX)));
        } else {
            self.storage_errors.inc();
        }
    }

    /// Records a heartbeat, or the failure of one.
    pub fn beat(&self, took: Duration, ok: bool) {
        self.recent_beats.record(took, ok);
        if !ok {
            self.storage_errors.inc();
        }
    }

    /// Returns the results of store calls that were retried, since the start.
    pub fn storage_retry_stats(&self) -> StorageRetries {
        StorageRetries {
            retries: self.storage_retries.get(),
            recovered: self.storage_recovered.get(),
            abandoned: self.storage_abandoned.get(),
        }
    }

    /// Records the load of a thread, or the failure of one.
    pub fn loaded(&self, took: Duration, ok: bool) {
        self.recent_loads.record(took, ok);
        if ok {
            self.journal_load.observe(took.as_secs_f64());
        } else {
            self.storage_errors.inc();
        }
    }

    /// Records a step's end; `took` is its last attempt's time, absent if it made none.
    pub fn step_finished(&self, kind: &'static str, outcome: &'static str, took: Option<Duration>) {
        self.steps_finished.get_or_create(&[("kind", kind), ("outcome", outcome)]).inc();
        if let Some(took) = took {
            self.step_duration.get_or_create(&[("kind", kind)]).observe(took.as_secs_f64());
        }
    }

    /// Takes over the number of lines of the log that were dropped since the start of the process.
    pub fn log_lines_dropped(&self, number: u64) {
        self.log_lines_dropped.inner().fetch_max(number, Ordering::Relaxed);
    }

    /// Records a request that was refused by a quota.
    pub fn quota_refused(&self, quota: &'static str) {
        self.quota_refusals.get_or_create(&[("quota", quota)]).inc();
    }

    /// Records a wrong key, and whether it was checked.
    pub fn wrong_key(&self, looked_at: bool) {
        let outcome = if looked_at { "checked" } else { "unchecked" };
        self.wrong_keys.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Records the outcome of an attempt at a compensation.
    pub fn compensated(&self, outcome: &'static str) {
        self.compensations.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Records a thread's end.
    pub fn thread_finished(&self, status: &'static str) {
        self.threads_finished.get_or_create(&[("status", status)]).inc();
    }

    /// Records a checkpoint of a thread of a namespace.
    pub fn checkpoint(&self, namespace: &Namespace, operation: &'static str) {
        self.checkpoints.get_or_create(&[("operation", operation)]).inc();
        // A panic while the lock was held cannot leave a map of counts half changed.
        let mut counts = lock(&self.checkpoint_counts);
        let counts = match counts.get_mut(namespace) {
            Some(counts) => counts,
            None => counts.entry(namespace.clone()).or_default(),
        };
        *counts.entry(operation).or_default() += 1;
    }

    /// Returns the counts that replicas share, by name, since this replica started.
    pub fn tallies(&self) -> Vec<(String, u64)> {
        let counts = lock(&self.checkpoint_counts);
        let checkpoints = counts.iter().flat_map(|(namespace, kinds)| {
            let begin = checkpoint_tally(namespace);
            kinds.iter().map(move |(kind, n)| (format!("{begin}{kind}"), *n))
        });
        let StorageRetries { retries, recovered, abandoned } = self.storage_retry_stats();
        let storage = [
            (RETRIES_TALLY.to_owned(), retries),
            (RECOVERED_TALLY.to_owned(), recovered),
            (ABANDONED_TALLY.to_owned(), abandoned),
        ];
        checkpoints.chain(storage).collect()
    }

    /// Records a takeover.
    pub fn recovered(&self, cause: &'static str) {
        self.recoveries.get_or_create(&[("cause", cause)]).inc();
    }

    /// Records an answered request; `route` is the matched route or `other`.
    pub fn request(&self, route: &str, method: &'static str, status: u16, took: Duration) {
        let route = route.to_owned();
        let labels = RequestLabels { route: route.clone(), method, status };
        self.http_requests.get_or_create(&labels).inc();
        let label = [("route", route)];
        self.http_request_duration.get_or_create(&label).observe(took.as_secs_f64());
    }

    /// Returns all metrics as text; its content type is [`METRICS_CONTENT_TYPE`].
    pub fn encode(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            // Writing to a string cannot fail; half a text would look like metrics that vanished.
            Err(std::fmt::Error) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_dashboards_are_built_on() {
        let metrics = Metrics::new();
        metrics.threads_started.inc();
        metrics.log_lines_dropped(2);
        metrics.thread_finished("completed");
        metrics.step_finished("http", "completed", Some(Duration::from_millis(3)));
        metrics.step_finished("http", "skipped", None);
        metrics.recovered("replica_lost");
        metrics.saved(Duration::from_millis(2), 7, true);
        metrics.loaded(Duration::from_millis(2), false);
        metrics.sse_streams_open.inc();
        metrics.snapshots.written("pause");
        metrics.snapshots.skipped("busy");
        metrics.snapshots.bad("checksum");
        metrics.circuits.turned("open");
        metrics.circuits.refusals.inc();
        metrics.request("/status/{threadId}", "GET", 200, Duration::from_millis(1));
        let text = metrics.encode();
        for line in [
            "rethread_threads_started_total 1",
            "rethread_threads_finished_total{status=\"completed\"} 1",
            "rethread_steps_finished_total{kind=\"http\",outcome=\"completed\"} 1",
            "rethread_steps_finished_total{kind=\"http\",outcome=\"skipped\"} 1",
            "rethread_step_duration_seconds_count{kind=\"http\"} 1",
            "rethread_step_retries_total 0",
            "rethread_recoveries_total{cause=\"replica_lost\"} 1",
            "rethread_threads_running 0",
            "rethread_threads_queued 0",
            "rethread_journal_commit_seconds_count 1",
            "rethread_journal_batch_size_sum 7.0",
            "rethread_journal_load_seconds_count 0",
            "rethread_snapshots_written_total{kind=\"pause\"} 1",
            "rethread_notifications_sent_total 0",
            "rethread_notifications_failed_total 0",
            "rethread_notifications_given_up_total 0",
            "rethread_notifications_pending 0",
            "rethread_snapshots_skipped_total{reason=\"busy\"} 1",
            "rethread_snapshots_bad_total{reason=\"checksum\"} 1",
            "rethread_circuits_open 0",
            "rethread_circuit_turns_total{to=\"open\"} 1",
            "rethread_circuit_refusals_total 1",
            "rethread_memory_bytes{pool=\"streams\"} 0",
            "rethread_memory_refused_total{pool=\"requests\"} 0",
            "rethread_memory_limit_bytes 0",
            "rethread_memory_resident_bytes 0",
            "rethread_storage_errors_total 1",
            "rethread_storage_retries_total 0",
            "rethread_storage_retries_recovered_total 0",
            "rethread_storage_retries_abandoned_total 0",
            "rethread_storage_log_bytes 0",
            "rethread_storage_free_bytes 0",
            "rethread_log_lines_dropped_total 2",
            "rethread_clock_skew_seconds 0.0",
            "rethread_fenced_total 0",
            "rethread_invariant_violations_total 0",
            "rethread_sse_streams_open 1",
            "rethread_sse_streams_reset_total 0",
            "rethread_http_requests_total{route=\"/status/{threadId}\",method=\"GET\",status=\"200\"} 1",
            "rethread_http_request_duration_seconds_count{route=\"/status/{threadId}\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
        }
    }

    #[test]
    fn two_registries_do_not_share_counts() {
        let (one, other) = (Metrics::new(), Metrics::new());
        one.threads_started.inc();
        assert_eq!(other.threads_started.get(), 0);
    }
}
