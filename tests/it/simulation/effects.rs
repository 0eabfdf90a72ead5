//! The work of http steps: records each effect as it happens, and checks it against the journal.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rethread::definition::{Action, Work};
use rethread::executor::{Attempt, AttemptError, Executors, StepExecutor};
use rethread::model::{Category, Failure, Json};
use serde_json::{Value, json};

use super::life::Life;
use super::random::Rng;
use super::workflow::{self, BEAT, Fault, Mood, Script, value};
use super::world::World;

/// Performs the http steps of one life of a replica.
#[derive(Debug)]
pub(super) struct Effects {
    pub(super) world: Arc<World>,
    pub(super) life: Life,
}

impl Executors for Effects {
    fn get(&self, action: &Action) -> Option<&dyn StepExecutor> {
        if matches!(action, Action::Http) { Some(self) } else { None }
    }
}

#[async_trait]
impl StepExecutor for Effects {
    async fn execute(&self, attempt: Attempt) -> Result<Json, AttemptError> {
        self.life.alive(self.perform(attempt)).await
    }

    fn execute_now(&self, attempt: &Attempt) -> Option<Result<Json, AttemptError>> {
        let script = self.script(attempt);
        let waits = matches!(script.mood, Mood::Poison(_)) || script.fault == Fault::Hangs;
        let at_once = script.slowness == 0 && !waits && !self.life.is_over();
        at_once.then(|| self.act(attempt, &script))
    }
}

impl Effects {
    async fn perform(&self, attempt: Attempt) -> Result<Json, AttemptError> {
        let script = self.script(&attempt);
        let mut rng = Rng::new(self.world.seed, key_number(&attempt));
        let slowness = Duration::from_millis(rng.range(1, script.slowness.max(1)));
        if script.acts_late {
            work(&attempt, slowness).await;
            let result = self.act(&attempt, &script);
            // A poisonous step has ended the process by now, so nothing comes after it.
            return self.life.alive(async { result }).await;
        }
        let result = self.act(&attempt, &script);
        work(&attempt, slowness).await;
        match (result, script.fault) {
            (Err(_), Fault::Hangs) => std::future::pending().await,
            (result, _) => result,
        }
    }

    fn script(&self, attempt: &Attempt) -> Script {
        let audit = self.world.audit();
        let workflow = audit.threads.get(&attempt.thread_id).map(|journal| &journal.workflow);
        let drawn = workflow.and_then(|name| self.world.workflows.get(name));
        let at: usize = attempt.step_id.as_str()[1..].parse().unwrap();
        let undoes = attempt.work == Work::Compensation;
        match drawn.map(|drawn| (&drawn.steps[at].work, &drawn.steps[at].compensate)) {
            Some((_, Some(script))) if undoes => script.clone(),
            Some((workflow::Work::Http(script), _)) if !undoes => script.clone(),
            other => panic!("{}: no effect: {other:?}", attempt.idempotency_key()),
        }
    }

    /// Records and checks the effect, and returns the answer to it.
    fn act(&self, attempt: &Attempt, script: &Script) -> Result<Json, AttemptError> {
        let key = attempt.idempotency_key();
        self.world.log(|| format!("effect {key} attempt {}", attempt.number));
        let mut audit = self.world.audit();
        *audit.effects.entry(key.clone()).or_default() += 1;
        let (mut failures, mut resumes) = (0, 0);
        let mut fault = Some("of a thread that is not there");
        let undoes = attempt.work == Work::Compensation;
        if let Some(journal) = audit.threads.get(&attempt.thread_id) {
            let known = if undoes { &journal.undoing.failures } else { &journal.failures };
            failures = known.get(&attempt.step_id).copied().unwrap_or(0);
            resumes = journal.resumes;
            let known = if undoes { &journal.undoing.started } else { &journal.started };
            let started = known.contains(&(attempt.step_id.clone(), attempt.number));
            let known = if undoes { &journal.undoing.completed } else { &journal.completed };
            let completed = known.contains(&attempt.step_id) && !audit.stood_still;
            fault = match (started, completed) {
                (false, _) => Some("before its start was durable"),
                (true, true) => Some("after its completion was durable"),
                (true, false) => None,
            };
        }
        drop(audit);
        if let Some(fault) = fault {
            self.world.violated(format!("effect {key} attempt {} {fault}", attempt.number));
        }
        if let Mood::Poison(heals_at) = script.mood
            && heals_at.is_none_or(|heals_at| resumes < heals_at)
        {
            self.world.log(|| format!("{key} kills replica {}", self.life.replica));
            self.world.audit().killed(&attempt.thread_id);
            self.life.end();
        }
        let fails = match script.mood {
            Mood::Poison(_) => false,
            Mood::Flaky(times) => failures < times,
            Mood::Broken(heals_at) => resumes < heals_at,
            Mood::Doomed => attempt.work != Work::Fallback,
        };
        match fails {
            true => Err(failure(script.fault)),
            false if undoes => Ok(Json::null()),
            false => Ok(answer(&attempt.with)),
        }
    }
}

/// Takes its time, and sends heartbeats meanwhile.
async fn work(attempt: &Attempt, slowness: Duration) {
    let mut left = slowness;
    while !left.is_zero() {
        let next = left.min(Duration::from_millis(BEAT));
        tokio::time::sleep(next).await;
        attempt.pulse.beat();
        left -= next;
    }
}

fn failure(fault: Fault) -> AttemptError {
    let failure = match fault {
        Fault::Permanent => Failure::permanent("http_status", Category::External, "404"),
        Fault::Recoverable | Fault::Hangs | Fault::AsksToWait(_) => {
            Failure::recoverable("http_status", Category::External, "503")
        }
    };
    let retry_after = match fault {
        Fault::AsksToWait(millis) => Some(Duration::from_millis(millis)),
        Fault::Recoverable | Fault::Permanent | Fault::Hangs => None,
    };
    AttemptError { failure, retry_after }
}

fn answer(with: &Json) -> Json {
    let with: Value = with.decode().unwrap();
    let given = with["json"]["given"].as_array().unwrap();
    let given: Vec<Option<u64>> = given.iter().map(|item| item["value"].as_u64()).collect();
    let value = value(with["json"]["own"].as_u64().unwrap(), &given);
    Json::of(&json!({ "value": value })).unwrap()
}

/// Returns the number of the stream of random numbers of an attempt.
fn key_number(attempt: &Attempt) -> u64 {
    let key = attempt.idempotency_key();
    let hash = |number: u64, byte: u8| number.wrapping_mul(31).wrapping_add(u64::from(byte));
    key.bytes().fold(u64::from(attempt.number), hash)
}
