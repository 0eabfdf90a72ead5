//! The store that several replicas share.
//!
//! Every call is one autocommitted statement on a pool of its purpose: a dropped future leaves no
//! transaction behind, and no call holds one connection while it waits for another. [`intake`] alone
//! needs a transaction, and has a connection of its own for it; behind a pooler [`pool`] makes each
//! call one. Statements name the schema themselves and need no session state. Notifications, which
//! take a lock on all commits of the database, are sent by [`news`] alone, on a connection of their
//! own; only it and [`session`] keep a connection with state.

mod appends;
mod archive;
mod audit;
mod fault;
mod history;
mod intake;
mod leases;
mod mail;
mod migrate;
mod news;
mod notices;
mod pool;
mod reads;
mod retention;
mod session;
mod settings;
mod sqlstate;
mod starts;
mod steps;
mod workflows;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use crate::model::{Epoch, Incarnation, Json, Namespace, Seq, ThreadId, Timestamp};

use super::{
    Claimed, Heard, InterventionCounts, InterventionFilter, InterventionRow, Message,
    MigrationState, News, OpenError, Posted, Records, Recovery, RecoveryCount, RecoveryEnd,
    Snapshot, Standing, Store, StoreError, ThreadFilter, ThreadRow, Traits, WorkflowRow, Write,
    WriteOutcome,
};
use fault::answer;
use intake::Door;
use migrate::Goal;
use pool::Pool;
use settings::{Schema, Target, WRITERS};
use starts::Extent;

pub use settings::PostgresSettings;

/// A store in Postgres; cheap to clone.
#[derive(Debug, Clone)]
pub struct PostgresStore {
    target: Arc<Target>,
    statements: Statements,
    writer: Pool,
    general: Pool,
    leases: Pool,
    /// For notifications; `None` behind a pooler, which leaves no session to listen or to be seen.
    hints: Option<Pool>,
    ear: Arc<news::Ear>,
    missed: Arc<session::Missed>,
    door: Door,
}

/// The long statements, with the schema filled in once.
#[derive(Debug, Clone)]
struct Statements {
    append: SqlStr,
    append_taking: SqlStr,
    start: SqlStr,
    start_telling: SqlStr,
    start_history: SqlStr,
    claim: SqlStr,
}

impl Statements {
    fn of(schema: &Schema) -> Self {
        let shared =
            |text: &str| AssertSqlSafe(Arc::<str>::from(schema.sql(text).0)).into_sql_str();
        Self {
            append: shared(&appends::statement(false)),
            append_taking: shared(&appends::statement(true)),
            start: shared(&starts::statement(Extent::Plain)),
            start_telling: shared(&starts::statement(Extent::Telling)),
            start_history: shared(&starts::statement(Extent::History)),
            claim: shared(&leases::claim_statement()),
        }
    }
}

impl PostgresStore {
    /// Connects and brings the schema up to date. Several replicas may do so at once.
    pub async fn connect(settings: &PostgresSettings) -> Result<Self, OpenError> {
        let target = Target::parse(settings)?;
        migrate::migrate(&target, Goal::Up).await?;
        Ok(Self::over(target))
    }

    /// Connects to a database that has the schema this server knows, and changes nothing there.
    pub async fn inspect(settings: &PostgresSettings) -> Result<Self, OpenError> {
        let target = Target::parse(settings)?;
        migrate::require_current(&target).await?;
        Ok(Self::over(target))
    }

    fn over(target: Target) -> Self {
        Self {
            statements: Statements::of(&target.schema),
            writer: target.writers(),
            general: target.general(),
            leases: target.leases(),
            hints: target.hints(),
            ear: Arc::default(),
            missed: Arc::default(),
            door: Door::new(target.options()),
            target: Arc::new(target),
        }
    }

    /// Applies the migrations that are missing.
    pub async fn migrate_up(settings: &PostgresSettings) -> Result<(), OpenError> {
        migrate::migrate(&Target::parse(settings)?, Goal::Up).await
    }

    /// Undoes the migrations after version `to`; 0 undoes all, with all data.
    pub async fn migrate_down(settings: &PostgresSettings, to: i64) -> Result<(), OpenError> {
        migrate::migrate(&Target::parse(settings)?, Goal::Down(to)).await
    }

    /// Every known migration and whether the database has it.
    pub async fn migration_status(
        settings: &PostgresSettings,
    ) -> Result<Vec<MigrationState>, OpenError> {
        migrate::status(&Target::parse(settings)?).await
    }

    fn sql(&self, text: &str) -> AssertSqlSafe<String> {
        self.target.schema.sql(text)
    }
}

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
        self.leases.close().await;
        self.door.close().await;
    }
}
