//! Compares two threads: where their journals part, and how their steps ended.
//!
//! Events are compared by content, without thread ids and times, so that a fork agrees with its
//! origin up to the fork point. Journals are read side by side and page by page, up to the heads
//! they had in the beginning; nothing is written.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::patience::{persistently, shown};
use crate::contract::{
    DiffedEvent, DiffedOutput, DiffedStep, DiffedThread, Divergence, OutputDiff, StatusDocument,
    StepDiff, StepDocument, ThreadDiff,
};
use crate::model::{Event, EventBody, Json, Seq, StepId, ThreadId, hex, millis};
use crate::observe::Overloaded;
use crate::runtime::core::Core;
use crate::runtime::drive::load::{LoadError, load_to_show};
use crate::runtime::settings::STORE_PATIENCE;
use crate::runtime::types::RuntimeError;

/// The number of events read from each journal at a time; the store bounds their bytes.
const PAGE: usize = 200;
/// The size of the largest output, or data of an event, that is shown whole, in bytes. For a larger
/// one its length and digest tell more: nobody compares two large texts by eye.
const MAX_SHOWN: usize = 16 << 10;
/// The most bytes of outputs that one answer shows.
const MAX_SHOWN_IN_ALL: usize = 1 << 20;

/// Compares the threads as they are now.
pub(in crate::runtime) async fn diff(
    core: &Core,
    a: &ThreadId,
    b: &ThreadId,
) -> Result<ThreadDiff, RuntimeError> {
    let place = core.diffs.take_within(&a.namespace(), STORE_PATIENCE).await;
    let _place = place.ok_or(Overloaded)?;
    let (heads, same_workflow) = shown(core, &a.namespace(), || async {
        let one = core.shown.store().thread(a).await?.ok_or(RuntimeError::ThreadNotFound)?;
        let other = core.shown.store().thread(b).await?.ok_or(RuntimeError::ThreadNotFound)?;
        Ok(((one.last_seq, other.last_seq), one.definition == other.definition))
    })
    .await?;
    let parted = part(core, (a, heads.0), (b, heads.1)).await?;
    let one = document(core, a, heads.0).await?;
    let other = document(core, b, heads.1).await?;
    let mut shown = Shown { left: MAX_SHOWN_IN_ALL };
    let output = OutputDiff {
        changed: value(one.output.as_ref()) != value(other.output.as_ref()),
        a: shown.output(one.output.as_ref()),
        b: shown.output(other.output.as_ref()),
    };
    Ok(ThreadDiff {
        steps: steps(&one, &other, &mut shown),
        a: thread(&one),
        b: thread(&other),
        same_workflow,
        common_up_to: parted.0,
        first_divergence: parted.1,
        output,
    })
}

async fn document(
    core: &Core,
    thread: &ThreadId,
    head: Seq,
) -> Result<StatusDocument, RuntimeError> {
    persistently(core, || async {
        let state = load_to_show(core, thread, Some(head)).await?.state;
        Ok(state.document(None))
    })
    .await
}

/// Returns the last event that both journals have in common, and the first ones that differ.
async fn part(
    core: &Core,
    a: (&ThreadId, Seq),
    b: (&ThreadId, Seq),
) -> Result<(Seq, Option<Divergence>), RuntimeError> {
    let (mut one, mut other) = (Journal::new(core, a), Journal::new(core, b));
    let mut common = 0;
    loop {
        let (left, right) = (one.next().await?, other.next().await?);
        if left.is_none() && right.is_none() {
            return Ok((common, None));
        }
        let said = |journal: &Journal<'_>, text: &Option<String>| {
            text.as_deref().map(|text| journal.content(text)).transpose()
        };
        if said(&one, &left)? == said(&other, &right)? {
            common += 1;
            continue;
        }
        let shown = |text: Option<String>| text.map(|text| event(&text)).transpose();
        let parted = Divergence { seq: common + 1, a: shown(left)?, b: shown(right)? };
        return Ok((common, Some(parted)));
    }
}

/// A journal that is read page by page, up to a head.
struct Journal<'a> {
    core: &'a Core,
    thread: &'a ThreadId,
    head: Seq,
    after: Seq,
    page: std::collections::VecDeque<String>,
}

impl<'a> Journal<'a> {
    fn new(core: &'a Core, (thread, head): (&'a ThreadId, Seq)) -> Self {
        Self { core, thread, head, after: 0, page: std::collections::VecDeque::new() }
    }

    /// Returns the text of the next event.
    async fn next(&mut self) -> Result<Option<String>, RuntimeError> {
        if self.page.is_empty() && self.after < self.head {
            let left = usize::try_from(self.head - self.after).unwrap_or(PAGE).min(PAGE);
            let look =
                || async { Ok(self.core.shown.store().read(self.thread, self.after, left).await?) };
            let page = shown(self.core, &self.thread.namespace(), look).await?;
            // A missing page means that the thread was deleted meanwhile.
            self.after = page.last().ok_or(RuntimeError::ThreadNotFound)?.last();
            self.page = page.into_iter().flat_map(|records| records.events).collect();
        }
        Ok(self.page.pop_front())
    }

    fn content(&self, text: &str) -> Result<EventBody, LoadError> {
        Ok(Event::decode(text)?.body.content(self.thread))
    }
}

/// The members of an event that are shown.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Frame {
    step_id: Option<StepId>,
    attempt: Option<u32>,
    data: Json,
}

fn event(text: &str) -> Result<DiffedEvent, RuntimeError> {
    let decoded = Event::decode(text).map_err(LoadError::from)?;
    let frame: Frame = serde_json::from_str(text).map_err(|_| RuntimeError::Corrupt)?;
    let (bytes, sha256) = digest(&frame.data);
    Ok(DiffedEvent {
        kind: decoded.body.kind(),
        seq: decoded.seq,
        step_id: frame.step_id,
        attempt: frame.attempt,
        at: decoded.at,
        data: Some(frame.data).filter(|_| bytes <= MAX_SHOWN),
        data_bytes: bytes,
        data_sha256: sha256,
    })
}

fn digest(json: &Json) -> (usize, String) {
    (json.as_str().len(), hex(&Sha256::digest(json.as_str().as_bytes())))
}

/// Returns the output, if there is one: a thread or step without output has `null`.
fn value(output: Option<&Json>) -> Option<&Json> {
    output.filter(|output| !output.is_null())
}

/// The bytes of outputs that an answer may still show.
struct Shown {
    left: usize,
}

impl Shown {
    fn output(&mut self, output: Option<&Json>) -> DiffedOutput {
        let Some(output) = value(output) else { return DiffedOutput::default() };
        let (bytes, sha256) = digest(output);
        let fits = bytes <= MAX_SHOWN && bytes <= self.left;
        if fits {
            self.left -= bytes;
        }
        DiffedOutput {
            output: fits.then(|| output.clone()),
            output_bytes: Some(bytes),
            output_sha256: Some(sha256),
        }
    }

    fn step(&mut self, step: &StepDocument) -> DiffedStep {
        DiffedStep {
            kind: step.kind,
            status: step.status,
            attempts: step.attempts,
            started_at: step.started_at,
            completed_at: step.completed_at,
            duration_ms: step.duration_ms,
            error: step.error.clone(),
            output: self.output(step.output.as_ref()),
        }
    }
}

fn thread(document: &StatusDocument) -> DiffedThread {
    let took = document.completed_at.map(|end| end.since(document.created_at));
    DiffedThread {
        thread_id: document.thread_id.clone(),
        workflow: document.workflow.clone(),
        status: document.status,
        last_seq: document.last_seq,
        forked_from: document.forked_from.clone(),
        created_at: document.created_at,
        completed_at: document.completed_at,
        duration_ms: took.map(millis),
        error: document.error.clone(),
    }
}

fn steps(one: &StatusDocument, other: &StatusDocument, shown: &mut Shown) -> Vec<StepDiff> {
    let find = |document: &StatusDocument, id: &StepId| -> Option<usize> {
        document.steps.iter().position(|step| step.id == *id)
    };
    let both = one.steps.iter().map(|step| {
        let twin = find(other, &step.id).and_then(|at| other.steps.get(at));
        (Some(step), twin)
    });
    let rest = other.steps.iter().filter(|step| find(one, &step.id).is_none());
    both.chain(rest.map(|step| (None, Some(step)))).filter_map(|(a, b)| step(a, b, shown)).collect()
}

fn step(a: Option<&StepDocument>, b: Option<&StepDocument>, shown: &mut Shown) -> Option<StepDiff> {
    let step_id = a.or(b)?.id.clone();
    let (changed, delta_ms) = match (a, b) {
        (Some(a), Some(b)) => {
            let facts = [
                ("kind", a.kind != b.kind),
                ("status", a.status != b.status),
                ("attempts", a.attempts != b.attempts),
                ("output", value(a.output.as_ref()) != value(b.output.as_ref())),
                ("error", a.error != b.error),
            ];
            let changed = facts.iter().filter(|(_, changed)| *changed).map(|(name, _)| *name);
            let millis = |step: &StepDocument| i64::try_from(step.duration_ms?).ok();
            let delta = millis(a).zip(millis(b)).map(|(a, b)| b.saturating_sub(a));
            (changed.collect(), delta)
        }
        _ => (vec!["missing"], None),
    };
    Some(StepDiff {
        step_id,
        changed,
        a: a.map(|step| shown.step(step)),
        b: b.map(|step| shown.step(step)),
        delta_ms,
    })
}
