//! Group commit: gathers the writes of many threads into batches.
//!
//! While one batch is being committed the next one fills, so the batch's size follows the load and
//! no timer is needed. Readers and callers learn of a write only after it is durable.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::availability::Availability;
use super::retry::Retry;
use crate::model::{Backoff, Clock, Entropy, ThreadId};
use crate::observe::Metrics;
use crate::runtime::feed::heads::Feed;
use crate::runtime::lease::authority::Authority;
use crate::runtime::settings::{MAX_BATCH, MAX_BATCH_BYTES, StoreRetry, WRITER_QUEUE};
use crate::store::{Disposition, Records, Start, Store, StoreError, Write, WriteOutcome};

/// The first pause of a write whose row is locked: usually just while a message is stored.
const FIRST_BUSY_PAUSE: Duration = Duration::from_millis(5);
/// The longest such pause: sometimes a person in a database console holds the lock for long.
const LONGEST_BUSY_PAUSE: Duration = Duration::from_millis(250);

/// The result of a write for its caller.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::runtime) enum Committed {
    /// The store's answer.
    Answered(WriteOutcome),
    /// The store lacks the definition of this start: send it again with the text.
    DefinitionMissing(Box<Start>),
    /// Authority was lost before the store answered: the thread must be dropped.
    Lost,
    /// The store refuses this write for good.
    Refused(StoreError),
}

struct Job {
    write: Write,
    ticket: Ticket,
}

/// The caller of a write, and the state of the write so far.
struct Ticket {
    workflow: Arc<str>,
    authority: Arc<Authority>,
    reply: oneshot::Sender<Committed>,
    /// Set if it may have been written already, because its first answer was lost.
    sent_before: bool,
    /// The pauses between tries, once its row was found locked.
    pauses: Option<Backoff>,
}

/// Everything that a writer needs.
#[derive(Debug, Clone)]
pub(in crate::runtime) struct WriterParts {
    pub(in crate::runtime) store: Arc<dyn Store>,
    pub(in crate::runtime) feed: Arc<Feed>,
    pub(in crate::runtime) clock: Arc<dyn Clock>,
    pub(in crate::runtime) entropy: Arc<dyn Entropy>,
    pub(in crate::runtime) metrics: Arc<Metrics>,
    pub(in crate::runtime) retry: StoreRetry,
    pub(in crate::runtime) availability: Arc<Availability>,
}

/// Sends writes to the writer of their thread.
#[derive(Debug)]
pub(in crate::runtime) struct JournalWriter {
    shards: Vec<mpsc::Sender<Job>>,
    /// The writer of starts with the history of another thread: tens of megabytes that take
    /// seconds, and no other write must wait for them. Nothing else is written for such a thread
    /// until its start is durable, so that its writes keep their order.
    histories: mpsc::Sender<Job>,
}

impl JournalWriter {
    /// Makes as many writers as the store has use for, and returns their loops to be spawned.
    pub(in crate::runtime) fn new(
        parts: &WriterParts,
    ) -> (Self, Vec<impl Future<Output = ()> + use<>>) {
        let count = parts.store.info().writers.max(1);
        let begin = || {
            let (sender, receiver) = mpsc::channel(WRITER_QUEUE);
            (sender, run(parts.clone(), receiver))
        };
        let (shards, mut loops): (_, Vec<_>) = (0..count).map(|_| begin()).unzip();
        let (histories, last) = begin();
        loops.push(last);
        (Self { shards, histories }, loops)
    }

    /// Writes; returns once the write is durable or never will be. `workflow` is the name shown in
    /// the live stream of all threads.
    pub(in crate::runtime) async fn commit(
        &self,
        write: Write,
        workflow: Arc<str>,
        authority: Arc<Authority>,
    ) -> Committed {
        let (reply, answer) = oneshot::channel();
        let shard = match &write {
            Write::Start(start) if !start.more.is_empty() => Some(&self.histories),
            Write::Start(_) | Write::Append(_) => self.shards.get(self.shard_of(write.thread_id())),
        };
        let Some(shard) = shard else { return Committed::Lost };
        let ticket = Ticket { workflow, authority, reply, sent_before: false, pauses: None };
        if shard.send(Job { write, ticket }).await.is_err() {
            return Committed::Lost;
        }
        answer.await.unwrap_or(Committed::Lost)
    }

    fn shard_of(&self, thread: &ThreadId) -> usize {
        let mut hasher = DefaultHasher::new();
        thread.hash(&mut hasher);
        let count = u64::try_from(self.shards.len()).unwrap_or(1).max(1);
        usize::try_from(hasher.finish() % count).unwrap_or(0)
    }
}

async fn run(parts: WriterParts, mut queue: mpsc::Receiver<Job>) {
    let mut jobs = Vec::with_capacity(MAX_BATCH);
    let mut held = Held::default();
    loop {
        tokio::select! {
            biased;
            taken = queue.recv_many(&mut jobs, MAX_BATCH) => if taken == 0 { return },
            () = held.due() => {}
        }
        held.release(&mut jobs);
        while let Some(first) = jobs.first() {
            // The queue may have jobs of two incarnations, after authority was lost and regained,
            // and both a start that its caller gave up on and its repeat. A write that met a lock
            // goes apart from the others, in case it has to wait for the lock.
            let (me, alone) = (first.ticket.authority.incarnation, first.ticket.pauses.is_some());
            let mut batch = Gathered::default();
            let (batch, rest) = jobs.into_iter().partition(|job| {
                let ticket = &job.ticket;
                let fits = ticket.authority.incarnation == me && ticket.pauses.is_some() == alone;
                fits && batch.takes(&job.write)
            });
            jobs = rest;
            commit_batch(&parts, batch, &mut held).await;
        }
    }
}

/// Writes that met a lock, each with the time of its next try. A driver or an invoke waits for
/// each, which bounds their number.
#[derive(Default)]
struct Held(Vec<(Instant, Job)>);

impl Held {
    /// Resolves when a write may be tried again.
    async fn due(&self) {
        match self.0.iter().map(|(at, _)| *at).min() {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// Moves the writes that may be tried again to the other jobs.
    fn release(&mut self, jobs: &mut Vec<Job>) {
        let now = Instant::now();
        jobs.extend(self.0.extract_if(.., |(at, _)| *at <= now).map(|(_, job)| job));
    }

    /// Holds a write back for a while.
    fn hold(&mut self, mut job: Job) {
        let first = Backoff::new(FIRST_BUSY_PAUSE, LONGEST_BUSY_PAUSE);
        let pause = job.ticket.pauses.get_or_insert(first).advance();
        self.0.push((Instant::now() + pause, job));
    }
}

/// The threads and bytes that a batch holds already.
#[derive(Debug, Default)]
struct Gathered {
    threads: HashSet<ThreadId>,
    bytes: usize,
}

impl Gathered {
    /// Adds a write if it fits: the batch takes one write of each thread, and no more bytes than
    /// can be written in good time.
    fn takes(&mut self, write: &Write) -> bool {
        // A thread counts as seen even if its write must wait: a later write must not overtake it.
        if !self.threads.insert(write.thread_id().clone()) {
            return false;
        }
        let bytes = size(write);
        if self.bytes > 0 && self.bytes.saturating_add(bytes) > MAX_BATCH_BYTES {
            return false;
        }
        self.bytes = self.bytes.saturating_add(bytes);
        true
    }
}

/// Returns about how many bytes a write sends.
fn size(write: &Write) -> usize {
    let bytes = |records: &Records| records.events.iter().map(String::len).sum::<usize>();
    match write {
        Write::Start(start) => {
            let text = start.definition_text.as_ref().map_or(0, String::len);
            text + start.metadata.as_str().len() + start.rows().map(bytes).sum::<usize>()
        }
        Write::Append(append) => append.records.as_ref().map_or(0, bytes),
    }
}

async fn commit_batch(parts: &WriterParts, jobs: Vec<Job>, held: &mut Held) {
    let (writes, mut tickets): (Vec<Write>, Vec<Ticket>) =
        jobs.into_iter().map(|job| (job.write, job.ticket)).unzip();
    let Some(authority) = tickets.first().map(|ticket| Arc::clone(&ticket.authority)) else {
        return;
    };
    let began = parts.clock.monotonic();
    let outcomes = match write_until_answered(parts, &writes, (&mut tickets, &authority)).await {
        Ok(outcomes) => outcomes,
        Err(full @ Committed::Refused(StoreError::Full(_))) => {
            return refuse_starts(parts, (writes, tickets), &full, held).await;
        }
        Err(failed) => {
            for ticket in tickets {
                ticket.answer(failed.clone());
            }
            return;
        }
    };
    let took = parts.clock.monotonic().saturating_sub(began);
    parts.metrics.saved(took, writes.len(), true);
    for ((write, ticket), outcome) in writes.into_iter().zip(tickets).zip(outcomes) {
        if outcome == WriteOutcome::Busy {
            tracing::debug!(thread = %write.thread_id(), "somebody else holds its row");
            parts.metrics.storage_retries.inc();
            held.hold(Job { write, ticket });
            continue;
        }
        if ticket.pauses.is_some() {
            parts.metrics.storage_recovered.inc();
        }
        if outcome == WriteOutcome::Fenced {
            parts.metrics.integrity.fenced.inc();
        }
        if matches!(outcome, WriteOutcome::Written { .. }) {
            parts.feed.committed(&write, &ticket.workflow);
        }
        ticket.answer(answer(write, outcome));
    }
}

/// Refuses the new starts of a batch for which the store has no room, and sends the rest again: what
/// runs waits for room, what is new need not.
async fn refuse_starts(
    parts: &WriterParts,
    (writes, tickets): (Vec<Write>, Vec<Ticket>),
    full: &Committed,
    held: &mut Held,
) {
    let is_new: Vec<bool> = new_starts(&writes, &tickets).collect();
    let mut rest = Vec::new();
    for ((write, ticket), is_new) in writes.into_iter().zip(tickets).zip(is_new) {
        if is_new {
            ticket.answer(full.clone());
        } else {
            rest.push(Job { write, ticket });
        }
    }
    // It holds no new start any more, so that this happens once.
    Box::pin(commit_batch(parts, rest, held)).await;
}

/// Returns for each write whether it is a start that certainly has not landed.
fn new_starts<'a>(
    writes: &'a [Write],
    tickets: &'a [Ticket],
) -> impl Iterator<Item = bool> + use<'a> {
    let both = writes.iter().zip(tickets);
    both.map(|(write, ticket)| matches!(write, Write::Start(_)) && !ticket.sent_before)
}

impl Ticket {
    fn answer(self, answer: Committed) {
        // A driver that was dropped meanwhile no longer listens; the write stands.
        drop(self.reply.send(answer));
    }
}

fn answer(write: Write, outcome: WriteOutcome) -> Committed {
    match write {
        Write::Start(start) if outcome == WriteOutcome::DefinitionMissing => {
            Committed::DefinitionMissing(start)
        }
        Write::Start(_) | Write::Append(_) => Committed::Answered(outcome),
    }
}

/// Sends a batch until the store answers or authority is lost.
async fn write_until_answered(
    parts: &WriterParts,
    writes: &[Write],
    (tickets, authority): (&mut [Ticket], &Authority),
) -> Result<Vec<WriteOutcome>, Committed> {
    let mut retry = Retry::new(&parts.metrics, &*parts.entropy, parts.retry);
    let mut pending = None;
    loop {
        if authority.is_lost() {
            return Err(Committed::Lost);
        }
        let (began, at) = (parts.clock.monotonic(), Instant::now());
        let sent = parts.store.write(authority.incarnation, writes);
        let answer = tokio::select! {
            biased;
            answer = sent => answer,
            // Do not wait for a connection that hangs: it would hold up the next incarnation's
            // writes. If the batch lands all the same, it lands before its threads are claimed
            // again, or never.
            () = authority.lost() => return Err(Committed::Lost),
        };
        let answer = match answer {
            Ok(outcomes) => own_writes(parts, (writes, tickets), outcomes, authority).await,
            Err(error) => Err(error),
        };
        let error = match answer {
            Ok(outcomes) => {
                retry.succeeded();
                if outcomes.iter().any(|outcome| matches!(outcome, WriteOutcome::Written { .. })) {
                    parts.availability.wrote(at);
                }
                return Ok(outcomes);
            }
            Err(error) => error,
        };
        let took = parts.clock.monotonic().saturating_sub(began);
        parts.metrics.saved(took, writes.len(), false);
        if !error.is_transient() {
            tracing::error!(%error, "the store refuses a batch");
            return Err(Committed::Refused(error));
        }
        parts.availability.failed("a write of events", &error);
        if matches!(error, StoreError::Full(_)) && new_starts(writes, tickets).any(|is_new| is_new)
        {
            return Err(Committed::Refused(error));
        }
        pending.get_or_insert_with(|| parts.availability.pending());
        for ticket in &mut *tickets {
            ticket.sent_before = true;
        }
        tokio::select! {
            biased;
            () = tokio::time::sleep(retry.again()) => {}
            () = authority.lost() => return Err(Committed::Lost),
        }
    }
}

/// After an unknown result, tells writes that the first try stored from refused ones.
async fn own_writes(
    parts: &WriterParts,
    (writes, tickets): (&[Write], &[Ticket]),
    outcomes: Vec<WriteOutcome>,
    authority: &Authority,
) -> Result<Vec<WriteOutcome>, StoreError> {
    let mut answers = Vec::with_capacity(outcomes.len());
    for ((write, ticket), outcome) in writes.iter().zip(tickets).zip(outcomes) {
        let refused = !matches!(outcome, WriteOutcome::Written { .. });
        let asks = ticket.sent_before && refused;
        let landed = asks && landed_before(parts, write, authority).await?;
        // Messages may have arrived; 1 makes the driver look for them.
        answers.push(if landed { WriteOutcome::Written { mail: 1 } } else { outcome });
    }
    Ok(answers)
}

async fn landed_before(
    parts: &WriterParts,
    write: &Write,
    authority: &Authority,
) -> Result<bool, StoreError> {
    match write {
        Write::Append(append) if append.records.is_some() => {
            parts.store.wrote(&append.thread_id, append.prev, append.epoch).await
        }
        // Without records only ownership or the inbox changes; both are read afresh later.
        Write::Append(_) => Ok(false),
        Write::Start(start) => {
            let Some(row) = parts.store.thread(&start.thread_id).await? else { return Ok(false) };
            // The first record's epoch tells a start that drives (1) from one that queues (0). The
            // row does not: once claimed, perhaps by this replica, the thread is at epoch 1.
            let (epoch, own) = match start.disposition {
                Disposition::Keep => (1, row.owner == authority.incarnation && row.epoch == 1),
                Disposition::Release { .. } | Disposition::SetAside { .. } => {
                    (0, row.created_at == start.newest().at)
                }
            };
            Ok(own && parts.store.wrote(&start.thread_id, 0, epoch).await?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ThreadStatus, Timestamp};
    use crate::store::{Append, Summary};

    fn append(thread: &str, bytes: usize) -> Write {
        let at = Timestamp::from_millis(1);
        Write::Append(Box::new(Append {
            thread_id: ThreadId::parse(thread).unwrap(),
            epoch: 1,
            prev: 1,
            records: Some(Records { first: 2, events: vec!["x".repeat(bytes)], at }),
            summary: Summary {
                status: ThreadStatus::Running,
                completed: 0,
                total: 1,
                current_steps: Vec::new(),
                stale_steps: Vec::new(),
                recoveries: 0,
                error_code: None,
                completed_at: None,
                forked_from: None,
            },
            progress: false,
            disposition: Disposition::Keep,
            sides: Vec::new(),
        }))
    }

    #[test]
    fn a_batch_is_bounded_in_bytes_and_a_larger_write_goes_alone() {
        let half = MAX_BATCH_BYTES / 2;
        let mut batch = Gathered::default();
        assert!(batch.takes(&append("a", half)) && batch.takes(&append("b", half)));
        assert!(!batch.takes(&append("c", 1)));
        // A later write of a thread does not overtake the one that waits.
        assert!(!batch.takes(&append("c", 0)));
        assert!(Gathered::default().takes(&append("a", MAX_BATCH_BYTES + 1)));
    }

    #[test]
    fn a_batch_holds_one_write_of_a_thread() {
        let mut batch = Gathered::default();
        assert!(batch.takes(&append("a", 1)) && !batch.takes(&append("a", 1)));
        assert!(batch.takes(&append("b", 1)));
    }
}
