//! Statistics over all replicas, for `GET /stats`, and the counters behind them.
//!
//! Each replica regularly adds its counts to the store's tallies (hourly counters that all replicas
//! share). They are statistics: the counts of a replica's last seconds are lost with it, and
//! nothing is ever decided from them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::patience::listed;
use crate::contract::{CheckpointStats, InterventionStats, RecoveryStats, Stats, StorageStats};
use crate::model::{Namespace, Timestamp, signed_millis};
use crate::observe::{
    ABANDONED_TALLY, RECOVERED_TALLY, RETRIES_TALLY, StorageRetries, checkpoint_tally,
};
use crate::runtime::core::Core;
use crate::runtime::types::RuntimeError;
use crate::store::{RecoveryCount, RecoveryResult};

/// The interval at which a replica adds to the tallies: its counts may be that late for other
/// replicas.
const INTERVAL: Duration = Duration::from_secs(5);
/// The period that the figures cover.
const WINDOW: Duration = Duration::from_hours(24);

/// The name of the counter of snapshots that a load found bad.
const BAD_SNAPSHOTS: &str = "snapshot/bad";

/// Returns the counts of this replica since its start, by name.
fn totals(core: &Core) -> Vec<(String, u64)> {
    let snapshots = crate::runtime::drive::snapshots::counts(&core.parts.metrics);
    let bad = snapshots.bad.iter().map(|(_, count)| count).sum();
    let written = snapshots.written.into_iter();
    let mut totals = core.parts.metrics.tallies();
    // Snapshots are made by the replica, so they are not counted by namespace.
    let begin = checkpoint_tally(&Namespace::default());
    totals.extend(written.map(|(kind, count)| (format!("{begin}snapshot_{kind}"), count)));
    totals.push((BAD_SNAPSHOTS.to_owned(), bad));
    totals
}

/// Adds to the tallies until the server stops, and once more then.
pub(in crate::runtime) async fn run(core: Arc<Core>) {
    let stop = core.draining.clone();
    while stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
        flush(&core).await;
    }
    flush(&core).await;
}

async fn flush(core: &Core) {
    let missing = core.tallied.missing(totals(core));
    if missing.is_empty() {
        return;
    }
    match core.store().add_tallies(core.parts.clock.now(), &missing).await {
        Ok(()) => core.tallied.added(&missing),
        Err(error) => tracing::debug!(%error, "counters are added later"),
    }
}

/// Returns the figures of the last 24 hours for a namespace's threads; figures of the store are
/// global.
pub(in crate::runtime) async fn stats(
    core: &Core,
    namespace: &Namespace,
) -> Result<Stats, RuntimeError> {
    let window = signed_millis(WINDOW);
    let since = Timestamp::from_millis(core.parts.clock.now().millis().saturating_sub(window));
    listed(core, namespace, || async {
        let mut tallies: BTreeMap<String, u64> =
            core.shown.store().tallies(since).await?.into_iter().collect();
        for (name, count) in core.tallied.missing(totals(core)) {
            *tallies.entry(name).or_default() += count;
        }
        let interventions = core.store().intervention_counts(namespace).await?;
        let recoveries = core.store().recovery_counts(namespace, since).await?;
        Ok(Stats {
            window_ms: u64::try_from(window).unwrap_or(0),
            interventions: InterventionStats {
                open: interventions.open,
                resolved: interventions.resolved,
            },
            checkpoints: checkpoints(namespace, &tallies),
            recoveries: recoveries.into_iter().map(RecoveryStats::from).collect(),
            storage: storage(&tallies),
        })
    })
    .await
}

fn checkpoints(namespace: &Namespace, tallies: &BTreeMap<String, u64>) -> CheckpointStats {
    let begin = checkpoint_tally(namespace);
    let named = tallies
        .iter()
        .filter_map(|(name, count)| Some((name.strip_prefix(&begin)?.to_owned(), *count)));
    let by_kind: BTreeMap<String, u64> = named.collect();
    let bad_snapshots = tallies.get(BAD_SNAPSHOTS).copied().unwrap_or(0);
    CheckpointStats { total: by_kind.values().sum(), by_kind, bad_snapshots }
}

fn storage(tallies: &BTreeMap<String, u64>) -> StorageStats {
    let of = |name: &str| tallies.get(name).copied().unwrap_or(0);
    let retries = StorageRetries {
        retries: of(RETRIES_TALLY),
        recovered: of(RECOVERED_TALLY),
        abandoned: of(ABANDONED_TALLY),
    };
    StorageStats {
        total_retries: retries.retries,
        succeeded: retries.recovered,
        abandoned: retries.abandoned,
        retry_success_rate: retries.success_rate().map(|rate| 100.0 * rate),
    }
}

impl From<RecoveryCount> for RecoveryStats {
    fn from(counted: RecoveryCount) -> Self {
        Self {
            cause: counted.cause,
            result: counted.result.map(RecoveryResult::as_str),
            count: counted.count,
            mean_seconds: counted.mean_ms.map(|mean| mean / 1_000.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_rate_needs_something_that_ended() {
        let mut tallies = BTreeMap::from([("storage/retries".to_owned(), 9)]);
        assert_eq!(storage(&tallies).retry_success_rate, None);
        tallies.insert("storage/recovered".to_owned(), 3);
        tallies.insert("storage/abandoned".to_owned(), 1);
        assert_eq!(storage(&tallies).retry_success_rate, Some(75.0));
    }

    #[test]
    fn checkpoints_are_told_by_their_kind() {
        let tallies = BTreeMap::from([
            ("checkpoint/step_complete".to_owned(), 4),
            ("checkpoint/workflow_start".to_owned(), 1),
            ("checkpoint@team/step_complete".to_owned(), 7),
            ("storage/retries".to_owned(), 9),
        ]);
        let shown = checkpoints(&Namespace::default(), &tallies);
        assert_eq!((shown.total, shown.by_kind.len()), (5, 2));
        let team = Namespace::parse("team").unwrap();
        assert_eq!(checkpoints(&team, &tallies).by_kind["step_complete"], 7);
        assert_eq!(checkpoints(&Namespace::parse("t").unwrap(), &tallies).total, 0);
    }
}
