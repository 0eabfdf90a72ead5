//! The health of the server and of what it calls.

use serde::Serialize;
use utoipa::ToSchema;

use crate::model::Timestamp;

/// How well something is, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words that clients see")]
pub enum HealthStatus {
    Healthy,
    Warning,
    Degraded,
    Critical,
    Failed,
}

/// One check of the health report.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// How well it is.
    pub status: HealthStatus,
    /// What was measured.
    pub value: serde_json::Value,
    /// What that means.
    pub detail: String,
    /// Bad results in a row.
    pub consecutive_failures: u32,
    /// What to do about it.
    pub recommendation: Option<String>,
}

/// What a circuit breaker's key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CircuitScope {
    /// What steps call: a host and port, or a kind and program.
    Target,
    /// The `breaker.key` of a workflow.
    Key,
}

/// A circuit breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Circuit {
    /// What it stands before: host and port, kind and program, or the key that steps gave it.
    pub key: String,
    /// Which of them.
    pub scope: CircuitScope,
    /// After how many failures in a row it opens. Steps that ask for another threshold or another
    /// timeout pass a circuit of their own.
    pub failure_threshold: u32,
    /// How long it stays open before it lets a probe through.
    pub reset_timeout_ms: u64,
    /// `closed`, `open` or `half_open`.
    pub state: &'static str,
    /// Failures in a row.
    pub failures: u32,
    /// When it opened; `null` if it is closed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub opened_at: Option<Timestamp>,
    /// When it lets a probe through; `null` if it is closed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub retry_at: Option<Timestamp>,
    /// Until when the target asked to be left alone; `null` if it did not.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub cools_until: Option<Timestamp>,
}

/// `/health`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthReport {
    /// The worst of all checks.
    pub status: HealthStatus,
    /// The checks, by name.
    pub checks: std::collections::BTreeMap<String, HealthCheck>,
    /// Circuit breakers that the caller's namespace has on this replica, the open ones first; at
    /// most 100.
    pub circuits: Vec<Circuit>,
    /// The server's version.
    pub version: &'static str,
    /// Time since the start, in milliseconds.
    pub uptime_ms: u64,
}

impl HealthReport {
    /// Adds a check under this name.
    pub fn add(&mut self, name: &str, check: HealthCheck) {
        self.status = self.status.max(check.status);
        self.checks.insert(name.to_owned(), check);
    }
}

/// A probe's answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProbeAnswer {
    /// `live` or `ready`.
    pub status: &'static str,
}

/// Percentiles of a duration, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
#[expect(missing_docs, reason = "the words that clients see")]
pub struct Latency {
    #[serde(rename = "p50Ms")]
    pub p50_ms: Option<f64>,
    #[serde(rename = "p95Ms")]
    pub p95_ms: Option<f64>,
}

/// `/health/checkpointer`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoreHealth {
    /// `sqlite`, `postgres` or `memory`.
    pub backend: &'static str,
    /// Whether what was acknowledged survives a power cut.
    pub durable: bool,
    /// The backend that stands in for the configured one, if one does.
    pub fallback: Option<&'static str>,
    /// How well it is.
    pub status: HealthStatus,
    /// Time to write a batch.
    pub save: Latency,
    /// Time to load a thread.
    pub load: Latency,
    /// Failed calls among the recent ones, 0 to 1.
    pub error_rate: f64,
}
