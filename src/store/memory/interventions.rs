//! The index of interventions.

use async_trait::async_trait;

use crate::model::Namespace;
use crate::store::{
    InterventionCounts, InterventionFilter, InterventionRow, Interventions, Result,
};

use super::MemoryStore;
use super::state::State;

#[async_trait]
impl Interventions for MemoryStore {
    async fn intervention(&self, id: &str) -> Result<Option<InterventionRow>> {
        Ok(self.state().all_interventions().find(|row| row.id == id).cloned())
    }

    async fn interventions(
        &self,
        filter: &InterventionFilter,
        limit: usize,
    ) -> Result<Vec<InterventionRow>> {
        let state = self.state();
        let mut found: Vec<&InterventionRow> =
            state.all_interventions().filter(|row| matches(row, filter)).collect();
        found.sort_by(|a, b| (b.opened_at, &b.id).cmp(&(a.opened_at, &a.id)));
        Ok(found.into_iter().take(limit).cloned().collect())
    }

    async fn intervention_counts(&self, namespace: &Namespace) -> Result<InterventionCounts> {
        let state = self.state();
        let mut counts = InterventionCounts::default();
        for row in state.all_interventions().filter(|row| row.thread_id.is_within(namespace)) {
            *(if row.resolved_at.is_none() { &mut counts.open } else { &mut counts.resolved }) += 1;
        }
        Ok(counts)
    }
}

impl State {
    fn all_interventions(&self) -> impl Iterator<Item = &InterventionRow> {
        self.threads.values().flat_map(|thread| thread.interventions.values())
    }
}

fn matches(row: &InterventionRow, filter: &InterventionFilter) -> bool {
    let InterventionFilter { namespace, open, thread, before } = filter;
    row.thread_id.is_within(namespace)
        && open.is_none_or(|open| row.resolved_at.is_none() == open)
        && thread.as_ref().is_none_or(|thread| row.thread_id == *thread)
        && before.as_ref().is_none_or(|(at, id)| (row.opened_at, &row.id) < (*at, id))
}
