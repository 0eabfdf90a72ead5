//! Checks the data derived from a thread's journal beside its row: its snapshots, and the index of
//! its interventions. It reads rows and compares, and never repairs: both can be rebuilt from the
//! journal.
//!
//! Called by `thread` while it folds a journal.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::thread::Unfolding;
use super::{Verifier, count};
use crate::contract::Intervention;
use crate::machine::{EncodedSnapshot, SNAPSHOT_VERSION, snapshot};
use crate::model::{Json, Timestamp};
use crate::runtime::calls::interventions;
use crate::store::{InterventionRow, StoreError, StoredIntervention, StoredSnapshot};

/// The number of snapshots read at a time: each may have 16 MiB.
const SNAPSHOT_PAGE: usize = 1;

impl Verifier<'_> {
    /// Reads the thread's snapshots, to be compared with the fold when it gets there.
    pub(super) async fn snapshots(&self, unfolding: &mut Unfolding<'_>) -> Result<(), StoreError> {
        let mut after = i64::MIN;
        loop {
            let id = &unfolding.row.thread_id;
            let page = self.archive.stored_snapshots(id, after, SNAPSHOT_PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.seq;
            for stored in &page {
                unfolding.snapshot(stored);
            }
        }
    }
}

impl Unfolding<'_> {
    /// Checks a snapshot by itself.
    fn snapshot(&mut self, stored: &StoredSnapshot) {
        self.looked.bytes += count(stored.state.len());
        if let Err(fault) = self.sound(stored) {
            return self.bad(Some(stored.seq), format!("its snapshot can't be used: {fault}"));
        }
        if stored.seq > self.row.last_seq {
            // The snapshot was written after the row was read, or the journal has lost its end.
            let head = self.row.last_seq;
            let what = format!("its snapshot is beyond the head of the journal, {head}");
            return self.unsure(Some(stored.seq), what);
        }
        self.snapshots.insert(stored.seq, stored.sha256.clone());
    }

    fn sound(&self, stored: &StoredSnapshot) -> Result<(), String> {
        let text = String::from_utf8_lossy(&stored.state);
        let encoded =
            EncodedSnapshot::open(&text, &stored.sha256).map_err(|fault| fault.to_string())?;
        if stored.version != i64::from(SNAPSHOT_VERSION) {
            return Err(format!("its version {} is not known", stored.version));
        }
        // A thread without a plan has been reported for that already.
        let (Some(id), Some(plan)) = (&self.id, &self.plan) else { return Ok(()) };
        let state = encoded.restore(id, Arc::clone(plan)).map_err(|fault| fault.to_string())?;
        if i64::try_from(state.last_seq) != Ok(stored.seq) {
            return Err(format!("it is of event {}", state.last_seq));
        }
        Ok(())
    }

    /// Compares the snapshot of an event that was just folded with the fold.
    pub(super) fn folded(&mut self, seq: i64) {
        let Some(sha256) = self.snapshots.remove(&seq) else { return };
        let Some(state) = self.state.as_ref().filter(|_| self.folds) else { return };
        if snapshot::encode(state).1 != sha256 {
            self.bad(Some(seq), "its snapshot is not what its events say".to_owned());
        }
    }

    /// Checks that the index of interventions agrees with the journal.
    pub(super) fn interventions(&mut self, stored: &[StoredIntervention]) {
        let Some(state) = self.state.as_ref().filter(|_| self.folds) else { return };
        let mut indexed: BTreeMap<&str, &StoredIntervention> =
            stored.iter().map(|one| (one.id.as_str(), one)).collect();
        let mut wrong = Vec::new();
        for row in interventions::all(state) {
            let what = indexed.remove(row.id.as_str()).map_or_else(
                || Some("is missing in the index".to_owned()),
                |stored| difference(stored, &row),
            );
            wrong.extend(what.map(|what| format!("intervention {} {what}", row.id)));
        }
        let unknown = "is in the index, and no event opened it";
        wrong.extend(indexed.keys().map(|id| format!("intervention {id} {unknown}")));
        for what in wrong {
            self.unsure(None, what);
        }
    }
}

/// Returns what is wrong with an entry of the index.
fn difference(stored: &StoredIntervention, row: &InterventionRow) -> Option<String> {
    let word = |resolved: bool| if resolved { "resolved" } else { "open" };
    let (here, there) = (stored.resolved_at.is_some(), row.resolved_at.is_some());
    if here != there {
        let (here, there) = (word(here), word(there));
        return Some(format!("is {here} in the index, and {there} by its events"));
    }
    let told = |body: &Json| body.decode::<Intervention>().ok();
    let body = String::from_utf8(stored.body.clone()).ok();
    let shown = body.and_then(|text| Json::trusted(text).ok()).and_then(|json| told(&json));
    let times = (stored.opened_at, stored.resolved_at);
    let same = times == (row.opened_at.millis(), row.resolved_at.map(Timestamp::millis))
        && shown.is_some()
        && shown == told(&row.body);
    (!same).then(|| "in the index is not what its events say".to_owned())
}
