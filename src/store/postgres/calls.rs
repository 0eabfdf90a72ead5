//! The calls of the store, each handed to the file that has its statements.

use std::time::Duration;

use async_trait::async_trait;

use crate::model::{Epoch, Incarnation, Json, Namespace, Seq, ThreadId, Timestamp};
use crate::store::{
    Claimed, Heard, InterventionCounts, InterventionFilter, InterventionRow, Message, News, Posted,
    Records, Recovery, RecoveryCount, RecoveryEnd, Snapshot, Standing, Store, StoreError,
    ThreadFilter, ThreadRow, Traits, WorkflowRow, Write, WriteOutcome,
};

use super::PostgresStore;
use super::fault::answer;
use super::settings::WRITERS;

#[async_trait]
impl Store for PostgresStore {
    fn traits(&self) -> Traits {
        let writers = usize::try_from(WRITERS).unwrap_or(1);
        Traits { backend: "postgres", durable: true, writers }
    }

    async fn ping(&self) -> Result<(), StoreError> {
        answer::<_, StoreError>(sqlx::query("SELECT 1").execute(&self.general)).await?;
        Ok(())
    }

    async fn register(&self, name: &str, ttl: Duration) -> Result<Incarnation, StoreError> {
        self.do_register(name, ttl).await
    }

    async fn renew(&self, me: Incarnation, ttl: Duration) -> Result<bool, StoreError> {
        self.do_renew(me, ttl).await
    }

    async fn retire(&self, me: Incarnation) -> Result<(), StoreError> {
        self.do_retire(me).await
    }

    async fn claim(&self, me: Incarnation, limit: usize) -> Result<Vec<Claimed>, StoreError> {
        self.do_claim(me, limit).await
    }

    async fn owned(&self, me: Incarnation) -> Result<Vec<Claimed>, StoreError> {
        self.do_owned(me).await
    }

    async fn next_wake(&self) -> Result<Option<Timestamp>, StoreError> {
        self.do_next_wake().await
    }

    async fn queued(&self, limit: usize) -> Result<usize, StoreError> {
        self.do_queued(limit).await
    }

    async fn write(
        &self,
        me: Incarnation,
        batch: &[Write],
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        self.do_write(me, batch).await
    }

    async fn wrote(&self, thread: &ThreadId, prev: Seq, epoch: Epoch) -> Result<bool, StoreError> {
        self.do_wrote(thread, prev, epoch).await
    }

    async fn read(
        &self,
        thread: &ThreadId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Records>, StoreError> {
        self.do_read(thread, after, limit).await
    }

    async fn heads(&self, threads: &[ThreadId]) -> Result<Vec<(ThreadId, Seq)>, StoreError> {
        self.do_heads(threads).await
    }

    async fn thread(&self, thread: &ThreadId) -> Result<Option<ThreadRow>, StoreError> {
        self.do_thread(thread).await
    }

    async fn threads(
        &self,
        filter: &ThreadFilter,
        limit: usize,
    ) -> Result<Vec<ThreadRow>, StoreError> {
        self.do_threads(filter, limit).await
    }

    async fn owner(&self, thread: &ThreadId) -> Result<Option<String>, StoreError> {
        self.do_owner(thread).await
    }

    async fn standing(&self, thread: &ThreadId) -> Result<Option<Standing>, StoreError> {
        self.do_standing(thread).await
    }

    async fn by_idempotency_key(
        &self,
        key: &str,
    ) -> Result<Option<(ThreadId, String)>, StoreError> {
        self.do_by_idempotency_key(key).await
    }

    async fn delete(&self, thread: &ThreadId, head: Option<Seq>) -> Result<bool, StoreError> {
        self.do_delete(thread, head).await
    }

    async fn expire(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.do_expire(before, limit).await
    }

    async fn post(&self, thread: &ThreadId, message: &Message) -> Result<Posted, StoreError> {
        self.do_post(thread, message, &self.general).await
    }

    async fn post_apart(&self, thread: &ThreadId, message: &Message) -> Result<Posted, StoreError> {
        self.do_post(thread, message, &self.leases).await
    }

    async fn inbox(&self, thread: &ThreadId) -> Result<Vec<Message>, StoreError> {
        self.do_inbox(thread).await
    }

    async fn inbox_of(&self, thread: &ThreadId, kind: &str) -> Result<Vec<Message>, StoreError> {
        self.do_inbox_of(thread, kind).await
    }

    async fn mail(&self, me: Incarnation) -> Result<Vec<ThreadId>, StoreError> {
        self.do_mail(me).await
    }

    async fn answer(&self, thread: &ThreadId, key: &str) -> Result<Option<Json>, StoreError> {
        self.do_answer(thread, key).await
    }

    async fn definition(&self, hash: &str) -> Result<Option<String>, StoreError> {
        self.do_definition(hash).await
    }

    async fn save_workflow(
        &self,
        name: &str,
        hash: &str,
        text: &str,
        now: Timestamp,
    ) -> Result<(WorkflowRow, bool), StoreError> {
        self.do_save_workflow(name, (hash, text), now).await
    }

    async fn workflow(
        &self,
        name: &str,
        version: Option<u32>,
    ) -> Result<Option<WorkflowRow>, StoreError> {
        self.do_workflow(name, version).await
    }

    async fn workflows(
        &self,
        namespace: &Namespace,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<WorkflowRow>, StoreError> {
        self.do_workflows(namespace, after, limit).await
    }

    async fn durations(
        &self,
        namespace: &Namespace,
        workflow: &str,
        limit: usize,
    ) -> Result<Vec<u64>, StoreError> {
        self.do_durations(namespace, workflow, limit).await
    }

    async fn shared_secret(&self, name: &str, candidate: [u8; 32]) -> Result<[u8; 32], StoreError> {
        self.do_shared_secret(name, candidate).await
    }

    async fn save_snapshot(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        self.do_save_snapshot(snapshot).await
    }

    async fn snapshot(
        &self,
        thread: &ThreadId,
        until: Option<Seq>,
    ) -> Result<Option<Snapshot>, StoreError> {
        self.do_snapshot(thread, until).await
    }

    async fn begin_recoveries(&self, recoveries: &[Recovery]) -> Result<(), StoreError> {
        self.do_begin_recoveries(recoveries).await
    }

    async fn end_recovery(
        &self,
        thread: &ThreadId,
        epoch: Epoch,
        end: &RecoveryEnd,
    ) -> Result<(), StoreError> {
        self.do_end_recovery(thread, epoch, end).await
    }

    async fn recoveries(
        &self,
        thread: &ThreadId,
        before: Option<Epoch>,
        limit: usize,
    ) -> Result<Vec<Recovery>, StoreError> {
        self.do_recoveries(thread, before, limit).await
    }

    async fn recovery_counts(
        &self,
        namespace: &Namespace,
        since: Timestamp,
    ) -> Result<Vec<RecoveryCount>, StoreError> {
        self.do_recovery_counts(namespace, since).await
    }

    async fn intervention(&self, id: &str) -> Result<Option<InterventionRow>, StoreError> {
        self.do_intervention(id).await
    }

    async fn interventions(
        &self,
        filter: &InterventionFilter,
        limit: usize,
    ) -> Result<Vec<InterventionRow>, StoreError> {
        self.do_interventions(filter, limit).await
    }

    async fn intervention_counts(
        &self,
        namespace: &Namespace,
    ) -> Result<InterventionCounts, StoreError> {
        self.do_intervention_counts(namespace).await
    }

    async fn add_tallies(
        &self,
        at: Timestamp,
        tallies: &[(String, u64)],
    ) -> Result<(), StoreError> {
        self.do_add_tallies(at, tallies).await
    }

    async fn tallies(&self, since: Timestamp) -> Result<Vec<(String, u64)>, StoreError> {
        self.do_tallies(since).await
    }

    async fn attend(&self, me: Incarnation) {
        self.do_attend(me).await;
    }

    async fn expire_lost(&self, me: Incarnation) -> Result<usize, StoreError> {
        self.do_expire_lost(me).await
    }

    async fn tell(&self, me: Incarnation, news: &[News]) -> Result<(), StoreError> {
        self.do_tell(me, news).await
    }

    async fn hear(&self) -> Result<Heard, StoreError> {
        self.do_hear().await
    }

    async fn close(&self) {
        self.stop_hearing();
        if let Some(hints) = &self.hints {
            hints.close().await;
        }
        self.writer.close().await;
        self.general.close().await;
        self.lists.close().await;
        self.leases.close().await;
        self.door.close().await;
    }
}
