//! Definitions and stored workflows.

use std::ops::Bound;

use async_trait::async_trait;

use crate::model::{Namespace, Timestamp};
use crate::store::{Definitions, Result, WorkflowRow};

use super::MemoryStore;

#[async_trait]
impl Definitions for MemoryStore {
    async fn definition(&self, hash: &str) -> Result<Option<String>> {
        Ok(self.state().definitions.get(hash).cloned())
    }

    async fn save_workflow(
        &self,
        name: &str,
        hash: &str,
        text: &str,
        now: Timestamp,
    ) -> Result<(WorkflowRow, bool)> {
        let mut state = self.state();
        state.definitions.entry(hash.to_owned()).or_insert_with(|| text.to_owned());
        let versions = state.workflows.entry(name.to_owned()).or_default();
        if let Some(newest) = versions.last().filter(|newest| newest.definition == hash) {
            return Ok((newest.clone(), false));
        }
        let row = WorkflowRow {
            name: name.to_owned(),
            version: versions.last().map_or(1, |newest| newest.version + 1),
            definition: hash.to_owned(),
            created_at: now,
        };
        versions.push(row.clone());
        Ok((row, true))
    }

    async fn workflow(&self, name: &str, version: Option<u32>) -> Result<Option<WorkflowRow>> {
        let state = self.state();
        let wanted = |row: &&WorkflowRow| version.is_none_or(|number| row.version == number);
        let versions = state.workflows.get(name).into_iter().flatten();
        Ok(versions.rev().find(wanted).cloned())
    }

    async fn workflows(
        &self,
        namespace: &Namespace,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<WorkflowRow>> {
        let state = self.state();
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let names = state.workflows.range::<str, _>((start, Bound::Unbounded));
        let is_within = |key: &str| Namespace::split(key).0.as_ref() == Some(namespace);
        let names = names.filter(|(key, _)| is_within(key));
        Ok(names.filter_map(|(_, versions)| versions.last().cloned()).take(limit).collect())
    }
}
