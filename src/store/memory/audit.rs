//! The audit list.

use async_trait::async_trait;

use crate::model::Timestamp;
use crate::store::audit::storable;
use crate::store::{AuditFilter, AuditRow, Audits, Result};

use super::MemoryStore;

#[async_trait]
impl Audits for MemoryStore {
    async fn keep_audit(&self, entries: &[AuditRow]) -> Result<()> {
        let mut state = self.state();
        for entry in entries {
            let (by, action) = (storable(&entry.by), storable(&entry.action));
            let entry = AuditRow { by, action, ..entry.clone() };
            state.audit.insert(entry.id.clone(), entry);
        }
        Ok(())
    }

    async fn audit(&self, filter: &AuditFilter, limit: usize) -> Result<Vec<AuditRow>> {
        let state = self.state();
        let mut found: Vec<&AuditRow> =
            state.audit.values().filter(|entry| matches(entry, filter)).collect();
        found.sort_by(|a, b| (b.at, &b.id).cmp(&(a.at, &a.id)));
        Ok(found.into_iter().take(limit).cloned().collect())
    }

    async fn expire_audit(&self, before: Timestamp, limit: usize) -> Result<usize> {
        let mut state = self.state();
        let old = state.audit.values().filter(|entry| entry.at < before).take(limit);
        let old: Vec<String> = old.map(|entry| entry.id.clone()).collect();
        for id in &old {
            state.audit.remove(id);
        }
        Ok(old.len())
    }
}

fn matches(entry: &AuditRow, filter: &AuditFilter) -> bool {
    let AuditFilter { namespace, since, by, action, before } = filter;
    entry.namespace == *namespace
        && since.is_none_or(|since| entry.at >= since)
        && by.as_ref().is_none_or(|by| *by == entry.by)
        && action.as_ref().is_none_or(|action| *action == entry.action)
        && before.as_ref().is_none_or(|(at, id)| (entry.at, &entry.id) < (*at, id))
}
