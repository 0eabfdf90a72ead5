//! The calls that every store answers, and what each of them promises.

use std::time::Duration;

use async_trait::async_trait;

use crate::model::{Epoch, Incarnation, Json, Namespace, Seq, ThreadId, Timestamp};

use super::{
    Audits, Claimed, Heard, InterventionCounts, InterventionFilter, InterventionRow, Message, News,
    Notices, Posted, Records, Recovery, RecoveryCount, RecoveryEnd, Snapshot, Standing, StoreError,
    ThreadFilter, ThreadRow, WorkflowRow, Write, WriteOutcome,
};

/// What a store is, for health and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// `sqlite`, `postgres` or `memory`.
    pub backend: &'static str,
    /// Whether what was acknowledged survives a power cut.
    pub durable: bool,
    /// How many batches may be written side by side.
    pub writers: usize,
}

/// The disk of a store that lives on this machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Size of its write-ahead log, in bytes.
    pub log_bytes: u64,
    /// What is free for this process, in bytes.
    pub free_bytes: u64,
}

/// The promises every store keeps. Every call may fail with [`StoreError::Unavailable`].
#[async_trait]
pub trait Store: Notices + Audits + Send + Sync + std::fmt::Debug {
    /// What kind of store this is.
    fn traits(&self) -> Traits;

    /// Its disk as last looked at, a heartbeat ago at the most; `None` if it is not this machine's.
    /// Never waits for the disk.
    fn disk(&self) -> Option<Disk> {
        None
    }

    /// Resolves when the store cannot vouch for its disk any more: what it was given may be lost
    /// although a second try would succeed. The process must end; a new one reads what is there.
    async fn failed(&self) {
        std::future::pending::<()>().await;
    }

    /// Whether the store answers; a cheap round trip.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Registers a replica under a new incarnation with a lease of `ttl`.
    ///
    /// A store that only one process can open takes every earlier lease for expired.
    async fn register(&self, name: &str, ttl: Duration) -> Result<Incarnation, StoreError>;

    /// Prolongs a lease that has not expired. `false`: it has, or is gone; authority is lost.
    async fn renew(&self, me: Incarnation, ttl: Duration) -> Result<bool, StoreError>;

    /// Ends a lease in good order: all threads it drove get owner 0 and may be claimed at once.
    async fn retire(&self, me: Incarnation) -> Result<(), StoreError>;

    /// Hands up to `limit` threads to `me`: those of expired incarnations, then due ones that nobody
    /// drives (a queue that never ends must not keep lost threads waiting). Each gets `owner = me`
    /// and `epoch + 1`, and those of expired incarnations `claims + 1` in the same statement: only so
    /// are losses counted that kill whoever counts. Nothing is handed out to an incarnation whose own
    /// lease has expired, and nothing is taken from a live one.
    async fn claim(&self, me: Incarnation, limit: usize) -> Result<Vec<Claimed>, StoreError>;

    /// The threads that `me` drives, as it claimed or started them (`previous_owner` is 0, and
    /// `mail` may be 1 where that is not known): what an answer to a claim that never arrived held.
    async fn owned(&self, me: Incarnation) -> Result<Vec<Claimed>, StoreError>;

    /// When the next thread that nobody drives wants to be claimed, if any does.
    async fn next_wake(&self) -> Result<Option<Timestamp>, StoreError>;

    /// How many threads are due and wait for a replica, counted up to `limit`.
    async fn queued(&self, limit: usize) -> Result<usize, StoreError>;

    /// Writes a batch; each write lands whole or not at all, and independently of its neighbours.
    ///
    /// At most one write per thread may be in a batch or under way. Outcomes come in the order of
    /// the writes; one that is [`WriteOutcome::Busy`] is sent again on its own. After an error
    /// nothing is known: send the same batch again, and ask [`Store::wrote`] about each write that
    /// then comes back refused.
    async fn write(
        &self,
        me: Incarnation,
        batch: &[Write],
    ) -> Result<Vec<WriteOutcome>, StoreError>;

    /// Whether the journal has, right after `prev`, records of `thread` that were written under
    /// `epoch`: tells an own write of unknown outcome from somebody else's.
    async fn wrote(&self, thread: &ThreadId, prev: Seq, epoch: Epoch) -> Result<bool, StoreError>;

    /// Reads records after `after`, in order, at most `limit` events, as their exact bytes. Fewer
    /// come back where they are large: 1 MiB, or one record, at the most.
    ///
    /// Fails with [`StoreError::Corrupt`] if a checksum does not match or a number is missing.
    async fn read(
        &self,
        thread: &ThreadId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Records>, StoreError>;

    /// The journal heads of these threads; threads that are gone are left out.
    async fn heads(&self, threads: &[ThreadId]) -> Result<Vec<(ThreadId, Seq)>, StoreError>;

    /// A thread's row.
    async fn thread(&self, thread: &ThreadId) -> Result<Option<ThreadRow>, StoreError>;

    /// Threads, newest first, at most `limit`.
    async fn threads(
        &self,
        filter: &ThreadFilter,
        limit: usize,
    ) -> Result<Vec<ThreadRow>, StoreError>;

    /// The name of the replica that drives a thread, if one does: an owner whose lease has expired
    /// does not.
    async fn owner(&self, thread: &ThreadId) -> Result<Option<String>, StoreError>;

    /// A thread's place among replicas and other threads; `None` if there is no such thread.
    async fn standing(&self, thread: &ThreadId) -> Result<Option<Standing>, StoreError>;

    /// The thread started under an idempotency key ([`super::IdempotencyKey::key`]) in the last 24 h, with its
    /// request's hash.
    async fn by_idempotency_key(&self, key: &str)
    -> Result<Option<(ThreadId, String)>, StoreError>;

    /// Deletes a thread that nobody drives, whose status is terminal and whose journal ends at `head`
    /// (wherever, if absent). `false`: it is not so.
    async fn delete(&self, thread: &ThreadId, head: Option<Seq>) -> Result<bool, StoreError>;

    /// Deletes up to `limit` terminal threads last written before `before` of which everything was
    /// sent to those who subscribed to it, and idempotency keys older than 24 h; returns how many
    /// threads.
    async fn expire(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;

    /// Stores a message for a thread; in the same statement wakes it if nobody drives it.
    async fn post(&self, thread: &ThreadId, message: &Message) -> Result<Posted, StoreError>;

    /// Like [`Store::post`], over what leases are renewed with: it works while nothing drives the
    /// store's other connections.
    async fn post_apart(&self, thread: &ThreadId, message: &Message) -> Result<Posted, StoreError> {
        self.post(thread, message).await
    }

    /// The messages of a thread that were not taken yet, oldest first: 256 and 1 MiB, or one, at the
    /// most.
    async fn inbox(&self, thread: &ThreadId) -> Result<Vec<Message>, StoreError>;

    /// Those of them whose keys begin with `kind`, 256 at the most, however many others were there
    /// before them.
    async fn inbox_of(&self, thread: &ThreadId, kind: &str) -> Result<Vec<Message>, StoreError>;

    /// The threads that `me` drives and that have untaken messages.
    async fn mail(&self, me: Incarnation) -> Result<Vec<ThreadId>, StoreError>;

    /// The answer a message was taken with (see [`super::Append::taken`]), once it was.
    async fn answer(&self, thread: &ThreadId, key: &str) -> Result<Option<Json>, StoreError>;

    /// The text of a definition by its hash.
    ///
    /// Definitions are never collected: a start may leave the text out, and a server of an older
    /// version beside this one does so without holding the row against a deletion.
    async fn definition(&self, hash: &str) -> Result<Option<String>, StoreError>;

    /// Stores a definition as the next version of `name`, a key of its namespace, or finds the version
    /// that has this hash already if it is the newest. `true`: a new version was made.
    async fn save_workflow(
        &self,
        name: &str,
        hash: &str,
        text: &str,
        now: Timestamp,
    ) -> Result<(WorkflowRow, bool), StoreError>;

    /// A version of a stored workflow, the newest if none is named.
    async fn workflow(
        &self,
        name: &str,
        version: Option<u32>,
    ) -> Result<Option<WorkflowRow>, StoreError>;

    /// The newest versions of a namespace's stored workflows in the order of their names, after the
    /// name `after`, a key.
    async fn workflows(
        &self,
        namespace: &Namespace,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<WorkflowRow>, StoreError>;

    /// Durations of the newest completed threads of a workflow of a namespace, in milliseconds, at most
    /// `limit`. Forks, which have [`super::FORK_LABEL`] and begin in the middle, are left out.
    async fn durations(
        &self,
        namespace: &Namespace,
        workflow: &str,
        limit: usize,
    ) -> Result<Vec<u64>, StoreError>;

    /// A random value of 32 bytes that all replicas share and that survives restarts; made from
    /// `candidate` by the first who asks.
    async fn shared_secret(&self, name: &str, candidate: [u8; 32]) -> Result<[u8; 32], StoreError>;

    /// Keeps a snapshot of a thread that exists, in place of one of the same `seq`, and the
    /// [`super::SNAPSHOTS_KEPT`] newest of the thread alone. They go when the thread goes.
    async fn save_snapshot(&self, snapshot: &Snapshot) -> Result<(), StoreError>;

    /// The newest snapshot of a thread, of those that go no further than `until`.
    async fn snapshot(
        &self,
        thread: &ThreadId,
        until: Option<Seq>,
    ) -> Result<Option<Snapshot>, StoreError>;

    /// Records attempts to recover threads, before they are made. They go when the thread goes.
    async fn begin_recoveries(&self, recoveries: &[Recovery]) -> Result<(), StoreError>;

    /// Records how an attempt to recover a thread ended.
    async fn end_recovery(
        &self,
        thread: &ThreadId,
        epoch: Epoch,
        end: &RecoveryEnd,
    ) -> Result<(), StoreError>;

    /// Attempts to recover a thread, newest first, at most `limit`, of those with a lower epoch
    /// than `before`.
    async fn recoveries(
        &self,
        thread: &ThreadId,
        before: Option<Epoch>,
        limit: usize,
    ) -> Result<Vec<Recovery>, StoreError>;

    /// Counts attempts to recover threads of a namespace that began at `since` or later, by cause and
    /// result.
    async fn recovery_counts(
        &self,
        namespace: &Namespace,
        since: Timestamp,
    ) -> Result<Vec<RecoveryCount>, StoreError>;

    /// An intervention by its id.
    async fn intervention(&self, id: &str) -> Result<Option<InterventionRow>, StoreError>;

    /// Interventions, newest first, at most `limit`.
    async fn interventions(
        &self,
        filter: &InterventionFilter,
        limit: usize,
    ) -> Result<Vec<InterventionRow>, StoreError>;

    /// How many interventions a namespace has.
    async fn intervention_counts(
        &self,
        namespace: &Namespace,
    ) -> Result<InterventionCounts, StoreError>;

    /// Adds to counters that all replicas share, each kept for the hour that `at` lies in. Hours
    /// older than two days are forgotten.
    async fn add_tallies(&self, at: Timestamp, tallies: &[(String, u64)])
    -> Result<(), StoreError>;

    /// The sums of the counters of all hours that end after `since`, by name.
    async fn tallies(&self, since: Timestamp) -> Result<Vec<(String, u64)>, StoreError>;

    /// Shows other replicas that this process lives, by something that ends with it, until dropped;
    /// never returns. A store that only one process can open, and one that has no such thing, does
    /// nothing: peers then judge by the lease alone.
    async fn attend(&self, me: Incarnation) {
        let _nobody_to_show = me;
        std::future::pending::<()>().await;
    }

    /// Ends the leases of incarnations whose processes are seen to be gone ([`Store::attend`]);
    /// returns how many. To be called every half a second: what is seen once is not believed.
    async fn expire_lost(&self, me: Incarnation) -> Result<usize, StoreError> {
        let _nobody_to_look_at = me;
        Ok(0)
    }

    /// Tells the other replicas; a hint may be lost. Never waits for a write.
    async fn tell(&self, me: Incarnation, news: &[News]) -> Result<(), StoreError> {
        let _nobody_to_tell = (me, news);
        Ok(())
    }

    /// Waits for what other replicas tell; for ever where there are none. One caller at a time.
    async fn hear(&self) -> Result<Heard, StoreError> {
        std::future::pending().await
    }

    /// Ends the store's connections.
    async fn close(&self);
}
