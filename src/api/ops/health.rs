//! Health and metrics.

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::api::extract::Within;
use crate::api::problem::{NOT_READY, Problem};
use crate::api::query::{NoParams, QueryString};
use crate::api::{Api, Keys};
use crate::contract::{HealthCheck, HealthReport, HealthStatus, ProbeAnswer, StoreHealth};
use crate::identity::Freshness;
use crate::runtime::Cause;

/// The media type of the Prometheus text format, for callers that ask for no other.
const TEXT_METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The media type of `OpenMetrics`, which Prometheus itself asks for.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Check that the process is alive
///
/// For probes that restart a process that hangs; needs no key.
#[utoipa::path(
    get, path = "/health/live", operation_id = "healthLive", tag = "operations", security(()),
    responses((status = 200, description = "It does", body = ProbeAnswer))
)]
pub(in crate::api) async fn live(_: QueryString<NoParams>) -> JsonAnswer<ProbeAnswer> {
    JsonAnswer(ProbeAnswer { status: "live" })
}

/// Whether this replica can do its work now
///
/// For probes that take a replica out of a load balancer; needs no key.
#[utoipa::path(
    get, path = "/health/ready", operation_id = "healthReady", tag = "operations", security(()),
    responses((status = 200, description = "It can", body = ProbeAnswer))
)]
pub(in crate::api) async fn ready(
    State(api): State<Api>,
    _: QueryString<NoParams>,
) -> Result<JsonAnswer<ProbeAnswer>, Problem> {
    match api.handle.ready() {
        Ok(()) => Ok(JsonAnswer(ProbeAnswer { status: "ready" })),
        Err(why) => Err(Problem::new(&NOT_READY, format!("{why}; GET /health says more"))),
    }
}

/// Read the whole health report
///
/// Every check with its value, what it means and what to do about it.
#[utoipa::path(
    get, path = "/health", operation_id = "health", tag = "operations",
    security(("bearer" = ["reader"])),
    responses(
        (status = 200, description = "Healthy, or worse without having to act at once", body = HealthReport),
        (status = 503, description = "Critical or failed", body = HealthReport),
    )
)]
pub(in crate::api) async fn health(
    State(api): State<Api>,
    Within(namespace): Within,
    _: QueryString<NoParams>,
) -> Response {
    let mut report = api.handle.health(&namespace).await;
    report.add("api_keys", keys_check(&api.settings.keys));
    if let Some(issuer) = &api.settings.issuer {
        report.add("oidc_issuer", issuer_check(issuer.freshness()));
    }
    let status = match report.status {
        HealthStatus::Healthy | HealthStatus::Warning | HealthStatus::Degraded => StatusCode::OK,
        HealthStatus::Critical | HealthStatus::Failed => StatusCode::SERVICE_UNAVAILABLE,
    };
    let cause = worst(&report);
    let mut response = (status, JsonAnswer(report)).into_response();
    response.extensions_mut().insert(cause);
    response
}

/// Returns what the worst checks say, for the log.
fn worst(report: &HealthReport) -> Cause {
    let worst = report.checks.iter().filter(|(_, check)| check.status == report.status);
    let said = worst.map(|(name, check)| format!("{name}: {}", check.detail));
    Cause(said.collect::<Vec<_>>().join("; "))
}

fn keys_check(keys: &Keys) -> HealthCheck {
    let fault = keys.fault();
    HealthCheck {
        status: if fault.is_none() { HealthStatus::Healthy } else { HealthStatus::Warning },
        value: json!({ "keys": keys.count() }),
        detail: match &fault {
            // The log has the details: they name a file.
            Some(_) => "the newer keys cannot be read; the previous keys stay in use".to_owned(),
            None if !keys.are_needed() => "nobody needs a key".to_owned(),
            None => "the newest keys are in use".to_owned(),
        },
        consecutive_failures: fault.as_ref().map_or(0, |fault| fault.times),
        recommendation: fault
            .map(|_| "correct the keys; the server's log names the fault".to_owned()),
    }
}

fn issuer_check(keys: Freshness) -> HealthCheck {
    let well = keys.failures == 0;
    HealthCheck {
        // Only a warning: API keys still work.
        status: if well && keys.age.is_some() {
            HealthStatus::Healthy
        } else {
            HealthStatus::Warning
        },
        value: json!({ "keys": keys.keys, "ageSeconds": keys.age.map(|age| age.as_secs()) }),
        detail: match (keys.age, well) {
            (None, _) => {
                "no keys of the issuer are loaded: requests with a token are answered with 503"
            }
            (Some(_), false) => {
                "the issuer cannot be reached; its last keys are used for up to 24 h"
            }
            (Some(_), true) => "the issuer's newest keys are in use",
        }
        .to_owned(),
        consecutive_failures: keys.failures,
        recommendation: (!well).then(|| {
            "look at the issuer; the server's log says why it cannot be reached".to_owned()
        }),
    }
}

/// Read how the store does
///
/// Which backend it is, how long it takes to write and to read, and how often it fails.
#[utoipa::path(
    get, path = "/health/checkpointer", operation_id = "healthCheckpointer", tag = "operations",
    security(("bearer" = ["reader"])),
    responses((status = 200, description = "The store", body = StoreHealth))
)]
pub(in crate::api) async fn checkpointer(
    State(api): State<Api>,
    _: QueryString<NoParams>,
) -> JsonAnswer<StoreHealth> {
    JsonAnswer(api.handle.store_health().await)
}

/// Read metrics in the Prometheus text format
///
/// The text is `OpenMetrics`, which scrapers of the text format 0.0.4 read as well; `Accept` decides
/// on the media type.
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics", tag = "operations",
    security(("bearer" = ["reader"])),
    responses((status = 200, description = "All metrics", body = String, content_type = "text/plain"))
)]
pub(in crate::api) async fn metrics(
    State(api): State<Api>,
    _: QueryString<NoParams>,
    headers: HeaderMap,
) -> Response {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let open = accepted.is_some_and(|types| types.contains("application/openmetrics-text"));
    let media_type = if open { OPEN_METRICS } else { TEXT_METRICS };
    ([(header::CONTENT_TYPE, media_type)], api.settings.metrics.render()).into_response()
}
