//! The floor: the appends of the measured threads, committed in groups through the store alone;
//! and beneath it the bare batched insert of the same rows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rethread::app::{OsEntropy, SystemClock};
use rethread::definition::{Plan, Work};
use rethread::machine::{AttemptId, Command, DecisionContext, Report, ThreadState, decide, start};
use rethread::model::{
    Clock, Entropy, Event, Json, Pointer, ThreadId, ThreadStatus, Timeouts, Timestamp, WorkflowRef,
    WorkflowStart,
};
use rethread::store::{
    Append, Disposition, MemoryStore, PostgresSettings, PostgresStore, Records, SqliteStore, Start,
    Store, Summary, Write, WriteOutcome,
};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection, Executor};
use tokio::sync::{mpsc, oneshot};

use crate::load::{count, percentile};
use crate::server::Database;
use crate::work;

/// Appends gathered into one batch, as the server does it.
const BATCH: usize = 500;

/// What the store alone does.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Floor {
    pub(crate) threads_per_second: f64,
    pub(crate) p50_ms: f64,
}

type Job = (Write, oneshot::Sender<WriteOutcome>);

/// Keeps `in_flight` threads going for `duration`: a start and ten completions each, every one
/// awaited before the next.
pub(crate) async fn measure(
    database: &Database,
    in_flight: usize,
    duration: Duration,
) -> Result<Floor> {
    let store = open(&database.fresh("floor")).await?;
    let me = store.register("floor", Duration::from_hours(1)).await?;
    // Starts leave the definition's text out, as those of the server do but for the first.
    store.save_workflow("chain-10", &definition(), "{}", Timestamp::from_millis(0)).await?;
    let writers: Vec<_> = (0..store.info().writers)
        .map(|_| {
            let (sender, receiver) = mpsc::channel::<Job>(4_096);
            tokio::spawn(write(Arc::clone(&store), me, receiver));
            sender
        })
        .collect();
    let appends = Arc::new(appends()?);
    let began = Instant::now();
    let deadline = began + duration;
    let threads: Vec<_> = (0..in_flight)
        .map(|number| {
            let writer = writers[number % writers.len()].clone();
            tokio::spawn(one_after_another(writer, Arc::clone(&appends), deadline))
        })
        .collect();
    let mut latencies = Vec::new();
    for thread in threads {
        latencies.extend(thread.await??);
    }
    let took = began.elapsed();
    store.close().await;
    latencies.sort_unstable();
    Ok(Floor {
        threads_per_second: count(latencies.len()) / took.as_secs_f64(),
        p50_ms: percentile(&latencies, 50),
    })
}

async fn open(database: &Database) -> Result<Arc<dyn Store>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    Ok(match database {
        Database::Sqlite(path) => Arc::new(SqliteStore::open(path, clock).await?),
        Database::Postgres { url, schema } => Arc::new(
            PostgresStore::connect(&PostgresSettings {
                url: url.as_str().into(),
                schema: schema.clone(),
                pooler: false,
            })
            .await?,
        ),
        Database::Memory => Arc::new(MemoryStore::new(clock)),
    })
}

async fn write(store: Arc<dyn Store>, me: i64, mut queue: mpsc::Receiver<Job>) -> Result<()> {
    let mut jobs = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut jobs, BATCH).await > 0 {
        let (writes, replies): (Vec<_>, Vec<_>) = jobs.drain(..).unzip();
        for (reply, outcome) in replies.into_iter().zip(store.write(me, &writes).await?) {
            let _gone = reply.send(outcome);
        }
    }
    Ok(())
}

async fn one_after_another(
    writer: mpsc::Sender<Job>,
    appends: Arc<Vec<(Vec<String>, Summary)>>,
    deadline: Instant,
) -> Result<Vec<Duration>> {
    let (clock, entropy) = (SystemClock::start(), OsEntropy::new());
    let mut latencies = Vec::new();
    while Instant::now() < deadline {
        let began = Instant::now();
        let thread = ThreadId::parse(&entropy.uuid(clock.now()).to_string())?;
        let mut head = 0;
        for (number, (events, summary)) in appends.iter().enumerate() {
            let records = Records { first: head + 1, events: events.clone(), at: clock.now() };
            let prev = head;
            head = records.last();
            let write = if number == 0 {
                started(&thread, records, summary)
            } else {
                appended(&thread, prev, records, summary)
            };
            let (reply, answer) = oneshot::channel();
            writer.send((write, reply)).await.context("the writer ended")?;
            let outcome = answer.await?;
            anyhow::ensure!(matches!(outcome, WriteOutcome::Written { .. }), "{outcome:?}");
        }
        latencies.push(began.elapsed());
    }
    Ok(latencies)
}

/// The hash of the workflow's definition.
fn definition() -> String {
    "0".repeat(64)
}

fn started(thread: &ThreadId, records: Records, summary: &Summary) -> Write {
    Write::Start(Box::new(Start {
        thread_id: thread.clone(),
        workflow: "chain-10".to_owned(),
        workflow_version: None,
        definition: definition(),
        definition_text: None,
        request_hash: "0".repeat(64),
        metadata: Json::parse("{}").unwrap_or_else(|_| Json::null()),
        labels: Vec::new(),
        idempotency: None,
        records,
        more: Vec::new(),
        summary: summary.clone(),
        disposition: Disposition::Keep,
        sides: Vec::new(),
    }))
}

fn appended(thread: &ThreadId, prev: u64, records: Records, summary: &Summary) -> Write {
    let ended = summary.status == ThreadStatus::Completed;
    Write::Append(Box::new(Append {
        thread_id: thread.clone(),
        epoch: 1,
        prev,
        records: Some(records),
        summary: summary.clone(),
        progress: true,
        disposition: if ended { Disposition::Release { wake_at: None } } else { Disposition::Keep },
        sides: Vec::new(),
    }))
}

/// The very events that the server appends for the measured workflow, by the machine itself.
fn appends() -> Result<Vec<(Vec<String>, Summary)>> {
    let (clock, entropy) = (SystemClock::start(), OsEntropy::new());
    let request = work::chain(10);
    let text = Json::of(&request["workflow"])?;
    let plan =
        Plan::parse(&text, &Pointer::root()).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
    let input = Json::of(&request["input"])?;
    let thread = ThreadId::parse(&entropy.uuid(clock.now()).to_string())?;
    let (now, timeouts) = (clock.now(), Timeouts::AS_WRITTEN);
    let moment = DecisionContext {
        now,
        unit: 0.5,
        max_event: 1 << 20,
        max_thread: 1 << 30,
        may_start: true,
        timeouts,
    };
    let body = WorkflowStart {
        workflow: WorkflowRef { name: plan.name.clone(), version: None, hash: plan.hash.clone() },
        input: input.clone(),
        metadata: Json::parse("{}")?,
        by: "anonymous".to_owned(),
        queue: None,
        priority: None,
        traceparent: None,
        deadline: None,
        forked_from: None,
    };
    let (mut state, first) =
        start(thread.clone(), Arc::new(plan), body, moment).context("no start")?;
    let mut events = vec![first];
    events.extend(decide(&mut state, Command::Advance, moment)?.events);
    let mut appends = vec![encoded(&thread, &events, &state)];
    for step in state.plan.steps.places() {
        let command = Command::Attempt {
            attempt: AttemptId { step, work: Work::Own, number: 1 },
            report: Report::Done { output: input.clone(), session_id: None },
        };
        let events = decide(&mut state, command, moment)?.events;
        appends.push(encoded(&thread, &events, &state));
    }
    Ok(appends)
}

fn encoded(thread: &ThreadId, events: &[Event], state: &ThreadState) -> (Vec<String>, Summary) {
    let (completed, total) = state.progress();
    let summary = Summary {
        status: state.status,
        completed: u32::try_from(completed).unwrap_or(0),
        total: u32::try_from(total).unwrap_or(0),
        current_steps: state.current_steps(),
        stale_steps: Vec::new(),
        recoveries: 0,
        error_code: None,
        completed_at: state.completed_at,
        forked_from: None,
    };
    (events.iter().map(|event| event.encode(thread)).collect(), summary)
}

/// Rows per second of inserting the same journal rows in batches of as many as are in flight, and
/// nothing else: no thread row, no fence. `None` where there is no SQL.
pub(crate) async fn bare_inserts(
    database: &Database,
    in_flight: usize,
    duration: Duration,
) -> Result<Option<f64>> {
    let rows: Vec<String> = appends()?.into_iter().map(|(events, _)| events.join("\n")).collect();
    let url = match database {
        Database::Postgres { url, .. } => url,
        Database::Sqlite(_) => return sqlite_inserts(database, in_flight, duration, &rows).await,
        Database::Memory => return Ok(None),
    };
    let mut connection = sqlx::PgConnection::connect(url).await?;
    connection
        .execute("DROP TABLE IF EXISTS bare; CREATE TABLE bare(thread_id text, seq bigint, epoch bigint, at bigint, payload bytea, crc int, PRIMARY KEY(thread_id, seq))")
        .await?;
    let batch = in_flight.min(BATCH);
    let (began, mut inserted) = (Instant::now(), 0);
    while began.elapsed() < duration {
        let (threads, payloads) = batch_of(batch, &rows);
        let seqs: Vec<i64> = (0..i64::try_from(batch)?).collect();
        sqlx::query("INSERT INTO bare SELECT t, s, 1, 0, p, 0 FROM unnest($1::text[], $2::bigint[], $3::bytea[]) AS x(t, s, p)")
            .bind(threads)
            .bind(seqs)
            .bind(payloads)
            .execute(&mut connection)
            .await?;
        inserted += batch;
    }
    Ok(Some(count(inserted) / began.elapsed().as_secs_f64()))
}

fn batch_of(batch: usize, rows: &[String]) -> (Vec<String>, Vec<Vec<u8>>) {
    let (clock, entropy) = (SystemClock::start(), OsEntropy::new());
    let threads = (0..batch).map(|_| entropy.uuid(clock.now()).to_string()).collect();
    let payloads = (0..batch).map(|n| rows[n % rows.len()].clone().into_bytes()).collect();
    (threads, payloads)
}

async fn sqlite_inserts(
    database: &Database,
    in_flight: usize,
    duration: Duration,
    rows: &[String],
) -> Result<Option<f64>> {
    let Database::Sqlite(path) = database.fresh("bare") else { return Ok(None) };
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await?;
    connection.execute("CREATE TABLE bare(thread_id text, seq integer, epoch integer, at integer, payload blob, crc integer, PRIMARY KEY(thread_id, seq)) WITHOUT ROWID").await?;
    let batch = in_flight.min(BATCH);
    let statement = format!("INSERT INTO bare VALUES {}", vec!["(?,1,1,0,?,0)"; batch].join(","));
    let (began, mut inserted) = (Instant::now(), 0);
    while began.elapsed() < duration {
        let (threads, payloads) = batch_of(batch, rows);
        let mut query = sqlx::query(sqlx::AssertSqlSafe(statement.clone()));
        for (thread, payload) in threads.into_iter().zip(payloads) {
            query = query.bind(thread).bind(payload);
        }
        query.execute(&mut connection).await?;
        inserted += batch;
    }
    Ok(Some(count(inserted) / began.elapsed().as_secs_f64()))
}
