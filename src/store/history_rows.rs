//! Rows of the history tables that SQLite and Postgres share, and what they mean.
//!
//! Beside `rows`, by the same rule: what cannot be decoded is [`super::StoreError::Fatal`], never a guess.
//! Snapshots are the exception: whoever reads one checks it and has others to fall back on, so that
//! a damaged one comes back as it is.

use crate::model::{RecoveryCause, RecoveryStrategy, Seq, ThreadId, Timestamp};

use super::rows::{json, text, thread_id, unreadable};
use super::{
    InterventionCounts, InterventionRow, Recovery, RecoveryCount, RecoveryEnd, RecoveryResult,
    Result,
};

/// The columns of [`RawRecovery`].
pub(super) const RECOVERY_COLUMNS: &str = "epoch, cause, previous_owner, replica, from_seq, \
    started_at, strategy, to_seq, duration_ms, result, detail";

/// A row of `recoveries`.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct RawRecovery {
    epoch: i64,
    cause: String,
    previous_owner: i64,
    replica: String,
    from_seq: i64,
    started_at: i64,
    strategy: Option<String>,
    to_seq: Option<i64>,
    duration_ms: Option<i64>,
    result: Option<String>,
    detail: Option<Vec<u8>>,
}

impl RawRecovery {
    /// The attempt as the runtime sees it.
    pub(super) fn decode(self, thread: &ThreadId) -> Result<Recovery> {
        let end = match result(self.result)? {
            None => None,
            Some(result) => Some(RecoveryEnd {
                strategy: self.strategy.as_deref().map(strategy).transpose()?,
                to_seq: self.to_seq.map(i64::cast_unsigned),
                duration_ms: self.duration_ms.unwrap_or(0).cast_unsigned(),
                result,
                detail: self.detail.map(text).transpose()?,
            }),
        };
        Ok(Recovery {
            thread_id: thread.clone(),
            epoch: self.epoch,
            cause: cause(&self.cause)?,
            previous_owner: self.previous_owner,
            replica: self.replica,
            from_seq: self.from_seq.cast_unsigned(),
            started_at: Timestamp::from_millis(self.started_at),
            end,
        })
    }
}

/// A count of recoveries: cause, result, how many, the sum of their durations.
pub(super) type RawCount = (String, Option<String>, i64, Option<f64>);

/// The counts as the runtime sees them, in the order of causes and results.
pub(super) fn recovery_counts(rows: Vec<RawCount>) -> Result<Vec<RecoveryCount>> {
    let decode = |(named, ended, count, sum): RawCount| {
        Ok(RecoveryCount {
            cause: cause(&named)?,
            result: result(ended)?,
            count: count.cast_unsigned(),
            mean_ms: sum.map(|sum| sum / whole(count)),
        })
    };
    let mut counts: Vec<RecoveryCount> = rows.into_iter().map(decode).collect::<Result<_>>()?;
    counts.sort_by_key(|count| (count.cause, count.result));
    Ok(counts)
}

/// The columns of [`RawIntervention`].
pub(super) const INTERVENTION_COLUMNS: &str = "id, thread_id, opened_at, resolved_at, body";

/// A row of `interventions`.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct RawIntervention {
    id: String,
    thread_id: String,
    opened_at: i64,
    resolved_at: Option<i64>,
    body: Vec<u8>,
}

impl RawIntervention {
    /// The intervention as the runtime sees it.
    pub(super) fn decode(self) -> Result<InterventionRow> {
        Ok(InterventionRow {
            id: self.id,
            thread_id: thread_id(&self.thread_id)?,
            opened_at: Timestamp::from_millis(self.opened_at),
            resolved_at: self.resolved_at.map(Timestamp::from_millis),
            body: json(self.body)?,
        })
    }
}

/// How many interventions there are, from those that are open and all.
pub(super) const fn intervention_counts((open, all): (i64, i64)) -> InterventionCounts {
    InterventionCounts {
        open: open.cast_unsigned(),
        resolved: all.saturating_sub(open).cast_unsigned(),
    }
}

/// Sums by name.
pub(super) fn tallies(rows: Vec<(String, i64)>) -> Vec<(String, u64)> {
    rows.into_iter().map(|(name, count)| (name, count.cast_unsigned())).collect()
}

/// A count or a number of milliseconds as it is stored.
pub(super) fn amount(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Up to which event a snapshot may go, as a bound that is compared with.
pub(super) fn up_to(until: Option<Seq>) -> i64 {
    until.map_or(i64::MAX, amount)
}

fn cause(name: &str) -> Result<RecoveryCause> {
    RecoveryCause::parse(name).ok_or_else(|| unreadable("an unknown cause of a recovery"))
}

fn strategy(name: &str) -> Result<RecoveryStrategy> {
    RecoveryStrategy::parse(name).ok_or_else(|| unreadable("an unknown strategy of a recovery"))
}

fn result(name: Option<String>) -> Result<Option<RecoveryResult>> {
    let parse = |name: String| {
        RecoveryResult::parse(&name).ok_or_else(|| unreadable("an unknown result of a recovery"))
    };
    name.map(parse).transpose()
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a count, for a mean")]
const fn whole(count: i64) -> f64 {
    count as f64
}
