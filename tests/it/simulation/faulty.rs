//! A store of one replica that fails, dawdles and dies at every call, over one that does not.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rethread::model::{Clock, Epoch, Incarnation, Json, Seq, ThreadId, Timestamp};
use rethread::store::{
    Claimed, Message, Posted, Records, Snapshot, Store, StoreError, ThreadFilter, ThreadRow,
    Traits, WorkflowRow, Write, WriteOutcome,
};

use super::world::{Mishap, World};

/// The store as one replica sees it.
#[derive(Debug)]
pub(super) struct FaultyStore {
    pub(super) world: Arc<World>,
    pub(super) replica: usize,
}

impl FaultyStore {
    /// Performs a call, or has its mishap. `work` never awaits: it happens in one instant.
    async fn call<T>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let (latency, mishap) = self.world.mishap(self.replica, false);
        self.suffer(name, (latency, mishap), work).await
    }

    async fn suffer<T>(
        &self,
        name: &'static str,
        (latency, mishap): (Duration, Mishap),
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        if mishap != Mishap::None {
            self.world.log(|| format!("replica {}: {name}: {mishap:?}", self.replica));
        }
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        match mishap {
            Mishap::None => self.now(work).await,
            Mishap::Before | Mishap::Late(_) => Err(unavailable()),
            Mishap::After => {
                drop(self.now(work).await);
                Err(unavailable())
            }
            Mishap::SlowAfter(by) | Mishap::CutOffAfter(by) => {
                let answer = self.now(work).await;
                tokio::time::sleep(by).await;
                answer
            }
            Mishap::SlowBefore(by) | Mishap::CutOff(by) => {
                tokio::time::sleep(by).await;
                self.now(work).await
            }
            Mishap::CrashBefore => self.die().await,
            Mishap::CrashAfter => {
                drop(self.now(work).await);
                self.die().await
            }
        }
    }

    async fn die<T>(&self) -> Result<T, StoreError> {
        if self.world.crash() { std::future::pending().await } else { Err(unavailable()) }
    }

    /// Late writes of others land before whatever is done now.
    async fn now<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        for (me, batch) in self.world.due_writes() {
            self.world.log(|| format!("a write of {me} lands late"));
            self.write_now(me, &batch).await?;
        }
        work.await
    }

    /// Writes, and puts down what became of it.
    async fn write_now(
        &self,
        me: Incarnation,
        batch: &[Write],
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        let store = &self.world.store;
        let mut outcomes = Vec::new();
        for write in batch {
            let before = store.thread(write.thread_id()).await?;
            let outcome = store.write(me, std::slice::from_ref(write)).await?;
            let after = store.thread(write.thread_id()).await?;
            self.world.audit().wrote(me, write, outcome[0], (before.as_ref(), after.as_ref()));
            self.world.log(|| show(self.replica, me, write, outcome[0]));
            outcomes.extend(outcome);
        }
        Ok(outcomes)
    }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable("simulated".to_owned())
}

fn show(replica: usize, me: Incarnation, write: &Write, outcome: WriteOutcome) -> String {
    let (records, rest) = match write {
        Write::Start(start) => (Some(&start.records), format!("start {:?}", start.disposition)),
        Write::Append(append) => (
            append.records.as_ref(),
            format!("append epoch {} {:?}", append.epoch, append.disposition),
        ),
    };
    let mut text = format!("replica {replica} ({me}): {} {rest}: {outcome:?}", write.thread_id());
    for (event, seq) in records.iter().flat_map(|r| r.events.iter().zip(r.first..)) {
        let _infallible = write!(text, "\n              {seq}: {event}");
    }
    text
}

#[async_trait]
impl Store for FaultyStore {
    fn traits(&self) -> Traits {
        Traits { durable: true, ..self.world.store.traits() }
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.call("ping", self.world.store.ping()).await
    }

    async fn register(&self, name: &str, ttl: Duration) -> Result<Incarnation, StoreError> {
        let work = async {
            let me = self.world.store.register(name, ttl).await?;
            self.world.audit().leased(me, self.world.clock.monotonic() + ttl);
            self.world.log(|| format!("replica {} is {me}", self.replica));
            Ok(me)
        };
        self.call("register", work).await
    }

    async fn renew(&self, me: Incarnation, ttl: Duration) -> Result<bool, StoreError> {
        let work = async {
            let renewed = self.world.store.renew(me, ttl).await?;
            if renewed {
                self.world.audit().leased(me, self.world.clock.monotonic() + ttl);
            }
            Ok(renewed)
        };
        self.call("renew", work).await
    }

    async fn retire(&self, me: Incarnation) -> Result<(), StoreError> {
        let work = async {
            self.world.audit().retired(me);
            self.world.store.retire(me).await
        };
        self.call("retire", work).await
    }

    async fn claim(&self, me: Incarnation, limit: usize) -> Result<Vec<Claimed>, StoreError> {
        let work = async {
            let claimed = self.world.store.claim(me, limit).await?;
            let now = self.world.clock.monotonic();
            self.world.audit().claimed(me, &claimed, now);
            if !claimed.is_empty() {
                self.world.log(|| format!("replica {} claims {claimed:?}", self.replica));
            }
            Ok(claimed)
        };
        self.call("claim", work).await
    }

    async fn owned(&self, me: Incarnation) -> Result<Vec<Claimed>, StoreError> {
        self.call("owned", self.world.store.owned(me)).await
    }

    async fn next_wake(&self) -> Result<Option<Timestamp>, StoreError> {
        self.call("next_wake", self.world.store.next_wake()).await
    }

    async fn queued(&self, limit: usize) -> Result<usize, StoreError> {
        self.call("queued", self.world.store.queued(limit)).await
    }

    async fn write(
        &self,
        me: Incarnation,
        batch: &[Write],
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        let (latency, mishap) = self.world.mishap(self.replica, true);
        if let Mishap::Late(by) = mishap {
            self.world.lands_late(latency + by, me, batch.to_vec());
        }
        self.suffer("write", (latency, mishap), self.write_now(me, batch)).await
    }

    async fn wrote(&self, thread: &ThreadId, prev: Seq, epoch: Epoch) -> Result<bool, StoreError> {
        self.call("wrote", self.world.store.wrote(thread, prev, epoch)).await
    }

    async fn read(
        &self,
        thread: &ThreadId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Records>, StoreError> {
        self.call("read", self.world.store.read(thread, after, limit)).await
    }

    async fn heads(&self, threads: &[ThreadId]) -> Result<Vec<(ThreadId, Seq)>, StoreError> {
        self.call("heads", self.world.store.heads(threads)).await
    }

    async fn thread(&self, thread: &ThreadId) -> Result<Option<ThreadRow>, StoreError> {
        self.call("thread", self.world.store.thread(thread)).await
    }

    async fn threads(
        &self,
        filter: &ThreadFilter,
        limit: usize,
    ) -> Result<Vec<ThreadRow>, StoreError> {
        self.call("threads", self.world.store.threads(filter, limit)).await
    }

    async fn owner(&self, thread: &ThreadId) -> Result<Option<String>, StoreError> {
        self.call("owner", self.world.store.owner(thread)).await
    }

    async fn by_idempotency_key(
        &self,
        key: &str,
    ) -> Result<Option<(ThreadId, String)>, StoreError> {
        self.call("by_idempotency_key", self.world.store.by_idempotency_key(key)).await
    }

    async fn delete(&self, thread: &ThreadId) -> Result<bool, StoreError> {
        self.call("delete", self.world.store.delete(thread)).await
    }

    async fn expire(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.call("expire", self.world.store.expire(before, limit)).await
    }

    async fn post(&self, thread: &ThreadId, message: &Message) -> Result<Posted, StoreError> {
        self.call("post", self.world.store.post(thread, message)).await
    }

    async fn inbox(&self, thread: &ThreadId) -> Result<Vec<Message>, StoreError> {
        self.call("inbox", self.world.store.inbox(thread)).await
    }

    async fn mail(&self, me: Incarnation) -> Result<Vec<ThreadId>, StoreError> {
        self.call("mail", self.world.store.mail(me)).await
    }

    async fn answer(&self, thread: &ThreadId, key: &str) -> Result<Option<Json>, StoreError> {
        self.call("answer", self.world.store.answer(thread, key)).await
    }

    async fn definition(&self, hash: &str) -> Result<Option<String>, StoreError> {
        self.call("definition", self.world.store.definition(hash)).await
    }

    async fn save_workflow(
        &self,
        name: &str,
        hash: &str,
        text: &str,
        now: Timestamp,
    ) -> Result<(WorkflowRow, bool), StoreError> {
        let work = self.world.store.save_workflow(name, hash, text, now);
        self.call("save_workflow", work).await
    }

    async fn workflow(
        &self,
        name: &str,
        version: Option<u32>,
    ) -> Result<Option<WorkflowRow>, StoreError> {
        self.call("workflow", self.world.store.workflow(name, version)).await
    }

    async fn workflows(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<WorkflowRow>, StoreError> {
        self.call("workflows", self.world.store.workflows(after, limit)).await
    }

    async fn durations(&self, workflow: &str, limit: usize) -> Result<Vec<u64>, StoreError> {
        self.call("durations", self.world.store.durations(workflow, limit)).await
    }

    async fn shared_secret(&self, name: &str, candidate: [u8; 32]) -> Result<[u8; 32], StoreError> {
        self.call("shared_secret", self.world.store.shared_secret(name, candidate)).await
    }

    async fn save_snapshot(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        self.call("save_snapshot", self.world.store.save_snapshot(snapshot)).await
    }

    async fn snapshot(
        &self,
        thread: &ThreadId,
        until: Option<Seq>,
    ) -> Result<Option<Snapshot>, StoreError> {
        self.call("snapshot", self.world.store.snapshot(thread, until)).await
    }

    async fn close(&self) {}
}
