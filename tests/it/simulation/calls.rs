//! The calls of a faulty store, noun by noun.

use std::time::Duration;

use async_trait::async_trait;
use rethread::model::{Clock, Epoch, Incarnation, Json, Namespace, Seq, ThreadId, Timestamp};
use rethread::store::{
    Advanced, AuditFilter, AuditRow, Audits, Claimed, Death, Definitions, Hint, Hints, Inbox,
    InterventionCounts, InterventionFilter, InterventionRow, Interventions, Journal, Leases,
    Message, Notice, NoticeCount, Notices, NotificationRow, Ownership, Posted, Presence, Received,
    Records, Recoveries, Recovery, RecoveryCount, RecoveryEnd, Retention, Snapshot, Snapshots,
    Store, StoreError, StoreInfo, SuspectRow, Suspects, Tallies, ThreadFilter, ThreadRow, Threads,
    Wanted, WorkflowRow, Write, WriteOutcome,
};

use crate::support::delegate::delegate;

use super::faulty::FaultyStore;
use super::hints::Listened;
use super::weather::Mishap;

// These need no more than a mishap.
delegate! { FaultyStore, call: Threads, Retention, Inbox, Definitions, Suspects, Interventions, Tallies }

// A simulation has no subscriptions, and nothing in it reads the audit list.
delegate! { FaultyStore, pass: Audits, Notices }

#[async_trait]
impl Store for FaultyStore {
    fn info(&self) -> StoreInfo {
        StoreInfo { durable: true, ..self.world.store.info() }
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.call("ping", self.world.store.ping()).await
    }

    async fn shared_secret(&self, name: &str, candidate: [u8; 32]) -> Result<[u8; 32], StoreError> {
        self.call("shared_secret", self.world.store.shared_secret(name, candidate)).await
    }

    async fn close(&self) {}
}

#[async_trait]
impl Leases for FaultyStore {
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

    async fn claim(
        &self,
        me: Incarnation,
        limit: usize,
        except: &[Namespace],
    ) -> Result<Vec<Claimed>, StoreError> {
        let work = async {
            let claimed = self.world.store.claim(me, limit, except).await?;
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
}

#[async_trait]
impl Journal for FaultyStore {
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
}

#[async_trait]
impl Snapshots for FaultyStore {
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
}

#[async_trait]
impl Recoveries for FaultyStore {
    async fn begin_recoveries(&self, recoveries: &[Recovery]) -> Result<(), StoreError> {
        // Unrecorded until the call is seen to happen.
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
}

#[async_trait]
impl Presence for FaultyStore {
    async fn announce_presence(&self, me: Incarnation) {
        let _shown = self.world.hints.announce_presence(me, &self.life);
        std::future::pending::<()>().await;
    }

    async fn expire_lost(&self, me: Incarnation) -> Result<usize, StoreError> {
        if !self.world.hints.are_received {
            return Ok(0);
        }
        let work = async {
            let calm = self.world.clock.monotonic() >= self.world.calm_from();
            let (gone, rightly) = self.world.hints.look(me, calm);
            let mut expired = 0;
            for who in gone {
                // A lease of no duration has expired.
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
}

#[async_trait]
impl Hints for FaultyStore {
    async fn publish(&self, me: Incarnation, hints: &[Hint]) -> Result<(), StoreError> {
        if !self.world.hints.are_received {
            return Ok(());
        }
        let work = async {
            self.world.hints.publish(me, hints, self.world.clock.monotonic());
            Ok(())
        };
        self.call("publish", work).await
    }

    async fn receive(&self) -> Result<Received, StoreError> {
        if !self.world.hints.are_received {
            return std::future::pending().await;
        }
        let connected = self.call("receive", async { Ok(()) }).await;
        if connected.is_err() {
            self.world.hints.unsubscribe(&self.life);
        }
        connected?;
        loop {
            match self.world.hints.listen(&self.life, self.world.clock.monotonic()) {
                Listened::Received(received) => {
                    return self.life.alive(async { Ok(received) }).await;
                }
                Listened::Wait(filled, None) => filled.notified().await,
                Listened::Wait(filled, Some(limit)) => {
                    drop(tokio::time::timeout(limit, filled.notified()).await);
                }
            }
        }
    }
}
