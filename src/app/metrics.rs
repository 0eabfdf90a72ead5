//! Lets the API report to the metrics without a dependency on them.

use std::sync::Arc;

use crate::api::{Answered, HttpMetrics};
use crate::observe::Metrics;
use crate::telemetry;

/// The metrics of the process in the form that the API takes.
#[derive(Debug)]
pub(super) struct ServedMetrics(pub(super) Arc<Metrics>);

impl HttpMetrics for ServedMetrics {
    fn answered(&self, answered: &Answered<'_>) {
        let method = method(answered.method);
        self.0.request(answered.route, method, answered.status, answered.elapsed);
    }

    fn streams(&self, change: i64) {
        self.0.sse_streams_open.inc_by(change);
    }

    fn stream_reset(&self) {
        self.0.sse_streams_reset.inc();
    }

    fn journal_gap(&self) {
        self.0.integrity.violations.inc();
    }

    fn wrong_key(&self, looked_at: bool) {
        self.0.wrong_key(looked_at);
    }

    fn refused(&self, quota: &'static str) {
        self.0.quota_refused(quota);
    }

    fn render(&self) -> String {
        self.0.log_lines_dropped(telemetry::dropped_lines());
        self.0.encode()
    }
}

/// The methods of RFC 9110, so that no client can make a new label.
const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

fn method(name: &str) -> &'static str {
    METHODS.into_iter().find(|known| *known == name).unwrap_or("other")
}
