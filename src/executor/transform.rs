//! The `transform` step: a jq filter over the filled-in value of its `with`.
//!
//! A filter has no effects and always ends the same way, so its failures are never retried; one that
//! finds no thread to run on is.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use super::apart::on_a_thread;
use super::places::Places;
use super::text::{excerpt, too_large};
use super::{Attempt, AttemptError, Redactor, StepExecutor};
use crate::definition::{Action, Filter, FilterError, FilterLimits};
use crate::model::{Category, Failure, Json, codes};
use crate::observe::{Memory, Pool};

/// The number of filters that run on threads of their own at once, if the memory for steps has room
/// for as many ([`FilterLimits::memory`]). Each may keep a core busy for a second; further ones
/// wait their turn, and no namespace has all of them.
const MAX_LONG_RUNS: usize = 4;

/// The largest number of characters of a filter's own error that a message repeats.
const MAX_ERROR_CHARS: usize = 1000;

/// Performs `transform` steps.
#[derive(Debug)]
pub(super) struct TransformExecutor {
    max_output_bytes: usize,
    long_runs: Places,
    memory: Arc<Memory>,
    redactor: Arc<Redactor>,
}

#[async_trait]
impl StepExecutor for TransformExecutor {
    async fn execute(&self, attempt: Attempt) -> Result<Json, AttemptError> {
        let Some(filter) = filter_of(&attempt.action) else {
            return Err(internal("an action that is no transform was given to its executor").into());
        };
        let told = match filter.run_inline(&attempt.with, self.limits()) {
            Some(told) => told,
            None => self.run_apart(attempt, self.limits()).await?,
        };
        self.output(told)
    }

    fn execute_now(&self, attempt: &Attempt) -> Option<Result<Json, AttemptError>> {
        let filter = filter_of(&attempt.action)?;
        Some(self.output(filter.run_inline(&attempt.with, self.limits())?))
    }
}

impl TransformExecutor {
    /// Makes the executor.
    pub(super) fn new(
        max_output_bytes: usize,
        memory: Arc<Memory>,
        redactor: Arc<Redactor>,
    ) -> Self {
        let each = FilterLimits { max_output_bytes }.memory();
        let fit = memory.share(Pool::Attempts) / each;
        let long_runs = Places::new(fit.clamp(1, MAX_LONG_RUNS));
        Self { max_output_bytes, long_runs, memory, redactor }
    }

    const fn limits(&self) -> FilterLimits {
        FilterLimits { max_output_bytes: self.max_output_bytes }
    }

    fn output(&self, told: Result<Json, FilterError>) -> Result<Json, AttemptError> {
        let output = told.map_err(|error| failure(&error, &self.redactor))?;
        if output.as_str().len() > self.max_output_bytes {
            return Err(too_large("the output", self.max_output_bytes).into());
        }
        Ok(output)
    }

    /// Runs a filter where blocking does no harm, not even to other blocking work. If the attempt is dropped the run ends within
    /// milliseconds, and keeps its place until then.
    async fn run_apart(
        &self,
        attempt: Attempt,
        limits: FilterLimits,
    ) -> Result<Result<Json, FilterError>, Failure> {
        let turn = self.long_runs.take(&attempt.thread_id.namespace()).await;
        let turn = turn.map_err(|_| internal("no filter can be run any more"))?;
        let held = self.memory.note(Pool::Attempts, limits.memory());
        let wanted = Wanted::default();
        let unwanted = Arc::clone(&wanted.unwanted);
        let run = move || {
            let (_turn, _held) = (turn, held);
            filter_of(&attempt.action).map(|filter| filter.run(&attempt.with, limits, &unwanted))
        };
        let told = on_a_thread("filter", run).await.map_err(|fault| not_run(&fault))?;
        told.ok_or_else(|| internal("the interpreter of filters failed"))
    }
}

/// A mark that a result is wanted, until this is dropped.
#[derive(Debug, Default)]
struct Wanted {
    unwanted: Arc<AtomicBool>,
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.unwanted.store(true, Ordering::Relaxed);
    }
}

fn filter_of(action: &Action) -> Option<&Filter> {
    let Action::Transform { filter } = action else { return None };
    Some(filter)
}

fn failure(error: &FilterError, redactor: &Redactor) -> Failure {
    let message = excerpt(&redactor.redact(&error.to_string()), MAX_ERROR_CHARS);
    match error {
        FilterError::TooLarge => {
            Failure::permanent(codes::PAYLOAD_TOO_LARGE, Category::Resource, message)
        }
        FilterError::Input(_)
        | FilterError::Failed(_)
        | FilterError::TooLong
        | FilterError::TooDeep => Failure::permanent(codes::JQ_FAILED, Category::Step, message),
        FilterError::NoThread(_) => {
            Failure::recoverable(codes::OVERLOADED, Category::Resource, message)
        }
    }
}

/// The failure of a filter whose thread was not started, or whose interpreter broke off.
fn not_run(fault: &io::Error) -> Failure {
    if fault.kind() == io::ErrorKind::Other {
        return internal("the interpreter of filters failed");
    }
    let message = format!("no thread to run the filter on: {fault}");
    Failure::recoverable(codes::OVERLOADED, Category::Resource, message)
}

fn internal(message: &str) -> Failure {
    Failure::permanent(codes::INTERNAL, Category::Internal, message)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::executor::{Pulse, Room};
    use crate::model::{Namespace, StepId, ThreadId};

    fn attempt(jq: &str, with: &str) -> Attempt {
        Attempt {
            thread_id: ThreadId::parse("t1").unwrap(),
            step_id: StepId::parse("s1").unwrap(),
            number: 1,
            action: Arc::new(Action::Transform { filter: Filter::compile(jq).unwrap() }),
            with: Json::parse(with).unwrap(),
            holds_secrets: false,
            traceparent: None,
            work: crate::definition::Work::Own,
            compensation_epoch: 0,
            pulse: Pulse::default(),
            room: Room::boundless(),
        }
    }

    async fn run(jq: &str, with: &str, limit: usize) -> Result<Json, Failure> {
        let attempt = attempt(jq, with);
        let memory = Arc::new(Memory::boundless());
        let executor = TransformExecutor::new(limit, memory, Arc::default());
        executor.execute(attempt).await.map_err(|error| error.failure)
    }

    #[test]
    fn no_more_filters_run_at_once_than_the_memory_for_steps_has_room_for() {
        let places = |limit: usize| {
            let memory =
                Memory::new(limit, &crate::observe::MemoryMetrics::default(), Box::new(|| None));
            let executor = TransformExecutor::new(1 << 20, Arc::new(memory), Arc::default());
            executor.long_runs.free()
        };
        let each = FilterLimits { max_output_bytes: 1 << 20 }.memory();
        assert_eq!((each >> 20, places(64 << 20)), (160, 1));
        assert_eq!((places(9 * each), places(100 * each)), (2, MAX_LONG_RUNS));
    }

    /// A filter that takes about a second, in ways that the meter sees.
    const LONG: &str = "reduce range(1e9) as $i (0; . + 1)";

    #[tokio::test]
    async fn a_run_whose_attempt_is_dropped_gives_its_place_back_at_once() {
        let executor = TransformExecutor::new(1000, Arc::new(Memory::boundless()), Arc::default());
        let all = async {
            for _ in 0..50 {
                let mut run = executor.execute(attempt(LONG, "null"));
                assert!((&mut run).now_or_never().is_none());
                assert_eq!(executor.long_runs.free(), MAX_LONG_RUNS - 1, "it runs");
                drop(run);
                while executor.long_runs.free() < MAX_LONG_RUNS {
                    tokio::task::yield_now().await;
                }
            }
        };
        // Each of them takes a second and more if it runs to its end.
        tokio::time::timeout(Duration::from_secs(40), all).await.unwrap();
    }

    #[tokio::test]
    async fn a_crowd_of_one_namespace_holds_up_no_filter_of_another() {
        let executor = TransformExecutor::new(1000, Arc::new(Memory::boundless()), Arc::default());
        let crowd = ThreadId::parse("t1").unwrap().namespace();
        let place = || executor.long_runs.take(&crowd).now_or_never();
        let crowd: Vec<_> = std::iter::from_fn(place).collect();
        assert_eq!(crowd.len(), MAX_LONG_RUNS - 1);
        let mut waits = executor.execute(attempt(LONG, "null"));
        assert!((&mut waits).now_or_never().is_none());
        let other = ThreadId::within(&Namespace::parse("other").unwrap(), "t1").unwrap();
        let other = Attempt { thread_id: other, ..attempt("test(\"a\")", "\"a\"") };
        assert_eq!(executor.execute(other).await.unwrap().as_str(), "true");
    }

    #[test]
    fn a_filter_waits_for_no_blocking_work_of_others() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let output = runtime.block_on(async {
            let other = tokio::task::spawn_blocking(move || ended.recv());
            let output = run("test(\"a\")", "\"a\"", 1000);
            let output = tokio::time::timeout(Duration::from_secs(20), output).await;
            drop(end);
            assert!(other.await.unwrap().is_err());
            output
        });
        assert_eq!(output.unwrap().unwrap().as_str(), "true");
    }

    #[tokio::test]
    async fn a_filters_result_is_the_output() {
        let output = run(".", r#"{"a":[1,"x",null]}"#, 1000).await.unwrap();
        assert_eq!(output.as_str(), r#"{"a":[1,"x",null]}"#);
    }

    #[tokio::test]
    async fn results_above_the_bound_fail_for_good() {
        let failure = run(".", r#"["0123456789"]"#, 10).await.unwrap_err();
        assert_eq!((failure.code.as_str(), failure.recoverable), ("payload_too_large", false));
    }

    #[test]
    fn no_failure_of_a_filter_is_retried() {
        for (error, code) in [
            (FilterError::Failed("no \u{1b} title".to_owned()), "jq_failed"),
            (FilterError::TooLong, "jq_failed"),
            (FilterError::TooDeep, "jq_failed"),
            (FilterError::TooLarge, "payload_too_large"),
        ] {
            let failure = failure(&error, &Redactor::default());
            assert_eq!((failure.code.as_str(), failure.recoverable), (code, false));
            assert!(!failure.message.contains('\u{1b}'));
        }
    }
}
