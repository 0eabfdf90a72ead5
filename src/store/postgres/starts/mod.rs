//! New threads, many in one statement.

mod batch;

use std::collections::{HashMap, HashSet};

use crate::model::Incarnation;
use crate::store::{Start, StoreError, WriteOutcome};

use super::PostgresStore;
use super::fault::{Fault, answer_or};

use batch::Row;
pub(super) use batch::{Extent, statement};

/// How often the statement is sent while its guard fires: each time a racing start of the same
/// thread has just committed, and the next try sees it.
const GUARD_TRIES: u32 = 5;

impl PostgresStore {
    /// Writes starts; outcomes in their order. A start that shares a thread or key with an earlier
    /// one gets its outcome from that, or goes into a later statement if both are free.
    pub(super) async fn start_all(
        &self,
        me: Incarnation,
        starts: &[&Start],
    ) -> Result<Vec<WriteOutcome>, Fault> {
        let mut outcomes = vec![WriteOutcome::ThreadExists; starts.len()];
        let (mut threads, mut keys) = (HashSet::new(), HashSet::new());
        let mut open: Vec<usize> = (0..starts.len()).collect();
        while !open.is_empty() {
            let (round, rest) = first_of_each(starts, &open);
            let found = self.start_guarded(me, &pick(starts, &round)).await?;
            for (at, outcome) in round.iter().zip(found) {
                let (Some(start), Some(slot)) = (starts.get(*at), outcomes.get_mut(*at)) else {
                    continue;
                };
                *slot = outcome;
                if outcome == WriteOutcome::DefinitionMissing {
                    continue;
                }
                if outcome != WriteOutcome::KeyExists {
                    threads.insert(start.thread_id.as_str());
                }
                if outcome != WriteOutcome::ThreadExists {
                    keys.extend(start.idempotency.as_ref().map(|key| key.key.as_str()));
                }
            }
            open = rest;
            open.retain(|at| {
                let (Some(start), Some(slot)) = (starts.get(*at), outcomes.get_mut(*at)) else {
                    return false;
                };
                if threads.contains(start.thread_id.as_str()) {
                    return false;
                }
                *slot = WriteOutcome::KeyExists;
                !start.idempotency.as_ref().is_some_and(|key| keys.contains(key.key.as_str()))
            });
        }
        Ok(outcomes)
    }

    async fn start_guarded(
        &self,
        me: Incarnation,
        starts: &[&Start],
    ) -> Result<Vec<WriteOutcome>, Fault> {
        for _ in 0..GUARD_TRIES {
            match self.send_starts(me, starts).await {
                Err(Fault::Again) => {}
                result => return result,
            }
        }
        let detail = "starts of the same thread keep racing each other".to_owned();
        Err(Fault::Store(StoreError::Unavailable(detail)))
    }

    async fn send_starts(
        &self,
        me: Incarnation,
        starts: &[&Start],
    ) -> Result<Vec<WriteOutcome>, Fault> {
        let rows = starts.iter().map(|start| Row::of(start)).collect::<Result<Vec<_>, _>>();
        let rows = rows.map_err(Fault::Store)?;
        let extent = Extent::of(&rows);
        let sql = match extent {
            Extent::Plain => &self.statements.start,
            Extent::Sided => &self.statements.start_sided,
            Extent::History => &self.statements.start_history,
        };
        let arguments = statement(me, &rows, extent).arguments()?;
        let query =
            sqlx::query_as_with::<_, (String, bool, bool, bool, i32), _>(sql.clone(), arguments);
        // A history takes seconds to send: too long for the few writers.
        let pool = if extent == Extent::History { &self.general } else { &self.writer };
        let rows = answer_or::<_, Fault>(query.fetch_all(pool)).await?;
        let verdicts: HashMap<String, _> = rows
            .into_iter()
            .map(|(id, fits, key_lost, lacks, _)| (id, (fits, lacks, key_lost)))
            .collect();
        let outcome = |start: &&Start| match verdicts.get(start.thread_id.as_str()) {
            Some((true, ..)) => WriteOutcome::Written { mail: 0 },
            Some((_, true, _)) => WriteOutcome::DefinitionMissing,
            Some((.., true)) => WriteOutcome::KeyExists,
            _ => WriteOutcome::ThreadExists,
        };
        Ok(starts.iter().map(outcome).collect())
    }
}

/// Splits off the positions that share neither thread nor key with an earlier one.
fn first_of_each(starts: &[&Start], open: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let (mut threads, mut keys) = (HashSet::new(), HashSet::new());
    open.iter().partition(|at| {
        starts.get(**at).is_some_and(|start| {
            let thread = threads.insert(start.thread_id.as_str());
            let key = start.idempotency.as_ref().is_none_or(|key| keys.insert(key.key.as_str()));
            thread && key
        })
    })
}

fn pick<'a>(starts: &[&'a Start], round: &[usize]) -> Vec<&'a Start> {
    round.iter().filter_map(|at| starts.get(*at).copied()).collect()
}
