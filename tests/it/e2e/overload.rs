//! More work at the start than a replica can drive at once.

use std::sync::Arc;
use std::time::Duration;

use rethread::app::SystemClock;
use rethread::definition::Plan;
use rethread::machine::{DecisionContext, start};
use rethread::model::{Clock, Json, Pointer, ThreadId, Timeouts, WorkflowRef, WorkflowStart};
use rethread::store::{
    Disposition, PostgresSettings, PostgresStore, Records, SqliteStore, Start, Store, Summary,
    Write, WriteOutcome,
};
use serde_json::json;

use super::support::{Home, on_stores};

/// Threads that wait when the server starts.
const THREADS: usize = 20_000;
/// Threads written with one batch.
const BATCH: usize = 500;
/// Longest that any answer about health may take meanwhile.
const PROMPT: Duration = Duration::from_secs(1);
/// Longest that all of it may take, in a debug build on a busy machine.
const LIMIT: Duration = Duration::from_mins(3);

on_stores!([sqlite, postgres][a_mountain_of_work_is_worked_off_and_health_stays_prompt]);

async fn a_mountain_of_work_is_worked_off_and_health_stays_prompt(home: Home) {
    fill(&home).await;
    let server =
        home.launch().set("RETHREAD_LOG", "warn").set("RETHREAD_LEASE", "5s").start().await;
    let client = server.client();
    let began = tokio::time::Instant::now();
    let mut slowest = Duration::ZERO;
    loop {
        for path in ["/health/live", "/health/ready", "/health"] {
            let asked = tokio::time::Instant::now();
            client.get(path).await.expect(200);
            slowest = slowest.max(asked.elapsed());
        }
        let metrics = client.get("/metrics").await.expect(200);
        let line = "rethread_threads_finished_total{status=\"completed\"} ";
        let done = metrics.text().lines().find_map(|text| text.strip_prefix(line));
        if done.is_some_and(|done| done == THREADS.to_string()) {
            break;
        }
        assert!(began.elapsed() < LIMIT, "{done:?} of {THREADS} are done");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("{}: {THREADS} in {:?}, slowest {slowest:?}", home.store(), began.elapsed());
    assert!(slowest < PROMPT, "{slowest:?}");
    for thread in ["t0", "t9999", "t19999"] {
        assert_eq!(client.status(thread).await["output"], json!({ "a": 1 }));
    }
    let list = client.get("/threads?status=queued").await.json();
    assert_eq!(list["items"], json!([]));
}

/// Puts the threads into the store, due now.
async fn fill(home: &Home) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let store: Box<dyn Store> = if home.store() == "sqlite" {
        Box::new(SqliteStore::open(&home.file(), Arc::clone(&clock)).await.unwrap())
    } else {
        let url = home.url.clone().into();
        let settings = PostgresSettings { url, schema: "rethread".to_owned(), pooler: false };
        Box::new(PostgresStore::connect(&settings).await.unwrap())
    };
    let workflow = json!({ "name": "one", "steps": [
        { "id": "a", "kind": "transform", "with": { "jq": "1" } },
    ]});
    let plan = Plan::parse(&Json::of(&workflow).unwrap(), &Pointer::root()).unwrap();
    let plan = Arc::new(plan);
    let numbers: Vec<usize> = (0..THREADS).collect();
    for some in numbers.chunks(BATCH) {
        let now = clock.now();
        let batch: Vec<Write> = some.iter().map(|n| waiting(&plan, *n, now)).collect();
        let outcomes = store.write(0, &batch).await.unwrap();
        assert!(outcomes.iter().all(|one| matches!(one, WriteOutcome::Written { .. })));
    }
    store.close().await;
}

fn waiting(plan: &Arc<Plan>, number: usize, now: rethread::model::Timestamp) -> Write {
    let body = WorkflowStart {
        workflow: WorkflowRef { name: plan.name.clone(), version: None, hash: plan.hash.clone() },
        input: Json::null(),
        metadata: Json::parse("{}").unwrap(),
        by: "anonymous".to_owned(),
        queue: None,
        priority: None,
        traceparent: None,
        deadline: None,
        forked_from: None,
    };
    let thread = ThreadId::parse(&format!("t{number}")).unwrap();
    let moment = DecisionContext {
        now,
        unit: 0.0,
        max_event: 1 << 20,
        max_thread: 1 << 30,
        may_start: true,
        timeouts: Timeouts::AS_WRITTEN,
    };
    let (state, event) = start(thread.clone(), Arc::clone(plan), body, moment).unwrap();
    Write::Start(Box::new(Start {
        thread_id: thread.clone(),
        workflow: plan.name.clone(),
        workflow_version: None,
        definition: plan.hash.clone(),
        definition_text: Some(plan.text.clone()),
        request_hash: String::new(),
        metadata: state.metadata.clone(),
        labels: Vec::new(),
        idempotency: None,
        records: Records { first: 1, events: vec![event.encode(&thread)], at: now },
        more: Vec::new(),
        summary: Summary {
            status: state.status,
            completed: 0,
            total: 1,
            current_steps: Vec::new(),
            stale_steps: Vec::new(),
            recoveries: 0,
            error_code: None,
            completed_at: None,
            forked_from: None,
        },
        disposition: Disposition::Release { wake_at: Some(now) },
        sides: Vec::new(),
    }))
}
