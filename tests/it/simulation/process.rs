//! Processes: each is a runtime of its own that ends with everything in it, mid-await; the next
//! one finds the store as it was left.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rethread::executor::Secrets;
use rethread::model::Clock;
use rethread::observe::Metrics;
use rethread::runtime::{Handle, Runtime, RuntimeParts, RuntimeSettings, StoreRetry};
use tokio::task::JoinSet;

use super::client::{Client, Plan};
use super::clock::SkewedClock;
use super::effects::Effects;
use super::faulty::FaultyStore;
use super::oracle;
use super::random::{Rng, SeededEntropy};
use super::workflow::Drawn;
use super::world::{LEASE, World};

/// Simulated time in which everything must have ended once the faults stop: the longest workflow
/// drawn, resumed as often as a client does, takes less.
const PATIENCE: Duration = Duration::from_mins(15);

/// A whole simulation.
pub(super) struct Simulation {
    world: Arc<World>,
    clients: Vec<Arc<Client>>,
    replicas: Arc<Mutex<Vec<Handle>>>,
    rng: Rng,
    replica_count: usize,
    max_running: usize,
    snapshot_every: u64,
}

/// What a world that kept every promise has been through.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// Every thread's events, byte for byte.
    pub(super) journals: Vec<String>,
    /// Threads taken from lost replicas.
    pub(super) takeovers: u32,
    /// Writes of replicas that had lost their thread.
    pub(super) fenced: u32,
    /// Processes that died.
    pub(super) deaths: u32,
}

fn paused() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

/// How a process ended.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    Done,
    Died,
    Stopped,
}

impl Simulation {
    pub(super) fn new(seed: u64, verbose: bool) -> Self {
        let mut rng = Rng::new(seed, 0);
        let count = rng.range(1, 4);
        let drawn: Vec<Drawn> =
            (0..count).map(|number| Drawn::new(&mut rng, format!("w{number}"))).collect();
        let workflows = drawn.iter().map(|drawn| (drawn.name.clone(), drawn.clone())).collect();
        let world = Arc::new(World::new(seed, workflows, verbose));
        let replicas = Arc::new(Mutex::new(Vec::new()));
        let clients = drawn.into_iter().zip(0..).map(|(drawn, number)| {
            let plan = Plan::new(&mut rng, number, drawn);
            let (world, replicas) = (Arc::clone(&world), Arc::clone(&replicas));
            Arc::new(Client::new(world, plan, number, replicas))
        });
        let clients = clients.collect();
        let replica_count = *rng.pick(&[1, 2]);
        let max_running = *rng.pick(&[1, 2, 100, 100]);
        let snapshot_every = *rng.pick(&[0, 1, 3, 10]);
        Self { world, clients, replicas, rng, replica_count, max_running, snapshot_every }
    }

    /// Lives through every process. What went wrong, or else what happened.
    pub(super) fn run(mut self) -> Result<Report, Vec<String>> {
        let mut deaths = 0;
        loop {
            let runtime = paused();
            let ending = runtime.block_on(self.process());
            drop(runtime);
            self.world.log(|| format!("the process ends: {ending:?}"));
            if ending == Ending::Done || self.world.is_violated() {
                break;
            }
            deaths += u32::from(ending == Ending::Died);
            let downtime = self.rng.range(0, 6_000);
            self.world.clock.skip(Duration::from_millis(downtime));
        }
        let audit = self.world.audit();
        if !audit.violations.is_empty() {
            return Err(audit.violations.clone());
        }
        let journals = audit.threads.values().map(|journal| journal.events.join("\n")).collect();
        Ok(Report { journals, takeovers: audit.takeovers, fenced: audit.fenced, deaths })
    }

    async fn process(&mut self) -> Ending {
        self.world.clock.begin();
        let death = self.world.new_process();
        let ending = tokio::select! {
            biased;
            () = death.cancelled() => Ending::Died,
            ending = self.live() => ending,
        };
        self.world.clock.end();
        ending
    }

    async fn live(&mut self) -> Ending {
        let mut running = Vec::new();
        for replica in 0..self.replica_count {
            running.push(self.start(replica).await);
        }
        *self.replicas.lock().unwrap() = running.iter().map(Runtime::handle).collect();
        let mut tasks = JoinSet::new();
        for client in &self.clients {
            let [living, following, other] = [(); 3].map(|()| Arc::clone(client));
            tasks.spawn(async move { living.live().await });
            tasks.spawn(async move { following.follow().await });
            tasks.spawn(async move { other.duplicate().await });
        }
        let deadline = self.world.calm_from() + PATIENCE;
        let left = deadline.saturating_sub(self.world.clock.monotonic());
        let clients = self.clients.clone();
        let world = Arc::clone(&self.world);
        let done = async {
            while let Some(ended) = tasks.join_next().await {
                if let Err(panicked) = ended {
                    world.violated(format!("a client panicked: {panicked}"));
                }
            }
        };
        tokio::select! {
            biased;
            () = done => {}
            ending = self.fate(&mut running) => return ending,
            () = tokio::time::sleep(left) => {
                oracle::stuck(&world, &clients).await;
                return Ending::Died;
            }
        }
        // The verdict asks the handle, which answers only while the store does.
        self.world.calm_down();
        tokio::time::sleep(LEASE * 3).await;
        oracle::judge(&self.world, &self.clients, &running[0].handle()).await;
        Ending::Done
    }

    async fn start(&mut self, replica: usize) -> Runtime {
        let clock = SkewedClock {
            clock: Arc::clone(&self.world.clock),
            skew_ms: i64::try_from(self.rng.range(0, 400)).unwrap() - 200,
        };
        let settings = RuntimeSettings {
            replica: format!("replica-{replica}"),
            lease: LEASE,
            max_running: self.max_running,
            max_queued: 1_000,
            stale_after: Duration::from_mins(2),
            max_recoveries: 1_000,
            retention: Duration::from_hours(24),
            shutdown_grace: Duration::from_secs(1),
            max_event: 1 << 20,
            snapshot_every: self.snapshot_every,
            exec_allow: Vec::new(),
            fallback: false,
            store_retry: StoreRetry {
                initial: Duration::from_millis(25),
                max: Duration::from_secs(1),
            },
        };
        let parts = RuntimeParts {
            store: Arc::new(FaultyStore { world: Arc::clone(&self.world), replica }),
            executors: Arc::new(Effects { world: Arc::clone(&self.world) }),
            secrets: Arc::new(Secrets::default()),
            clock: Arc::new(clock),
            entropy: Arc::new(SeededEntropy::new(Rng::new(self.rng.next(), 2))),
            metrics: Arc::new(Metrics::new()),
            settings,
        };
        loop {
            match Runtime::start(parts.clone()).await {
                Ok(runtime) => return runtime,
                Err(error) => {
                    self.world.log(|| format!("replica {replica} cannot start: {error}"));
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    /// What befalls a process from outside, while there are faults.
    async fn fate(&mut self, running: &mut [Runtime]) -> Ending {
        loop {
            tokio::time::sleep(Duration::from_millis(self.rng.range(500, 30_000))).await;
            if self.world.clock.monotonic() >= self.world.calm_from() {
                std::future::pending::<()>().await;
            }
            match self.rng.range(0, 4) {
                0 => {
                    self.world.log(|| "killed".to_owned());
                    if self.world.crash() {
                        std::future::pending::<()>().await;
                    }
                }
                1 => {
                    self.world.log(|| "stands still".to_owned());
                    self.world.audit().stood_still = true;
                    let lease = u64::try_from(LEASE.as_millis()).unwrap();
                    let by = Duration::from_millis(self.rng.range(1, lease * 2));
                    self.world.clock.skip(by);
                }
                2 => {
                    self.world.log(|| "stops".to_owned());
                    for replica in 0..self.replica_count {
                        self.restart(running, replica, false).await;
                    }
                    return Ending::Stopped;
                }
                _ => {
                    let replica = usize::try_from(self.rng.next() % 64).unwrap() % running.len();
                    self.world.log(|| format!("replica {replica} restarts"));
                    self.restart(running, replica, true).await;
                }
            }
        }
    }

    /// Stops a replica in good order, and starts it afresh if wanted.
    async fn restart(&mut self, running: &mut [Runtime], replica: usize, again: bool) {
        if again {
            let fresh = self.start(replica).await;
            self.replicas.lock().unwrap()[replica] = fresh.handle();
            std::mem::replace(&mut running[replica], fresh).stop().await;
        } else {
            running[replica].drain();
        }
    }
}
