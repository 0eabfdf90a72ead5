//! Checks one thread: its row, its journal, and that the row is the fold of the journal.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::{Finding, Verifier, count, plan};
use crate::definition::Plan;
use crate::machine::ThreadState;
use crate::model::{Event, EventBody, Json, Namespace, ThreadId};
use crate::runtime::drive::commit::summary;
use crate::store::{StoreError, StoredRecords, StoredThread, Summary};

/// The number of journal rows read at a time; the store bounds their bytes.
const JOURNAL_PAGE: usize = 256;
/// How often a thread that is being driven meanwhile is read before its faults are believed.
const LOOKS: u32 = 5;
/// The number of findings kept of one thread: more would not help.
const MAX_FINDINGS: usize = 100;

/// The result of a look at a thread.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// Whether the thread was (still) there.
    pub(super) there: bool,
    pub(super) events: u64,
    pub(super) bytes: u64,
    pub(super) findings: Vec<Finding>,
    /// Findings that are faults only if the thread has not moved since its row was read.
    unsure: Vec<Finding>,
}

/// The thread and number that an event states itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Place {
    thread_id: String,
    seq: i64,
}

impl Verifier<'_> {
    /// Checks a thread; one that has moved meanwhile is read again before a fault is reported.
    pub(super) async fn thread(&self, id: &str) -> Result<Looked, StoreError> {
        let mut looked = Looked::default();
        for _ in 0..LOOKS {
            let row = match self.archive.stored_thread(id).await {
                Ok(Some(row)) => row,
                Ok(None) => return Ok(Looked::default()),
                Err(error) => return unreadable(id, error),
            };
            looked = self.look(&row).await?;
            if looked.findings.is_empty() && looked.unsure.is_empty() {
                break;
            }
            if self.archive.stored_thread(id).await? == Some(row) {
                looked.findings.append(&mut looked.unsure);
                break;
            }
        }
        Ok(looked)
    }

    async fn look(&self, row: &StoredThread) -> Result<Looked, StoreError> {
        let plan = self.plan(&row.definition).await?;
        let mut unfolding = Unfolding::new(row, plan.as_ref().ok().cloned());
        if let Err(what) = plan {
            unfolding.bad(None, what);
        }
        unfolding.row();
        let belongings = self.archive.belongings(row).await?;
        unfolding.inbox(belongings.untaken());
        self.snapshots(&mut unfolding).await?;
        let mut after = i64::MIN;
        loop {
            let page = self.archive.stored_records(&row.thread_id, after, JOURNAL_PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            for records in &page {
                unfolding.records(records);
            }
        }
        unfolding.head();
        unfolding.interventions(&belongings.interventions);
        unfolding.summary();
        Ok(unfolding.looked)
    }

    /// Returns the plan of a definition, or what is wrong with it.
    async fn plan(&self, hash: &str) -> Result<Result<Arc<Plan>, String>, StoreError> {
        if let Some(plan) = self.plans.get(hash) {
            return Ok(Ok(plan));
        }
        let Some(definition) = self.archive.stored_definition(hash).await? else {
            return Ok(Err(format!("its definition {hash} is missing")));
        };
        Ok(match plan(&definition) {
            Ok(plan) => {
                let plan = Arc::new(plan);
                self.plans.put_stored(Arc::clone(&plan));
                Ok(plan)
            }
            Err(what) => Err(format!("its definition {hash}: {what}")),
        })
    }
}

/// Makes a finding of a row that the database does not return; a database that is away is an error.
fn unreadable(id: &str, error: StoreError) -> Result<Looked, StoreError> {
    if error.is_transient() {
        return Err(error);
    }
    let finding = Finding { subject: format!("thread {id}"), seq: None, what: error.to_string() };
    Ok(Looked { there: true, findings: vec![finding], ..Looked::default() })
}

/// A thread that is folded again, to be compared with its row.
pub(super) struct Unfolding<'a> {
    pub(super) row: &'a StoredThread,
    pub(super) id: Option<ThreadId>,
    pub(super) plan: Option<Arc<Plan>>,
    pub(super) state: Option<ThreadState>,
    /// Whether all events so far could be folded.
    pub(super) folds: bool,
    /// The number that the next event must have.
    next: i64,
    /// Sound snapshots that the fold has not reached: their events and their SHA-256.
    pub(super) snapshots: BTreeMap<i64, String>,
    pub(super) looked: Looked,
}

impl<'a> Unfolding<'a> {
    fn new(row: &'a StoredThread, plan: Option<Arc<Plan>>) -> Self {
        Self {
            row,
            id: ThreadId::from_key(&row.thread_id).ok(),
            folds: plan.is_some(),
            plan,
            state: None,
            next: 1,
            snapshots: BTreeMap::new(),
            looked: Looked { there: true, ..Looked::default() },
        }
    }

    fn finding(&self, seq: Option<i64>, what: String) -> Finding {
        Finding { subject: format!("thread {}", self.row.thread_id), seq, what }
    }

    pub(super) fn bad(&mut self, seq: Option<i64>, what: String) {
        if self.looked.findings.len() < MAX_FINDINGS {
            let finding = self.finding(seq, what);
            self.looked.findings.push(finding);
        }
    }

    /// Adds a finding that is a fault only if the thread has not moved meanwhile.
    pub(super) fn unsure(&mut self, seq: Option<i64>, what: String) {
        if self.looked.unsure.len() < MAX_FINDINGS {
            let finding = self.finding(seq, what);
            self.looked.unsure.push(finding);
        }
    }

    fn broken(&mut self, seq: i64, what: String) {
        self.folds = false;
        self.bad(Some(seq), what);
    }

    /// Checks the row by itself.
    fn row(&mut self) {
        if self.id.is_none() {
            self.bad(None, "this is no thread id".to_owned());
        }
        let metadata = String::from_utf8(self.row.metadata.clone()).ok();
        if metadata.is_none_or(|text| Json::trusted(text).is_err()) {
            self.bad(None, "its metadata is no JSON".to_owned());
        }
        match serde_json::from_slice::<Summary>(&self.row.summary) {
            Err(fault) => self.bad(None, format!("its summary can't be read: {fault}")),
            Ok(summary) => {
                let completed_at = summary.completed_at.map(crate::model::Timestamp::millis);
                let columns = (self.row.status.as_str(), self.row.completed_at);
                if columns != (summary.status.as_str(), completed_at) {
                    let what = "its status or end in the row is not that of its summary";
                    self.bad(None, what.to_owned());
                }
            }
        }
    }

    /// Checks the count of untaken messages, which decides whether the thread is woken.
    fn inbox(&mut self, untaken: usize) {
        if usize::try_from(self.row.pending) != Ok(untaken) {
            let what = format!("{untaken} messages wait, its row says {}", self.row.pending);
            self.unsure(None, what);
        }
    }

    /// Checks and folds the next journal row.
    fn records(&mut self, records: &StoredRecords) {
        if records.seq > self.row.last_seq {
            // The journal row was written after the thread's row was read, or without it.
            let what = format!("beyond the head of the journal, {}", self.row.last_seq);
            return self.unsure(Some(records.seq), what);
        }
        self.looked.bytes += count(records.payload.len());
        if records.first_seq != self.next {
            let what = format!("missing: the next record starts at {}", records.first_seq);
            self.broken(self.next, what);
        }
        self.next = records.seq.saturating_add(1);
        match records.decode() {
            Err(what) => self.broken(records.seq, what),
            Ok(decoded) => {
                for (seq, text) in (records.first_seq..).zip(&decoded.events) {
                    self.looked.events += 1;
                    self.event(seq, text);
                }
            }
        }
    }

    fn event(&mut self, seq: i64, text: &str) {
        if let Ok(place) = serde_json::from_str::<Place>(text) {
            // An event names its thread as clients do, without the namespace.
            if place.thread_id != Namespace::split(&self.row.thread_id).1 {
                self.broken(seq, format!("this is an event of thread {}", place.thread_id));
            }
            if place.seq != seq {
                self.broken(seq, format!("the event says that its number is {}", place.seq));
            }
        }
        let event = match Event::decode(text) {
            Ok(event) => event,
            Err(fault) => return self.broken(seq, fault.to_string()),
        };
        if let (Some(step), Some(plan)) = (event.body.step(), &self.plan)
            && plan.find(step.as_str()).is_none()
        {
            self.broken(seq, format!("its workflow has no step {step}"));
        }
        if seq == 1 {
            self.first(&event);
        } else if self.folds
            && let Some(state) = &mut self.state
        {
            state.apply(&event);
        }
        self.folded(seq);
    }

    /// Begins the fold, and checks that the first event names the same workflow as the row.
    fn first(&mut self, event: &Event) {
        let EventBody::WorkflowStart(start) = &event.body else {
            return self.broken(1, "the first event is no workflow_start".to_owned());
        };
        let (told, row) = (&start.workflow, self.row);
        let version = told.version.map(i64::from);
        if (&told.hash, &told.name, version)
            != (&row.definition, &row.workflow, row.workflow_version)
        {
            self.bad(Some(1), "its row names another workflow".to_owned());
        }
        if let (Some(id), Some(plan)) = (&self.id, &self.plan) {
            self.state = ThreadState::first(id.clone(), Arc::clone(plan), event);
        }
    }

    /// Checks that the journal ends where the row says.
    fn head(&mut self) {
        let head = self.next.saturating_sub(1);
        if head < self.row.last_seq {
            let what = format!("missing: the head of the journal is {}", self.row.last_seq);
            self.broken(self.next, what);
        }
    }

    /// Checks that the summary is the fold of the journal.
    fn summary(&mut self) {
        let Some(state) = self.state.take().filter(|_| self.folds) else { return };
        let Ok(stored) = serde_json::from_slice::<Summary>(&self.row.summary) else { return };
        let folded = summary(&state);
        if stored != folded {
            let shown = |summary: &Summary| {
                let Summary { status, completed, total, .. } = summary;
                format!("{} with {completed} of {total} steps ended", status.as_str())
            };
            let what = format!(
                "its summary ({}) is not what its events say ({})",
                shown(&stored),
                shown(&folded)
            );
            self.bad(None, what);
        }
    }
}
