//! Processes: each is a machine with all its replicas, and ends with everything in it, mid-await.
//! The next one finds the store as it was left.

use std::sync::Arc;
use std::time::Duration;

use rethread::model::Clock;
use rethread::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::client::{Client, Plan};
use super::life::Life;
use super::oracle;
use super::random::Rng;
use super::replica::{Replica, Replicas, Settings, Wishes};
use super::workflow::Drawn;
use super::world::{Kind, LEASE, World};

/// The simulated time within which everything must have ended once the faults stop. The longest
/// workflow drawn takes less, even when it is resumed as often as a client does and left alone as
/// long as a thread is that many replicas could not stay with.
const PATIENCE: Duration = Duration::from_mins(40);

/// A whole simulation.
pub(super) struct Simulation {
    world: Arc<World>,
    clients: Vec<Arc<Client>>,
    replicas: Arc<Replicas>,
    rng: Rng,
    replica_count: usize,
    settings: Settings,
}

/// The events and counts of a world that kept every promise.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// Every thread's events, byte for byte.
    pub(super) journals: Vec<String>,
    /// The number of threads taken from lost replicas.
    pub(super) takeovers: u32,
    /// The number of writes by replicas that had lost their thread.
    pub(super) fenced: u32,
    /// The number of processes that died with all their replicas.
    pub(super) crashes: u32,
    /// The number of steps that were compensated.
    pub(super) undone: u32,
    /// The number of replicas that died alone.
    pub(super) deaths: u32,
    /// The number of threads that were set aside.
    pub(super) quarantines: u32,
    /// The number of snapshots that were compared with the journal.
    pub(super) snapshots: u32,
}

impl Report {
    /// Adds the counts of another world.
    pub(super) fn add(&mut self, other: &Self) {
        self.takeovers += other.takeovers;
        self.fenced += other.fenced;
        self.crashes += other.crashes;
        self.undone += other.undone;
        self.deaths += other.deaths;
        self.quarantines += other.quarantines;
        self.snapshots += other.snapshots;
    }
}

fn paused() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

/// The end of a process.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    Done,
    Died,
    Stopped,
}

/// Draws the workflows of one world; the first is the poison, if there is one.
fn draw(rng: &mut Rng, poison: bool) -> Vec<Drawn> {
    let count = if poison { rng.range(3, 5) } else { rng.range(1, 4) };
    let one = |number: u64| {
        let name = format!("w{number}");
        if poison && number == 0 {
            return Drawn::poisoned(rng, name);
        }
        let mut drawn = Drawn::new(rng, name);
        if poison && rng.chance(2) {
            drawn.dawdle();
        }
        drawn
    };
    (0..count).map(one).collect()
}

impl Simulation {
    pub(super) fn new(seed: u64, verbose: bool) -> Self {
        let mut rng = Rng::new(seed, 0);
        let poison = rng.chance(4);
        let drawn = draw(&mut rng, poison);
        let usual = *rng.pick(&[1_000, 1_000, 5, 2]);
        let strict = u32::try_from(rng.range(1, 3)).unwrap();
        let kind = Kind {
            replicas: *rng.pick(&[1, 2, 2, 3]),
            max_recoveries: if poison { strict } else { usual },
            only_poison_kills: poison && rng.chance(2),
        };
        let world = Arc::new(World::new(seed, kind, &drawn, verbose));
        let replicas = Arc::new(Replicas::default());
        let clients = drawn.into_iter().zip(0..).map(|(drawn, number)| {
            let plan = Plan::new(&mut rng, number, drawn);
            let (world, replicas) = (Arc::clone(&world), Arc::clone(&replicas));
            Arc::new(Client::new(world, plan, number, replicas))
        });
        let clients = clients.collect();
        let settings = Settings {
            max_running: *rng.pick(&[1, 2, 100, 100]),
            max_recoveries: kind.max_recoveries,
            snapshot_every: *rng.pick(&[0, 1, 3, 10]),
        };
        Self { world, clients, replicas, rng, replica_count: kind.replicas, settings }
    }

    /// Runs through every process, and returns the report, or the violations.
    pub(super) fn run(mut self) -> Result<Report, Vec<String>> {
        let mut crashes = 0;
        loop {
            let runtime = paused();
            let ending = runtime.block_on(self.process());
            drop(runtime);
            self.replicas.clear();
            self.world.log(|| format!("the process ends: {ending:?}"));
            if ending == Ending::Done || self.world.is_violated() {
                break;
            }
            crashes += u32::from(ending == Ending::Died);
            let downtime = self.rng.range(0, 6_000);
            self.world.clock.skip(Duration::from_millis(downtime));
        }
        let audit = self.world.audit();
        if !audit.violations.is_empty() {
            return Err(audit.violations.clone());
        }
        let journals = audit.threads.values().map(|journal| journal.events.join("\n")).collect();
        Ok(Report {
            journals,
            takeovers: audit.takeovers,
            fenced: audit.fenced,
            crashes,
            undone: audit.undone,
            deaths: audit.deaths,
            quarantines: audit.quarantines,
            snapshots: audit.snapshots,
        })
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
        let (mut reigns, wishes) = self.replicas();
        let mut tasks = JoinSet::new();
        for client in &self.clients {
            let [living, following, other] = [(); 3].map(|()| Arc::clone(client));
            tasks.spawn(async move { living.live().await });
            tasks.spawn(async move { following.follow().await });
            tasks.spawn(async move { other.duplicate().await });
        }
        let deadline = self.world.calm_from() + PATIENCE;
        let left = deadline.saturating_sub(self.world.clock.monotonic());
        let (clients, world) = (self.clients.clone(), Arc::clone(&self.world));
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
            ending = self.fate(&mut reigns, &wishes) => return ending,
            () = tokio::time::sleep(left) => {
                oracle::stuck(&world, &clients).await;
                return Ending::Died;
            }
        }
        // The verdict calls a handle, which answers only while the store does.
        self.world.calm_down();
        tokio::time::sleep(LEASE * 3).await;
        let ready = |(handle, _): &(Handle, Life)| handle.ready().is_ok();
        let Some((handle, _)) = self.replicas.any(&mut self.rng).filter(ready) else {
            // The replicas were about to stop.
            return Ending::Stopped;
        };
        oracle::judge(&self.world, &self.clients, &handle).await;
        Ending::Done
    }

    /// Starts the replicas.
    fn replicas(&mut self) -> (JoinSet<()>, Vec<Wishes>) {
        let mut reigns = JoinSet::new();
        let mut all = Vec::new();
        for number in 0..self.replica_count {
            let wishes = Wishes {
                restart: Arc::new(Notify::new()),
                kill: Arc::new(Notify::new()),
                stop: CancellationToken::new(),
            };
            all.push(wishes.clone());
            let replica = Replica {
                world: Arc::clone(&self.world),
                number,
                rng: Rng::new(self.rng.next(), 3),
                settings: self.settings,
                running: Arc::clone(&self.replicas),
                wishes,
            };
            reigns.spawn(replica.reign());
        }
        (reigns, all)
    }

    /// Draws the events that befall a process from outside, while there are faults.
    async fn fate(&mut self, reigns: &mut JoinSet<()>, wishes: &[Wishes]) -> Ending {
        loop {
            tokio::time::sleep(Duration::from_millis(self.rng.range(500, 12_000))).await;
            if self.world.clock.monotonic() >= self.world.calm_from() {
                std::future::pending::<()>().await;
            }
            let one = self.rng.pick(wishes).clone();
            let gently = self.world.audit().kind.only_poison_kills;
            match self.rng.range(0, 4) {
                0 => one.kill.notify_one(),
                1 if !gently => {
                    self.world.log(|| "stands still".to_owned());
                    self.world.audit().stood_still = true;
                    let lease = u64::try_from(LEASE.as_millis()).unwrap();
                    let by = Duration::from_millis(self.rng.range(1, lease * 2));
                    self.world.clock.skip(by);
                }
                2 => {
                    self.world.log(|| "stops".to_owned());
                    for wishes in wishes {
                        wishes.stop.cancel();
                    }
                    while reigns.join_next().await.is_some() {}
                    return Ending::Stopped;
                }
                _ => one.restart.notify_one(),
            }
        }
    }
}
