//! Checks every record of a store and reports the bad ones.
//!
//! Reads through [`Archive`] alone, so that it can run beside live servers and writes nothing. It
//! never stops at a fault: a fault is reported, and the rest is checked all the same. A further
//! check of a thread is a function in [`thread`] or [`derived`], a further kind of record a pass
//! here. Called by `app` for `rethread verify`.

mod derived;
mod thread;

use std::fmt;

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::definition::Plan;
use crate::model::{Json, Pointer};
use crate::runtime::drive::plans::{PlanCache, named};
use crate::store::{Archive, StoreError, StoredDefinition, ThreadTable};

/// The number of ids read at a time.
const ID_PAGE: usize = 500;
/// The number of definitions read at a time: each may be as large as a request.
const DEFINITION_PAGE: usize = 16;
/// The number of threads checked side by side: this hides the latency of the database, and bounds
/// the memory.
const SIDE_BY_SIDE: usize = 4;

/// A fault in a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The record: `thread x`, `definition x`, `workflow x@1`.
    pub subject: String,
    /// The number of the event, if the fault is about one.
    pub seq: Option<i64>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.subject)?;
        if let Some(seq) = self.seq {
            write!(f, ", seq {seq}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// The counts of a check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verified {
    /// Threads checked.
    pub threads: u64,
    /// Events read.
    pub events: u64,
    /// Bytes of journal rows, snapshots and definitions read.
    pub bytes: u64,
    /// Faults found.
    pub bad: u64,
}

/// The receiver of findings.
type Report<'a> = &'a mut (dyn FnMut(&Finding) + Send);

/// Checks all records. Fails only if the store does not answer.
pub async fn verify(
    archive: &dyn Archive,
    report: &mut (dyn FnMut(&Finding) + Send),
) -> Result<Verified, StoreError> {
    let verifier = Verifier { archive, plans: PlanCache::default() };
    let mut total = Verified::default();
    verifier.definitions(&mut total, report).await?;
    verifier.workflows(&mut total, report).await?;
    verifier.threads(&mut total, report).await?;
    for table in ThreadTable::ALL {
        verifier.strays(table, &mut total, report).await?;
    }
    Ok(total)
}

struct Verifier<'a> {
    archive: &'a dyn Archive,
    plans: PlanCache,
}

impl Verifier<'_> {
    async fn definitions(
        &self,
        total: &mut Verified,
        report: Report<'_>,
    ) -> Result<(), StoreError> {
        let mut after = String::new();
        loop {
            let page = self.archive.stored_definitions(&after, DEFINITION_PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(&last.hash);
            for definition in &page {
                total.bytes += count(definition.text.len());
                if let Err(what) = plan(definition) {
                    let subject = format!("definition {}", definition.hash);
                    found(total, report, &Finding { subject, seq: None, what });
                }
            }
        }
    }

    async fn workflows(&self, total: &mut Verified, report: Report<'_>) -> Result<(), StoreError> {
        let mut after = (String::new(), 0);
        loop {
            let page = self.archive.stored_workflows((&after.0, after.1), ID_PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = (last.name.clone(), last.version);
            for row in &page {
                if self.archive.stored_definition(&row.definition).await?.is_none() {
                    let subject = format!("workflow {}@{}", row.name, row.version);
                    let what = format!("its definition {} is missing", row.definition);
                    found(total, report, &Finding { subject, seq: None, what });
                }
            }
        }
    }

    async fn threads(&self, total: &mut Verified, report: Report<'_>) -> Result<(), StoreError> {
        let mut after = String::new();
        loop {
            let page = self.archive.thread_ids(&after, ID_PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(last);
            let looks = stream::iter(&page).map(|id| self.thread(id)).buffered(SIDE_BY_SIDE);
            let mut looks = std::pin::pin!(looks);
            while let Some(looked) = looks.try_next().await? {
                total.threads += u64::from(looked.there);
                total.events += looked.events;
                total.bytes += looked.bytes;
                for finding in &looked.findings {
                    found(total, report, finding);
                }
            }
        }
    }

    /// Reports rows that belong to no thread.
    async fn strays(
        &self,
        table: ThreadTable,
        total: &mut Verified,
        report: Report<'_>,
    ) -> Result<(), StoreError> {
        let has = match table {
            ThreadTable::Journal => "a journal",
            ThreadTable::Snapshots => "snapshots",
            ThreadTable::Recoveries => "recoveries",
            ThreadTable::Interventions => "interventions",
        };
        let mut after = String::new();
        loop {
            let page = self.archive.ids_in(table, &after, ID_PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after.clone_from(last);
            for (id, _) in page.iter().filter(|(_, known)| !known) {
                let what = format!("it has {has}, and its row is missing");
                found(total, report, &Finding { subject: format!("thread {id}"), seq: None, what });
            }
        }
    }
}

fn found(total: &mut Verified, report: Report<'_>, finding: &Finding) {
    total.bad += 1;
    report(finding);
}

/// Parses a definition and compares its hash with that of its text; fails with what is wrong.
fn plan(definition: &StoredDefinition) -> Result<Plan, String> {
    let text = String::from_utf8(definition.text.clone()).map_err(|fault| fault.to_string())?;
    let json = Json::trusted(text).map_err(|fault| format!("it is no JSON: {fault}"))?;
    let plan = Plan::parse(&json, &Pointer::root())
        .map_err(|faults| format!("it can't be used: {}", named(&faults)))?;
    if plan.hash == definition.hash {
        return Ok(plan);
    }
    Err(format!("its text has the hash {}", plan.hash))
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
