//! A store of one replica that fails, delays and dies at every call, over a store that does not.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use rethread::model::{Incarnation, ThreadId};
use rethread::store::{
    Claimed, InterventionFilter, Interventions as _, Journal as _, Loss, MemoryStore, StoreError,
    Threads as _, Write, WriteOutcome,
};

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
    pub(super) fn wrapped(&self) -> &MemoryStore {
        &self.world.store
    }

    /// Performs a call that has no mishaps.
    pub(super) async fn pass<T>(&self, _: &'static str, work: impl Future<Output = T> + Send) -> T {
        work.await
    }

    /// Performs a call, or has its mishap. `work` never awaits: it happens in one instant.
    pub(super) async fn call<T>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let mishap = self.world.mishap(self.life.replica, name);
        self.suffer(name, mishap, work).await
    }

    pub(super) async fn suffer<T>(
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

    /// Adds how the replica was lost, if others have seen it gone.
    pub(super) fn with_loss(&self, claimed: Claimed) -> Claimed {
        let seen = self.world.hints.was_seen_gone(claimed.previous_owner);
        let lost = if seen { Some(Loss::SessionEnded) } else { claimed.lost };
        Claimed { lost, ..claimed }
    }

    async fn die<T>(&self) -> Result<T, StoreError> {
        if self.world.crash(&self.life) { std::future::pending().await } else { Err(unavailable()) }
    }

    /// Lets the late writes of others land before the present call.
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

    /// Writes, and records the outcome.
    pub(super) async fn write_now(
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
    /// Checks, after every write, that the index of interventions agrees with the journal.
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
