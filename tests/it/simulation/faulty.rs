//! A store of one replica that fails, dawdles and dies at every call, over one that does not.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rethread::model::{Clock, Epoch, Incarnation, Json, Namespace, Seq, ThreadId, Timestamp};
use rethread::store::{
    Claimed, Heard, InterventionCounts, InterventionFilter, InterventionRow, Loss, Message, News,
    Posted, Records, Recovery, RecoveryCount, RecoveryEnd, Snapshot, Standing, Store, StoreError,
    ThreadFilter, ThreadRow, Traits, WorkflowRow, Write, WriteOutcome,
};

use super::hints::Listened;
use super::life::Life;
use super::weather::Mishap;
use super::world::World;

/// The store as one replica sees it.
#[derive(Debug)]
pub(super) struct FaultyStore {
    pub(super) world: Arc<World>,
    pub(super) life: Life,
}

impl FaultyStore {
    /// Performs a call, or has its mishap. `work` never awaits: it happens in one instant.
    async fn call<T>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let mishap = self.world.mishap(self.life.replica, name);
        self.suffer(name, mishap, work).await
    }

    async fn suffer<T>(
        &self,
        name: &'static str,
        (latency, mishap): (Duration, Mishap),
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        if mishap != Mishap::None && !self.life.is_over() {
            self.world.log(|| format!("replica {}: {name}: {mishap:?}", self.life.replica));
        }
        self.life.alive(self.befall((latency, mishap), work)).await
    }

    async fn befall<T>(
        &self,
        (latency, mishap): (Duration, Mishap),
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
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

    /// How its replica was lost, if others have seen it.
    fn with_loss(&self, claimed: Claimed) -> Claimed {
        let seen = self.world.hints.was_seen_gone(claimed.previous_owner);
        let lost = if seen { Some(Loss::SessionEnded) } else { claimed.lost };
        Claimed { lost, ..claimed }
    }

    async fn die<T>(&self) -> Result<T, StoreError> {
        if self.world.crash(&self.life) { std::future::pending().await } else { Err(unavailable()) }
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
            self.world.log(|| show(self.life.replica, me, write, outcome[0]));
            self.world.audit().wrote(me, write, outcome[0], (before.as_ref(), after.as_ref()));
            self.hold_index(write.thread_id()).await?;
            outcomes.extend(outcome);
        }
        Ok(outcomes)
    }
}

impl FaultyStore {
    /// The index of interventions says what the journal does, after every write.
    async fn hold_index(&self, thread: &ThreadId) -> Result<(), StoreError> {
        let Some(wanted) = self.world.audit().open_interventions(thread) else { return Ok(()) };
        let filter = InterventionFilter {
            open: Some(true),
            thread: Some(thread.clone()),
            ..InterventionFilter::default()
        };
        let rows = self.world.store.interventions(&filter, 100).await?;
        let found: Vec<String> = rows.into_iter().map(|row| row.id).collect();
        if found != wanted {
            self.world.violated(format!("{thread}: open are {wanted:?}, the index has {found:?}"));
        }
        Ok(())
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
            self.world.log(|| format!("replica {} is {me}", self.life.replica));
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
                self.world.log(|| format!("replica {} claims {claimed:?}", self.life.replica));
            }
            Ok(claimed.into_iter().map(|claimed| self.with_loss(claimed)).collect())
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
        let (latency, mishap) = self.world.mishap(self.life.replica, "write");
        if let Mishap::Late(by) = mishap
            && !self.life.is_over()
        {
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

    async fn standing(&self, thread: &ThreadId) -> Result<Option<Standing>, StoreError> {
        self.call("standing", self.world.store.standing(thread)).await
    }

    async fn by_idempotency_key(
        &self,
        key: &str,
    ) -> Result<Option<(ThreadId, String)>, StoreError> {
        self.call("by_idempotency_key", self.world.store.by_idempotency_key(key)).await
    }

    async fn delete(&self, thread: &ThreadId, head: Option<Seq>) -> Result<bool, StoreError> {
        self.call("delete", self.world.store.delete(thread, head)).await
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

    async fn inbox_of(&self, thread: &ThreadId, kind: &str) -> Result<Vec<Message>, StoreError> {
        self.call("inbox_of", self.world.store.inbox_of(thread, kind)).await
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
        namespace: &Namespace,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<WorkflowRow>, StoreError> {
        self.call("workflows", self.world.store.workflows(namespace, after, limit)).await
    }

    async fn durations(
        &self,
        namespace: &Namespace,
        workflow: &str,
        limit: usize,
    ) -> Result<Vec<u64>, StoreError> {
        self.call("durations", self.world.store.durations(namespace, workflow, limit)).await
    }

    async fn shared_secret(&self, name: &str, candidate: [u8; 32]) -> Result<[u8; 32], StoreError> {
        self.call("shared_secret", self.world.store.shared_secret(name, candidate)).await
    }

    async fn save_snapshot(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        let work = async {
            self.world.audit().snapshotted(snapshot);
            self.world.store.save_snapshot(snapshot).await
        };
        self.call("save_snapshot", work).await
    }

    async fn snapshot(
        &self,
        thread: &ThreadId,
        until: Option<Seq>,
    ) -> Result<Option<Snapshot>, StoreError> {
        let work = async {
            let mut found = self.world.store.snapshot(thread, until).await?;
            if let Some(snapshot) = &mut found
                && self.world.damages()
            {
                self.world.log(|| format!("the snapshot of {thread} is damaged"));
                snapshot.state.insert(1, ' ');
            }
            Ok(found)
        };
        self.call("snapshot", work).await
    }

    async fn begin_recoveries(&self, recoveries: &[Recovery]) -> Result<(), StoreError> {
        // Until it is seen to happen.
        self.world.audit().unrecorded(recoveries);
        let work = async {
            self.world.audit().recorded(recoveries);
            self.world.store.begin_recoveries(recoveries).await
        };
        self.call("begin_recoveries", work).await
    }

    async fn end_recovery(
        &self,
        thread: &ThreadId,
        epoch: Epoch,
        end: &RecoveryEnd,
    ) -> Result<(), StoreError> {
        self.call("end_recovery", self.world.store.end_recovery(thread, epoch, end)).await
    }

    async fn recoveries(
        &self,
        thread: &ThreadId,
        before: Option<Epoch>,
        limit: usize,
    ) -> Result<Vec<Recovery>, StoreError> {
        self.call("recoveries", self.world.store.recoveries(thread, before, limit)).await
    }

    async fn recovery_counts(
        &self,
        namespace: &Namespace,
        since: Timestamp,
    ) -> Result<Vec<RecoveryCount>, StoreError> {
        self.call("recovery_counts", self.world.store.recovery_counts(namespace, since)).await
    }

    async fn intervention(&self, id: &str) -> Result<Option<InterventionRow>, StoreError> {
        self.call("intervention", self.world.store.intervention(id)).await
    }

    async fn interventions(
        &self,
        filter: &InterventionFilter,
        limit: usize,
    ) -> Result<Vec<InterventionRow>, StoreError> {
        self.call("interventions", self.world.store.interventions(filter, limit)).await
    }

    async fn intervention_counts(
        &self,
        namespace: &Namespace,
    ) -> Result<InterventionCounts, StoreError> {
        self.call("intervention_counts", self.world.store.intervention_counts(namespace)).await
    }

    async fn add_tallies(
        &self,
        at: Timestamp,
        tallies: &[(String, u64)],
    ) -> Result<(), StoreError> {
        self.call("add_tallies", self.world.store.add_tallies(at, tallies)).await
    }

    async fn tallies(&self, since: Timestamp) -> Result<Vec<(String, u64)>, StoreError> {
        self.call("tallies", self.world.store.tallies(since)).await
    }

    async fn attend(&self, me: Incarnation) {
        let _shown = self.world.hints.attend(me, &self.life);
        std::future::pending::<()>().await;
    }

    async fn expire_lost(&self, me: Incarnation) -> Result<usize, StoreError> {
        if !self.world.hints.are_heard {
            return Ok(0);
        }
        let work = async {
            let (gone, rightly) = self.world.hints.look(me);
            let mut expired = 0;
            for who in gone {
                // A lease of no time has expired.
                if self.world.store.renew(who, Duration::ZERO).await? {
                    self.world.log(|| format!("{who} is seen to be gone: {rightly}"));
                    self.world.audit().expired(who, rightly);
                    expired += 1;
                }
            }
            Ok(expired)
        };
        self.call("expire_lost", work).await
    }

    async fn tell(&self, me: Incarnation, news: &[News]) -> Result<(), StoreError> {
        if !self.world.hints.are_heard {
            return Ok(());
        }
        let work = async {
            self.world.hints.tell(me, news, self.world.clock.monotonic());
            Ok(())
        };
        self.call("tell", work).await
    }

    async fn hear(&self) -> Result<Heard, StoreError> {
        if !self.world.hints.are_heard {
            return std::future::pending().await;
        }
        let connected = self.call("hear", async { Ok(()) }).await;
        if connected.is_err() {
            self.world.hints.deafen(&self.life);
        }
        connected?;
        loop {
            match self.world.hints.listen(&self.life, self.world.clock.monotonic()) {
                Listened::Heard(heard) => return self.life.alive(async { Ok(heard) }).await,
                Listened::Wait(filled, None) => filled.notified().await,
                Listened::Wait(filled, Some(limit)) => {
                    drop(tokio::time::timeout(limit, filled.notified()).await);
                }
            }
        }
    }

    async fn close(&self) {}
}
