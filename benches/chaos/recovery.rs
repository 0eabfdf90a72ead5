//! Whose work each fault hit, and how long it was until that work went on elsewhere.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::faults::{Fault, Kind};
use crate::world::World;

/// Events this long after a fault, in milliseconds, may still be those of the replica that it hit:
/// they were on their way.
const ON_THE_WAY: i64 = 50;

/// A takeover.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Recovery {
    pub(crate) kind: Kind,
    pub(crate) thread: String,
    /// When the thread went on, in milliseconds of the Unix epoch.
    pub(crate) at: i64,
    /// From the fault to the first event of the thread under its new owner, in milliseconds.
    pub(crate) took: i64,
    /// Whether another fault fell into that time.
    pub(crate) disturbed: bool,
}

/// What faults came to.
#[derive(Debug, Default)]
pub(crate) struct Toll {
    pub(crate) faults: Vec<Fault>,
    /// For each fault the threads that it hit: driven when it came, and not ended.
    pub(crate) hit: Vec<usize>,
    pub(crate) recoveries: Vec<Recovery>,
}

impl Toll {
    /// Reads it from the journals, by thread.
    pub(crate) fn new(world: &World, journals: &BTreeMap<&str, &[Value]>) -> Self {
        let faults = world.faults.all();
        let hits = |fault: &Fault| {
            let goes_on = |thread: &&String| {
                let journal = journals.get(thread.as_str());
                journal.is_some_and(|events| events.last().is_some_and(|end| at(end) > fault.at))
            };
            fault.victims.iter().filter(goes_on).count()
        };
        let hit = faults.iter().map(hits).collect();
        let mut recoveries = Vec::new();
        for (thread, events) in journals {
            recoveries.extend(of_thread(&faults, thread, events));
        }
        Self { faults, hit, recoveries }
    }

    /// Faults that hit work in flight.
    pub(crate) fn hits(&self) -> usize {
        self.hit.iter().filter(|threads| **threads > 0).count()
    }
}

fn of_thread(faults: &[Fault], thread: &str, events: &[Value]) -> Vec<Recovery> {
    let victim = |fault: &&Fault| fault.victims.iter().any(|one| one == thread);
    let mut recoveries = Vec::new();
    let mut since = 0;
    for pair in events.windows(2) {
        let [before, event] = pair else { continue };
        if event["type"] != "workflow_recovered" {
            continue;
        }
        // With no attempt lost, what follows waits for a timer: the takeover is then all there is.
        let again = event["data"]["steps"].as_array().is_some_and(|steps| !steps.is_empty());
        let seq = event["seq"].as_u64().unwrap_or(0);
        let next = events.iter().find(|next| again && next["seq"] == seq + 1).unwrap_or(event);
        let candidates: Vec<&Fault> = faults
            .iter()
            .filter(victim)
            .filter(|fault| fault.at > since && fault.at <= at(event))
            .collect();
        if let Some(fault) = cause(&candidates, at(before)) {
            recoveries.push(Recovery {
                kind: fault.kind,
                thread: thread.to_owned(),
                at: at(next),
                took: at(next) - fault.at,
                disturbed: disturbed(faults, fault, at(next)),
            });
        }
        since = at(event);
    }
    recoveries
}

/// The fault that took the thread's replica away: the first behind the last event that it wrote,
/// one of a replica rather than one of the database; else the latest.
fn cause<'a>(candidates: &[&'a Fault], last_event: i64) -> Option<&'a Fault> {
    let database = |fault: &Fault| {
        matches!(fault.kind, Kind::DatabaseCrash | Kind::DatabaseStop | Kind::DatabaseHang)
    };
    let silent = || candidates.iter().filter(|fault| fault.at + ON_THE_WAY >= last_event);
    silent()
        .find(|fault| !database(fault))
        .or_else(|| silent().next())
        .or_else(|| candidates.last())
        .copied()
}

fn disturbed(faults: &[Fault], by: &Fault, until: i64) -> bool {
    faults.iter().any(|other| {
        let undone = other.undone.unwrap_or(i64::MAX);
        let disturbs = other.kind != Kind::Clock && !std::ptr::eq(other, by);
        disturbs && other.at < until && undone > by.at
    })
}

/// When an event was decided, in milliseconds of the Unix epoch.
pub(crate) fn at(event: &Value) -> i64 {
    let text = event["at"].as_str().unwrap_or_default();
    chrono::DateTime::parse_from_rfc3339(text).map_or(0, |time| time.timestamp_millis())
}
