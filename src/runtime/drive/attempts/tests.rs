use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tokio::time::Instant;

use super::*;
use crate::executor::StepExecutor;
use crate::model::StepId;

const LIMIT: Duration = Duration::from_secs(30);

/// Shows `times` signs of life, `every` apart, and then ends or falls silent.
#[derive(Debug)]
struct Trickle {
    times: u32,
    every: Duration,
    ends: bool,
    dropped: AtomicBool,
}

impl Trickle {
    fn new(times: u32, every: Duration, ends: bool) -> Arc<Self> {
        Arc::new(Self { times, every, ends, dropped: AtomicBool::new(false) })
    }
}

impl Executors for Trickle {
    fn get(&self, _: &Action) -> Option<&dyn StepExecutor> {
        Some(self)
    }
}

struct Noted<'a>(&'a AtomicBool);

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl StepExecutor for Trickle {
    async fn execute(&self, attempt: Attempt) -> Result<Json, AttemptError> {
        let _noted = Noted(&self.dropped);
        for _ in 0..self.times {
            tokio::time::sleep(self.every).await;
            attempt.pulse.beat();
        }
        if !self.ends {
            std::future::pending::<()>().await;
        }
        Ok(Json::null())
    }
}

/// Performs an attempt to its end; returns its reports and how long it took.
async fn perform(executors: &Arc<Trickle>, bounds: Bounds) -> (Vec<Report>, Duration) {
    let (sender, mut inbox) = mpsc::channel(8);
    let run = Run {
        held: (Room::boundless(), None),
        _watch: None,
        executors: Arc::<Trickle>::clone(executors),
        gate: None,
        timeout: bounds.timeout,
        warn_after: bounds.warn_after,
        heartbeat_timeout: bounds.heartbeat_timeout,
        stale: bounds.stale,
        pulses: Arc::default(),
        sender,
        redactor: Arc::default(),
        attempt: AttemptId { step: 0.into(), work: Work::Own, number: 1 },
    };
    let attempt = Attempt {
        thread_id: ThreadId::parse("t").unwrap(),
        step_id: StepId::parse("s").unwrap(),
        number: 1,
        action: Arc::new(Action::Http),
        with: Json::null(),
        holds_secrets: false,
        traceparent: None,
        work: Work::Own,
        compensation_epoch: 0,
        pulse: Pulse::default(),
        room: Room::boundless(),
    };
    let begun = Instant::now();
    run.perform(attempt).await;
    let took = begun.elapsed();
    let mut said = Vec::new();
    while let Ok(Message::Report(Reported { report, .. })) = inbox.try_recv() {
        said.push(report);
    }
    (said, took)
}

#[derive(Debug, Default)]
struct Bounds {
    timeout: Option<Duration>,
    warn_after: Option<Duration>,
    heartbeat_timeout: Option<Duration>,
    stale: Option<(Duration, StaleAction)>,
}

#[track_caller]
fn failure(said: &[Report]) -> &Failure {
    match said {
        [Report::Failed { failure, .. }] => failure,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_trickles_for_hours_is_not_lifeless() {
    let trickle = Trickle::new(1_000, Duration::from_secs(29), true);
    let bounds = Bounds { heartbeat_timeout: Some(LIMIT), ..Bounds::default() };
    let (said, took) = perform(&trickle, bounds).await;
    assert!(matches!(said.as_slice(), [Report::Done { .. }]), "{said:?}");
    assert_eq!(took.as_secs(), 29_000);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_falls_silent_is_dropped_and_may_be_tried_again() {
    let trickle = Trickle::new(2, Duration::from_secs(20), false);
    let bounds = Bounds { heartbeat_timeout: Some(LIMIT), ..Bounds::default() };
    let (said, took) = perform(&trickle, bounds).await;
    let failure = failure(&said);
    assert_eq!(failure.code, codes::HEARTBEAT_TIMEOUT);
    assert_eq!((failure.category, failure.recoverable), (Category::Timeout, true));
    assert_eq!(failure.message, "the attempt showed no sign of life for 30000 ms");
    assert_eq!(took.as_secs(), 70);
    assert!(trickle.dropped.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn signs_of_life_do_not_put_the_timeout_off() {
    let trickle = Trickle::new(1_000, Duration::from_secs(1), true);
    let timeout = Some(Duration::from_mins(1));
    let bounds = Bounds { timeout, heartbeat_timeout: Some(LIMIT), ..Bounds::default() };
    let (said, took) = perform(&trickle, bounds).await;
    assert_eq!(failure(&said).code, codes::STEP_TIMEOUT);
    assert_eq!(took.as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_silence_is_waited_out() {
    let trickle = Trickle::new(1, Duration::from_hours(100), true);
    let (said, took) = perform(&trickle, Bounds::default()).await;
    assert!(matches!(said.as_slice(), [Report::Done { .. }]), "{said:?}");
    assert_eq!(took.as_secs(), 360_000);
}

#[tokio::test(start_paused = true)]
async fn a_warning_comes_once_and_changes_nothing() {
    let trickle = Trickle::new(100, Duration::from_secs(10), true);
    let warn_after = Some(Duration::from_secs(5));
    let bounds = Bounds { warn_after, heartbeat_timeout: Some(LIMIT), ..Bounds::default() };
    let (said, _) = perform(&trickle, bounds).await;
    assert!(matches!(said.as_slice(), [Report::Slow, Report::Done { .. }]), "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_attempt_is_reported_once_and_goes_on() {
    let trickle = Trickle::new(2, Duration::from_mins(10), true);
    let bounds = Bounds { stale: Some((LIMIT, StaleAction::Report)), ..Bounds::default() };
    let (said, took) = perform(&trickle, bounds).await;
    let [Report::Stale { silent }, Report::Done { .. }] = said.as_slice() else {
        panic!("{said:?}");
    };
    assert!(*silent >= LIMIT, "{silent:?}");
    assert_eq!(took.as_secs(), 1_200);
}

#[tokio::test(start_paused = true)]
async fn a_silent_attempt_is_cancelled_where_that_was_asked_for() {
    let trickle = Trickle::new(0, Duration::ZERO, false);
    let bounds = Bounds { stale: Some((LIMIT, StaleAction::Retry)), ..Bounds::default() };
    let (said, took) = perform(&trickle, bounds).await;
    let [Report::Stale { .. }, Report::Failed { failure, .. }] = said.as_slice() else {
        panic!("{said:?}");
    };
    assert_eq!((failure.code.as_str(), failure.recoverable), (codes::HEARTBEAT_TIMEOUT, true));
    assert_eq!(took.as_secs(), LIMIT.as_secs());
    assert!(trickle.dropped.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_with_signs_of_life_is_not_silent() {
    let trickle = Trickle::new(100, LIMIT / 2, true);
    let bounds = Bounds { stale: Some((LIMIT, StaleAction::Retry)), ..Bounds::default() };
    let (said, _) = perform(&trickle, bounds).await;
    assert!(matches!(said.as_slice(), [Report::Done { .. }]), "{said:?}");
}
