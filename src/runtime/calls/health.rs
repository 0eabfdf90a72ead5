//! Health of this replica.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::storage;
use crate::contract::{Circuit, HealthCheck, HealthReport, HealthStatus};
use crate::model::{Namespace, millis};
use crate::runtime::core::Core;
use crate::runtime::notices::FAILING_FOR;
use crate::runtime::upkeep::clock::{TOLERATED, skew_ms};
use crate::store::NoticeCount;

/// The number of open circuits named in a check's detail: the report has the others.
const NAMED_CIRCUITS: usize = 5;

/// Makes the whole report.
pub(in crate::runtime) async fn report(core: &Core, namespace: &Namespace) -> HealthReport {
    let storage = storage::health(core).await;
    let mut checks = BTreeMap::new();
    checks.insert("storage".to_owned(), storage::check(core, &storage));
    checks.insert("lease".to_owned(), lease_check(core));
    checks.insert("capacity".to_owned(), capacity_check(core));
    checks.insert("memory".to_owned(), memory_check(core));
    let circuits = core.breakers.report(namespace);
    checks.insert("circuits".to_owned(), circuits_check(&circuits));
    checks.insert("notifications".to_owned(), notifications_check(core));
    checks.insert("attempts".to_owned(), attempts_check(core));
    checks.insert("suspects".to_owned(), suspects_check(core));
    checks.insert("clock".to_owned(), clock_check(core));
    let status = checks.values().map(|check| check.status).max();
    let uptime = core.parts.clock.monotonic().saturating_sub(core.started_at);
    HealthReport {
        status: status.unwrap_or(HealthStatus::Healthy),
        checks,
        circuits,
        version: env!("CARGO_PKG_VERSION"),
        uptime_ms: millis(uptime),
    }
}

fn lease_check(core: &Core) -> HealthCheck {
    let authority = core.authority();
    let holds = authority.holds();
    HealthCheck {
        status: if holds { HealthStatus::Healthy } else { HealthStatus::Critical },
        value: json!({ "incarnation": authority.incarnation, "holds": holds }),
        detail: if holds {
            "this replica may drive threads"
        } else {
            "heartbeats do not get through"
        }
        .to_owned(),
        consecutive_failures: u32::from(!holds),
        recommendation: (!holds)
            .then(|| "wait: the replica registers again as soon as the store answers".to_owned()),
    }
}

fn circuits_check(circuits: &[Circuit]) -> HealthCheck {
    let open: Vec<&Circuit> =
        circuits.iter().filter(|circuit| circuit.opened_at.is_some()).collect();
    let names: Vec<&str> = open.iter().take(NAMED_CIRCUITS).map(|one| one.key.as_str()).collect();
    let well = open.is_empty();
    HealthCheck {
        status: if well { HealthStatus::Healthy } else { HealthStatus::Warning },
        value: json!({ "open": open.len() }),
        detail: if well {
            "no circuit is open".to_owned()
        } else {
            format!("steps that call these wait: {}", names.join(", "))
        },
        consecutive_failures: open.iter().map(|one| one.failures).max().unwrap_or(0),
        recommendation: (!well)
            .then(|| "look at these targets: are they up, and do they answer?".to_owned()),
    }
}

fn notifications_check(core: &Core) -> HealthCheck {
    let (counts, now) = (core.notices.counts(), core.parts.clock.now());
    let late = |count: &&NoticeCount| {
        count.failing > 0 && count.since.is_some_and(|since| now.since(since) >= FAILING_FOR)
    };
    let failing = counts.iter().filter(late).count();
    let retried = counts.iter().filter(|count| count.failing > 0).count();
    let pending: u64 = counts.iter().map(|count| count.pending).sum();
    let well = failing == 0;
    HealthCheck {
        status: if well { HealthStatus::Healthy } else { HealthStatus::Degraded },
        value: json!({ "failing": failing, "pending": pending }),
        detail: if well && retried == 0 {
            "receivers take their notifications".to_owned()
        } else if well {
            format!("receivers of {retried} subscriptions have refused theirs; they are sent again")
        } else {
            format!("receivers of {failing} subscriptions have not taken theirs for long")
        },
        consecutive_failures: u32::try_from(failing).unwrap_or(u32::MAX),
        recommendation: (!well).then(|| {
            "GET /notifications tells which fail and why: mend the receiver, change the URL, or \
             disable the subscription"
                .to_owned()
        }),
    }
}

fn memory_check(core: &Core) -> HealthCheck {
    let memory = &core.parts.memory;
    let short = memory.is_short();
    let limit = (!memory.is_boundless()).then(|| memory.limit());
    HealthCheck {
        status: if short { HealthStatus::Warning } else { HealthStatus::Healthy },
        value: json!({ "residentBytes": memory.resident(), "limitBytes": limit }),
        detail: if short {
            "the process takes more than the limit: calls are refused, what runs goes on"
        } else {
            "the process takes no more than it may"
        }
        .to_owned(),
        consecutive_failures: u32::from(short),
        recommendation: short.then(|| {
            "rethread_memory_bytes tells what takes it: add a replica, or raise RETHREAD_MEMORY_LIMIT \
             where there is more"
                .to_owned()
        }),
    }
}

fn attempts_check(core: &Core) -> HealthCheck {
    let stale = core.pulses.stale();
    let well = stale == 0;
    HealthCheck {
        status: if well { HealthStatus::Healthy } else { HealthStatus::Warning },
        value: json!({ "stale": stale }),
        detail: if well {
            "every attempt under way here shows signs of life".to_owned()
        } else {
            format!("{stale} attempts under way here have been silent for long")
        },
        consecutive_failures: u32::try_from(stale).unwrap_or(u32::MAX),
        recommendation: (!well).then(|| {
            "GET /monitor?stuck=true names their threads: retry or skip the step, give it a \
             timeout, or set RETHREAD_STALE_ACTION=retry"
                .to_owned()
        }),
    }
}

fn suspects_check(core: &Core) -> HealthCheck {
    let waiting = core.bench.waiting();
    let well = waiting == 0;
    HealthCheck {
        status: if well { HealthStatus::Healthy } else { HealthStatus::Critical },
        value: json!({ "waiting": waiting }),
        detail: if well {
            "no thread waits because replicas were lost with it".to_owned()
        } else {
            format!(
                "replicas were lost again and again: {waiting} threads that were at work then are \
                 started a few at a time, each within half a minute"
            )
        },
        consecutive_failures: u32::from(!well),
        recommendation: (!well).then(|| {
            "look at why servers ended (their logs, memory, the database): a thread that ends them is \
             paused and in GET /interventions; POST /threads/{threadId}/resume starts one at once"
                .to_owned()
        }),
    }
}

fn clock_check(core: &Core) -> HealthCheck {
    let skew = skew_ms(core);
    let well = skew.unsigned_abs() <= TOLERATED;
    let apart = Duration::from_millis(skew.unsigned_abs()).as_secs();
    let way = if skew < 0 { "behind" } else { "ahead of" };
    let shared = core.store().info().backend == "postgres";
    HealthCheck {
        status: if well { HealthStatus::Healthy } else { HealthStatus::Warning },
        value: json!({ "skewMs": skew }),
        detail: if well {
            "this machine's clock agrees with the store's".to_owned()
        } else if shared {
            format!(
                "this machine's clock is {apart} s {way} the database's, by which all threads go"
            )
        } else {
            format!(
                "this machine's clock was set while the server ran, and is {apart} s {way} the \
                 server's, by which all threads go"
            )
        },
        consecutive_failures: u32::from(!well),
        recommendation: (!well).then(|| {
            if shared {
                "set the clocks of this machine and of the database's right, and keep them so (NTP): \
                 no thread is early or late, but times in the logs of this machine do not fit"
            } else {
                "restart this server if its machine's clock is right now: until then no sleep ends \
                 early or late, but times do not fit"
            }
            .to_owned()
        }),
    }
}

fn capacity_check(core: &Core) -> HealthCheck {
    let (driving, capacity) = (core.driven.count(), core.parts.settings.max_running);
    let full = driving >= capacity;
    let mut detail = format!("{driving} of {capacity} threads driven at once");
    if driving > capacity {
        detail += "; those beyond are of namespaces that another one has left no place";
    }
    HealthCheck {
        status: if full { HealthStatus::Warning } else { HealthStatus::Healthy },
        value: json!({ "driving": driving, "capacity": capacity }),
        detail,
        consecutive_failures: u32::from(full),
        recommendation: full.then(|| "add a replica, or raise RETHREAD_MAX_RUNNING".to_owned()),
    }
}
