use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;
use uuid::Uuid;

use super::*;

/// A clock on tokio's paused time, which only timers move.
#[derive(Debug)]
struct Paused(Instant);

impl Clock for Paused {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000).plus(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        // Away from zero, because a moment before the start cannot be represented.
        Duration::from_secs(1_000) + self.0.elapsed()
    }
}

/// A source of randomness that always draws this many thousandths.
#[derive(Debug, Default)]
struct Drawn(AtomicU64);

impl Entropy for Drawn {
    fn uuid(&self, _now: Timestamp) -> Uuid {
        Uuid::nil()
    }

    fn unit(&self) -> f64 {
        f64::from(u32::try_from(self.0.load(Ordering::Relaxed)).unwrap()) / 1_000.0
    }
}

fn breakers(unit: u64) -> Arc<Breakers> {
    let clock = Arc::new(Paused(Instant::now()));
    let entropy = Arc::new(Drawn(AtomicU64::new(unit)));
    Arc::new(Breakers::new(clock, entropy, Arc::new(Metrics::new())))
}

fn aim(key: &str) -> Aim {
    aim_at(called(&Namespace::default(), key), BreakerPolicy::default())
}

fn called(namespace: &Namespace, key: &str) -> Target {
    Target::Called(namespace.clone(), key.to_owned())
}

fn aim_at(target: Target, policy: BreakerPolicy) -> Aim {
    Aim::new(CircuitId { target, policy }, &RetryPolicy::default())
}

fn failure(category: Category) -> Result<Json, AttemptError> {
    Err(Failure::recoverable("e", category, "no").into())
}

async fn fail(breakers: &Arc<Breakers>, key: &str, times: usize) {
    for _ in 0..times {
        breakers.enter(aim(key)).await.unwrap().end(&failure(Category::External));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_waits_for_the_half_open_moment_and_is_spread_behind_it() {
    for (unit, wait) in [(0, 60_002), (500, 62_502), (999, 64_997)] {
        let breakers = breakers(unit);
        fail(&breakers, "h:1", 5).await;
        let refused = breakers.enter(aim("h:1")).await.unwrap_err();
        let failure = &refused.failure;
        assert_eq!(failure.code, codes::CIRCUIT_OPEN);
        assert_eq!((failure.category, failure.recoverable), (Category::External, true));
        assert_eq!(refused.retry_after.unwrap().as_millis(), wait);
        assert_eq!(breakers.metrics.circuits.refusals.get(), 1);
        // Another target is not affected.
        assert!(breakers.enter(aim("h:2")).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_during_a_probe_waits_for_its_outcome() {
    for (outcome, passes) in [(Ok(Json::null()), true), (failure(Category::Timeout), false)] {
        let breakers = breakers(0);
        fail(&breakers, "h:1", 5).await;
        tokio::time::sleep(Duration::from_mins(1)).await;
        let probe = breakers.enter(aim("h:1")).await.unwrap();
        let ended = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            probe.end(&outcome);
        };
        let begun = Instant::now();
        let ((), other) = tokio::join!(ended, breakers.enter(aim("h:1")));
        assert_eq!(other.is_ok(), passes);
        assert_eq!(begun.elapsed().as_secs(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_takes_long_is_not_waited_for() {
    let breakers = breakers(0);
    fail(&breakers, "h:1", 5).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    let probe = breakers.enter(aim("h:1")).await.unwrap();
    let begun = Instant::now();
    let refused = breakers.enter(aim("h:1")).await.unwrap_err();
    assert_eq!(begun.elapsed().as_secs(), SHORT_WAIT.as_secs());
    assert!(refused.retry_after.unwrap() > Duration::from_secs(50));
    // A dropped probe gives its place back.
    drop(probe);
    assert!(breakers.enter(aim("h:1")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_target_that_asks_for_it_cools_down_within_the_steps_own_patience() {
    let asks = |seconds| {
        let failure = Failure::recoverable(codes::HTTP_STATUS, Category::External, "503");
        Err(AttemptError { failure, retry_after: Some(Duration::from_secs(seconds)) })
    };
    let breakers = breakers(0);
    breakers.enter(aim("h:1")).await.unwrap().end(&asks(20));
    let refused = breakers.enter(aim("h:1")).await.unwrap_err();
    assert_eq!(refused.retry_after.unwrap().as_millis(), 20_002);
    // A step with a patience of one second waits for that, and loses no attempt.
    let hasty = Aim { patience: Duration::from_secs(1), ..aim("h:1") };
    let begun = Instant::now();
    assert!(breakers.enter(hasty).await.is_ok());
    assert_eq!(begun.elapsed().as_secs(), 1);
    // A target that only says that there are too many requests is left alone for the step's first
    // delay.
    breakers.enter(aim("h:2")).await.unwrap().end(&failure(Category::RateLimit));
    let begun = Instant::now();
    assert!(breakers.enter(aim("h:2")).await.is_ok());
    assert_eq!(begun.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn only_so_many_targets_are_kept_and_the_open_ones_longest() {
    let breakers = breakers(0);
    fail(&breakers, "open", 5).await;
    assert_eq!(breakers.metrics.circuits.open.get(), 1);
    for number in 0..MAX_CIRCUITS + 50 {
        drop(breakers.enter(aim(&format!("h:{number}"))).await.unwrap());
    }
    let known = breakers.circuits().by_id.len();
    assert_eq!(known, MAX_CIRCUITS);
    let report = breakers.report(&Namespace::default());
    assert_eq!((report.len(), report[0].key.as_str(), report[0].state), (100, "open", "open"));
    assert_eq!(report[0].failures, 5);
    let opened = report[0].opened_at.unwrap();
    assert_eq!(report[0].retry_at, Some(opened.plus(Duration::from_mins(1))));
    assert!(breakers.look(&aim("h:0").circuit).is_none());
    for number in 0..MAX_CIRCUITS {
        fail(&breakers, &format!("o:{number}"), 5).await;
    }
    assert_eq!(breakers.circuits().by_id.len(), MAX_CIRCUITS);
    assert_eq!(breakers.metrics.circuits.open.get(), i64::try_from(MAX_CIRCUITS).unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_made_up_key_and_a_threshold_of_its_own_open_no_circuit_of_others() {
    let hair_trigger =
        BreakerPolicy { failure_threshold: 1, reset_timeout: Duration::from_hours(24) };
    let other = Namespace::parse("other").unwrap();
    let named = |namespace| Target::Named(namespace, "h:1".to_owned());
    let breakers = breakers(0);
    for (target, policy) in [
        (named(Namespace::default()), hair_trigger),
        (named(Namespace::default()), BreakerPolicy::default()),
        (called(&Namespace::default(), "h:1"), hair_trigger),
    ] {
        for _ in 0..policy.failure_threshold {
            let aim = aim_at(target.clone(), policy);
            breakers.enter(aim).await.unwrap().end(&failure(Category::External));
        }
        assert!(breakers.enter(aim_at(target, policy)).await.is_err());
    }
    assert!(breakers.enter(aim("h:1")).await.is_ok());
    assert!(breakers.enter(aim_at(named(other), hair_trigger)).await.is_ok());
    let scopes: Vec<_> = breakers
        .report(&Namespace::default())
        .iter()
        .map(|it| (it.scope, it.failure_threshold))
        .collect();
    assert_eq!(
        scopes,
        [
            (CircuitScope::Target, 1),
            (CircuitScope::Key, 1),
            (CircuitScope::Key, 5),
            (CircuitScope::Target, 5)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_namespace_neither_opens_nor_cools_nor_sees_the_circuit_of_another() {
    let other = Namespace::parse("other").unwrap();
    let breakers = breakers(0);
    fail(&breakers, "h:1", 5).await;
    let slow_down = AttemptError {
        failure: Failure::recoverable(codes::HTTP_STATUS, Category::RateLimit, "429"),
        retry_after: Some(Duration::from_mins(1)),
    };
    breakers.enter(aim("h:2")).await.unwrap().end(&Err(slow_down));
    assert_eq!(breakers.report(&other), []);
    for key in ["h:1", "h:2"] {
        assert!(breakers.enter(aim(key)).await.is_err());
        let theirs = aim_at(called(&other, key), BreakerPolicy::default());
        breakers.enter(theirs).await.unwrap().end(&Ok(Json::null()));
        assert!(breakers.enter(aim(key)).await.is_err(), "their success closes nothing here");
    }
    let states = |of: &Namespace| breakers.report(of).iter().map(|it| it.state).collect::<Vec<_>>();
    assert_eq!(states(&Namespace::default()), ["open", "closed"]);
    assert_eq!(states(&other), ["closed", "closed"]);
}

#[test]
fn what_speaks_against_a_target_is_told_from_what_does_not() {
    use Category::{Configuration, External, Internal, NotFound, RateLimit, Step, Timeout};
    for (category, says) in [
        (External, Sign::Failing),
        (Timeout, Sign::Failing),
        (RateLimit, Sign::Failing),
        (Step, Sign::Failing),
        (Internal, Sign::None),
        (Configuration, Sign::None),
    ] {
        assert_eq!(sign(&failure(category)), says, "{category:?}");
    }
    let gone = Failure::permanent(codes::HTTP_STATUS, NotFound, "404");
    assert_eq!(sign(&Err(gone.into())), Sign::Alive);
    let denied = Failure::permanent(codes::EGRESS_DENIED, Configuration, "no");
    assert_eq!(sign(&Err(denied.into())), Sign::None);
    assert_eq!(sign(&Ok(Json::null())), Sign::Alive);
}
