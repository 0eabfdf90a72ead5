//! Whether the store serves this replica: for probes, for the health report, and for what is new.

use std::time::Duration;

use serde_json::json;

use super::patience::without_lease;
use crate::contract::{HealthCheck, HealthStatus, Latency, StoreHealth};
use crate::observe::WindowSummary;
use crate::runtime::core::Core;
use crate::runtime::settings::RETRY_AFTER;
use crate::runtime::types::{RuntimeError, Unready};
use crate::runtime::write::availability::Refusal;

/// The failure rate of recent store calls above which the store counts as degraded.
const DEGRADED_ERROR_RATE: f64 = 0.01;
/// How long a health check waits for the store: health must answer while the store does not.
const PATIENCE: Duration = Duration::from_millis(800);

/// Returns why this replica can take and drive no threads now, if so.
pub(in crate::runtime) fn unready(core: &Core) -> Option<Unready> {
    if core.leaving.is_cancelled() || core.draining.is_cancelled() {
        return Some(Unready::Ending);
    }
    match core.availability.refusal() {
        Some(Refusal::ReadOnly) => Some(Unready::StorageReadOnly),
        Some(Refusal::Full) => Some(Unready::StorageFull),
        None if core.authority().holds() => None,
        None => Some(Unready::NoLease),
    }
}

/// Fails unless the store takes something new: its disk may have to keep room for what runs.
pub(in crate::runtime) fn takes_new(core: &Core) -> Result<(), RuntimeError> {
    if !core.authority().holds() {
        return Err(without_lease(core));
    }
    let retry_after = RETRY_AFTER;
    let cause = || core.availability.reason().unwrap_or_default();
    match core.availability.refusal() {
        Some(Refusal::Full) => {
            return Err(RuntimeError::StorageFull { retry_after, cause: cause() });
        }
        Some(Refusal::ReadOnly) => {
            return Err(RuntimeError::StorageReadOnly { retry_after, cause: cause() });
        }
        None => {}
    }
    match low(core) {
        None => Ok(()),
        Some((free, reserve)) => Err(RuntimeError::StorageFull {
            retry_after,
            cause: format!("{free} bytes are free, RETHREAD_STORAGE_RESERVE keeps {reserve}"),
        }),
    }
}

/// Returns the free bytes of the store's disk and the reserve, if there are fewer.
pub(in crate::runtime) fn low(core: &Core) -> Option<(u64, u64)> {
    let (disk, reserve) = (core.store().disk()?, core.parts.settings.storage_reserve);
    (disk.free_bytes < reserve).then_some((disk.free_bytes, reserve))
}

/// Reports the health of the store.
pub(in crate::runtime) async fn health(core: &Core) -> StoreHealth {
    let info = core.store().info();
    let answers = matches!(tokio::time::timeout(PATIENCE, core.store().ping()).await, Ok(Ok(())));
    let metrics = &core.parts.metrics;
    let (saves, loads) = (metrics.recent_saves.summary(), metrics.recent_loads.summary());
    let beats = metrics.recent_beats.summary();
    let error_rate = saves.error_rate().max(loads.error_rate()).max(beats.error_rate());
    let fallback = core.parts.settings.fallback.then_some(info.backend);
    let degraded = fallback.is_some() || error_rate > DEGRADED_ERROR_RATE || low(core).is_some();
    let fails = !answers || core.availability.refusal().is_some();
    let status = match (fails, degraded) {
        (true, _) => HealthStatus::Failed,
        (false, true) => HealthStatus::Degraded,
        (false, false) => HealthStatus::Healthy,
    };
    // Nobody reads more digits than microseconds.
    let rounded = |millis: f64| (millis * 1_000.0).round() / 1_000.0;
    let latency = |window: WindowSummary| Latency {
        p50_ms: window.p50_ms.map(rounded),
        p95_ms: window.p95_ms.map(rounded),
    };
    StoreHealth {
        backend: info.backend,
        durable: info.durable,
        fallback,
        status,
        save: latency(saves),
        load: latency(loads),
        error_rate,
    }
}

/// Makes the check of the store for the whole report.
pub(in crate::runtime) fn check(core: &Core, storage: &StoreHealth) -> HealthCheck {
    let fails = storage.status == HealthStatus::Failed;
    let (detail, recommendation) = advice(core, storage);
    HealthCheck {
        status: storage.status,
        value: json!({
            "backend": storage.backend,
            "fallback": storage.fallback,
            "errorRate": storage.error_rate,
        }),
        detail: detail.to_owned(),
        consecutive_failures: core.availability.failures().max(u32::from(fails)),
        recommendation: recommendation.map(str::to_owned),
    }
}

fn advice(core: &Core, storage: &StoreHealth) -> (&'static str, Option<&'static str>) {
    match (storage.status, storage.fallback, storage.durable) {
        (HealthStatus::Failed, _, _) => refused(core),
        (_, None, _) if low(core).is_some() => (
            "the disk is nearly full: what runs goes on, nothing new is taken",
            Some("make room on the disk, or lower RETHREAD_STORAGE_RESERVE"),
        ),
        (HealthStatus::Healthy, None, _) => ("the store answers", None),
        (_, None, _) => (
            "the store has failed calls in the last minutes",
            Some("look at the database: is it up, reachable, and has it room?"),
        ),
        (_, Some(_), true) => (
            "a local file stands in for the database, which could not be reached at start: other \
             replicas do not see these threads",
            Some(
                "bring the database back, then restart this server where its fallback file is: \
                 what it holds is moved to the database",
            ),
        ),
        (_, Some(_), false) => (
            "memory stands in for the database, which could not be reached at start: nothing \
             survives this process",
            Some(
                "bring the database back, let running threads end, then restart this server; set \
                 RETHREAD_FALLBACK=sqlite to lose nothing next time",
            ),
        ),
    }
}

fn refused(core: &Core) -> (&'static str, Option<&'static str>) {
    match core.availability.refusal() {
        Some(Refusal::ReadOnly) => (
            "the store is read-only: it answers, and takes nothing",
            Some(
                "let the address lead to a server that takes writes: after a failover, the new \
                 primary; or reset default_transaction_read_only",
            ),
        ),
        Some(Refusal::Full) => (
            "the store's disk is full",
            Some("make room on the database's disk; what was accepted goes on by itself then"),
        ),
        None => (
            "the store fails calls",
            Some("look at the database: is it up, reachable, and has it room?"),
        ),
    }
}
