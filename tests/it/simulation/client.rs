//! Clients: they repeat their calls until they are answered, outlive every process, and read the
//! events that they are shown.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rethread::contract::{
    AbortRequest, InterventionQuery, InterventionStatus, InvokeRequest, Invoked, ResolveRequest,
    ResumeRequest, WorkflowSource,
};
use rethread::model::{Clock, InterventionKind, Json, Namespace, Seq, ThreadId, ThreadStatus};
use rethread::runtime::{Control, Handle, Invoke, Rejection, RuntimeError};
use serde_json::json;

use super::life::Life;
use super::random::Rng;
use super::replica::Replicas;
use super::workflow::Drawn;
use super::world::World;

/// The time that a client waits for the end before it reads its thread's status.
const PATIENCE: Duration = Duration::from_secs(4);

/// The plan of one client.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) drawn: Drawn,
    /// The thread's id, if the client chooses it; otherwise its idempotency key makes repeats one
    /// thread.
    thread: Option<ThreadId>,
    key: Option<String>,
    /// The time at which it begins, in milliseconds.
    starts_at: u64,
    /// The time after that at which a second caller sends the same request, in milliseconds.
    duplicate_after: Option<u64>,
    /// The time after acceptance at which it loses patience and aborts the thread, in milliseconds.
    aborts_after: Option<u64>,
    /// Whether the abort compensates completed steps.
    undoes: bool,
    /// The number of times that it resumes a thread that has ended without completing.
    resumes: u32,
    /// Whether it resumes by invoking again.
    invokes_again: bool,
}

/// The memory of a client, which outlives every process.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) thread: Option<ThreadId>,
    /// The number of answers that said that the call had made the thread.
    pub(super) created: u32,
    pub(super) aborted: bool,
    /// Whether it would not resume a thread that was set aside once more.
    gives_up: bool,
    /// The number of times that the server heard this. Its compensation may be set aside again, and
    /// giving up again is another decision.
    gave_up: u32,
    /// Whether the second caller was answered.
    pub(super) duplicated: bool,
    pub(super) resumed: u32,
    pub(super) ended: Option<ThreadStatus>,
    /// The events that its follower has been shown.
    pub(super) shown: Vec<String>,
}

impl Memory {
    /// Gives up, and returns how often the server has heard that before.
    fn give_up(&mut self) -> u32 {
        self.gives_up = true;
        self.gave_up
    }
}

/// A client of the world.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) world: Arc<World>,
    pub(super) plan: Plan,
    pub(super) number: u64,
    memory: Mutex<Memory>,
    rng: Mutex<Rng>,
    /// The replicas that can be reached now.
    pub(super) replicas: Arc<Replicas>,
}

impl Plan {
    pub(super) fn new(rng: &mut Rng, number: u64, drawn: Drawn) -> Self {
        let thread = rng.chance(2).then(|| ThreadId::parse(&format!("t{number}")).unwrap());
        let drawn_is_poison = drawn.poison().is_some();
        let key = thread.is_none().then(|| format!("key-{number}"));
        Self {
            drawn,
            thread,
            key,
            starts_at: *rng.pick(&[0, 0, 100, 3_000, 8_000]),
            duplicate_after: rng.chance(3).then(|| *rng.pick(&[0, 1, 200])),
            aborts_after: rng.chance(4).then(|| rng.range(0, 5_000)),
            undoes: rng.chance(2),
            resumes: match (rng.chance(5), drawn_is_poison) {
                (true, _) => 0,
                (false, true) => 3,
                (false, false) => 8,
            },
            invokes_again: rng.chance(2),
        }
    }

    /// Returns whether its thread completes whatever happens.
    pub(super) fn must_complete(&self) -> bool {
        self.resumes > 0 && self.drawn.can_complete()
    }

    /// Returns whether it may abort its thread.
    pub(super) fn may_abort(&self) -> bool {
        self.aborts_after.is_some()
    }

    fn invoke(&self) -> Invoke {
        Invoke {
            namespace: Namespace::default(),
            request: InvokeRequest {
                workflow: Some(WorkflowSource::Inline(Json::of(&self.drawn.json()).unwrap())),
                input: Some(Json::of(&json!({ "n": self.drawn.input })).unwrap()),
                thread_id: self.thread.clone(),
                ..InvokeRequest::default()
            },
            idempotency_key: self.key.clone(),
            by: "client".to_owned(),
            role: None,
            traceparent: None,
        }
    }
}

impl Client {
    pub(super) fn new(world: Arc<World>, plan: Plan, number: u64, replicas: Arc<Replicas>) -> Self {
        let rng = Mutex::new(Rng::new(world.seed, 1_000 + number));
        Self { world, plan, number, memory: Mutex::default(), rng, replicas }
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap()
    }

    /// Returns a replica that can be reached.
    async fn replica(&self) -> (Handle, Life) {
        loop {
            if let Some(found) = self.replicas.any(&mut self.rng.lock().unwrap()) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Returns whether it has aborted its thread, or may have.
    pub(super) fn may_have_aborted(&self) -> bool {
        self.plan.may_abort() || self.memory().gives_up
    }

    async fn pause(&self) {
        let millis = self.rng.lock().unwrap().range(20, 600);
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    async fn wait_until(&self, millis: u64) {
        let due = Duration::from_millis(millis);
        tokio::time::sleep(due.saturating_sub(self.world.clock.monotonic())).await;
    }

    /// Carries out the rest of its plan; ends with the thread's end.
    pub(super) async fn live(&self) {
        if self.memory().ended.is_some() {
            return;
        }
        self.wait_until(self.plan.starts_at).await;
        let known = self.memory().thread.clone();
        let thread = match known {
            Some(thread) => thread,
            None => self.accept().await,
        };
        if let Some(after) = self.plan.aborts_after
            && !self.memory().aborted
        {
            tokio::time::sleep(Duration::from_millis(after)).await;
            self.abort(&thread, "abort").await;
            self.memory().aborted = true;
        }
        // A repeat of an invoke may resume the thread, so the second caller must be answered before
        // the end is seen.
        while self.plan.duplicate_after.is_some() && !self.memory().duplicated {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.see_to_the_end(&thread).await;
    }

    /// Sends the same request as a second caller.
    pub(super) async fn duplicate(&self) {
        let Some(after) = self.plan.duplicate_after else { return };
        if self.memory().duplicated {
            return;
        }
        self.wait_until(self.plan.starts_at + after).await;
        self.accept().await;
        self.memory().duplicated = true;
    }

    /// Invokes until the call is answered.
    async fn accept(&self) -> ThreadId {
        loop {
            let (handle, life) = self.replica().await;
            match life.answer(Box::pin(handle.invoke(self.plan.invoke()))).await {
                Ok(invoked) => return self.accepted(&invoked),
                Err(error) => self.excuse("invoke", &error),
            }
            self.pause().await;
        }
    }

    fn accepted(&self, invoked: &Invoked) -> ThreadId {
        self.world.log(|| format!("client {}: accepted as {invoked:?}", self.number));
        let thread = invoked.thread_id.clone();
        let mut memory = self.memory();
        memory.created += u32::from(invoked.created);
        let other = memory.thread.replace(thread.clone()).filter(|known| *known != thread);
        let created = memory.created;
        drop(memory);
        if let Some(other) = other {
            self.world.violated(format!("client {} has {other} and {thread}", self.number));
        }
        if created > 1 {
            self.world.violated(format!("{thread} was made twice"));
        }
        if !self.world.audit().threads.contains_key(&thread) {
            self.world.violated(format!("{thread} was accepted before it was durable"));
        }
        thread
    }

    /// Reports a refusal as a violation, unless it only means "later".
    fn excuse(&self, call: &str, error: &RuntimeError) {
        self.world.log(|| format!("client {}: {call}: {error:?}", self.number));
        let later = matches!(
            error,
            RuntimeError::Unavailable { .. }
                | RuntimeError::NotTaken { .. }
                | RuntimeError::Overloaded { .. }
                | RuntimeError::QueueFull { .. }
        );
        if !later {
            self.world.violated(format!("client {}: {call}: {error:?}", self.number));
        }
    }

    async fn abort(&self, thread: &ThreadId, key: &str) {
        loop {
            let control = control(key.to_owned());
            let (handle, life) = self.replica().await;
            let compensate = self.plan.undoes;
            let request = AbortRequest { compensate, ..AbortRequest::default() };
            let answer = life.answer(handle.abort(thread, request, control)).await;
            match answer {
                // The thread had ended by itself, perhaps with nothing left to compensate.
                Ok(_)
                | Err(RuntimeError::Refused {
                    rejection: Rejection::WrongState(_) | Rejection::NothingToCompensate,
                    ..
                }) => return,
                Err(error) => self.excuse("abort", &error),
            }
            self.pause().await;
        }
    }

    /// Resumes the thread, by a resume or by another invoke.
    async fn resume(&self, thread: &ThreadId) {
        let number = self.memory().resumed;
        loop {
            let (handle, life) = self.replica().await;
            let answer = if self.plan.invokes_again && self.plan.thread.is_some() {
                life.answer(Box::pin(handle.invoke(self.plan.invoke()))).await
            } else {
                let control = control(format!("resume {number}"));
                life.answer(handle.resume(thread, ResumeRequest::default(), control)).await
            };
            match answer {
                Ok(_) | Err(RuntimeError::Refused { rejection: Rejection::WrongState(_), .. }) => {
                    break;
                }
                Err(error) => self.excuse("resume", &error),
            }
            self.pause().await;
        }
        self.memory().resumed = number + 1;
    }

    async fn see_to_the_end(&self, thread: &ThreadId) {
        loop {
            let status = match self.end(thread).await {
                Ok(Some(status)) => status,
                Ok(None) => {
                    self.accept_what_was_blocked(thread).await;
                    continue;
                }
                Err(error) => {
                    self.excuse("status", &error);
                    self.pause().await;
                    continue;
                }
            };
            let gives_up = self.memory().resumed >= self.plan.resumes;
            if gives_up && status == ThreadStatus::Paused {
                let number = self.memory().give_up();
                self.abort(thread, &format!("give up {number}")).await;
                self.memory().gave_up = number + 1;
                continue;
            }
            if status == ThreadStatus::Completed || gives_up {
                self.world.log(|| format!("client {}: ended {status:?}", self.number));
                self.memory().ended = Some(status);
                return;
            }
            self.resume(thread).await;
        }
    }

    /// Accepts every blocked output of its thread that waits for a person.
    async fn accept_what_was_blocked(&self, thread: &ThreadId) {
        let query = InterventionQuery {
            status: Some(InterventionStatus::Open),
            thread_id: Some(thread.clone()),
            limit: 10,
            cursor: None,
        };
        let (handle, life) = self.replica().await;
        let open = match life.answer(handle.interventions(&Namespace::default(), query)).await {
            Ok(page) => page.items,
            Err(error) => return self.excuse("interventions", &error),
        };
        for one in open.into_iter().filter(|one| one.kind == InterventionKind::Blocked) {
            let (handle, life) = self.replica().await;
            let control = control(format!("accept {}", one.id));
            let (choice, digest) = ("accept".to_owned(), one.digest);
            let request = ResolveRequest { choice, digest, comment: None, by: None };
            match life
                .answer(handle.resolve((&Namespace::default(), one.id), request, control))
                .await
            {
                Ok(_)
                | Err(RuntimeError::Refused { rejection: Rejection::Resolved { .. }, .. }) => {}
                Err(error) => self.excuse("resolve", &error),
            }
        }
    }

    /// Returns its thread's status once the thread has ended or waits for a person; `None` if that
    /// takes long.
    async fn end(&self, thread: &ThreadId) -> Result<Option<ThreadStatus>, RuntimeError> {
        let (handle, life) = self.replica().await;
        let look = async {
            handle.wait_for_end(thread, PATIENCE).await?;
            Ok(handle.status(thread, None).await?.status)
        };
        let status = life.answer(look).await?;
        let stands = status.is_terminal() || status == ThreadStatus::Paused;
        Ok(stands.then_some(status))
    }

    /// Reads the thread's events one after the other, until its client has seen its end and nothing
    /// is left to read.
    pub(super) async fn follow(&self) {
        let thread = loop {
            if let Some(thread) = self.memory().thread.clone() {
                break thread;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        loop {
            let (handle, life) = self.replica().await;
            if life.answer(self.follow_there(&thread, &handle)).await.is_ok() {
                return;
            }
        }
    }

    /// Follows the thread with one replica, as long as that lives.
    async fn follow_there(&self, thread: &ThreadId, handle: &Handle) -> Result<(), RuntimeError> {
        let head = handle.follow(thread);
        loop {
            let seen = Seq::try_from(self.memory().shown.len()).unwrap();
            // Read before the call: an answer that was long under way may date from before the end.
            let over = self.memory().ended.is_some();
            match handle.events(thread, seen, 3).await {
                Ok(page) if page.events.is_empty() => {
                    if over && page.ended {
                        return Ok(());
                    }
                    let more = head.beyond(seen.max(page.head));
                    drop(tokio::time::timeout(Duration::from_secs(5), more).await);
                }
                Ok(page) => self.show(&page.events),
                Err(error) => {
                    self.excuse("events", &error);
                    self.pause().await;
                }
            }
        }
    }

    fn show(&self, events: &[rethread::runtime::RawEvent]) {
        let mut memory = self.memory();
        for event in events {
            let next = Seq::try_from(memory.shown.len()).unwrap() + 1;
            memory.shown.push(event.json.as_str().to_owned());
            if event.seq != next {
                let seen = format!("client {} saw {} for {next}", self.number, event.seq);
                self.world.violated(seen);
            }
        }
    }
}

fn control(key: String) -> Control {
    Control { by: "client".to_owned(), idempotency_key: Some(key), ..Control::default() }
}
