//! Replicas: each lives, dies at any point, and lives again, beside the others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rethread::definition::VariablePolicy;
use rethread::executor::Secrets;
use rethread::observe::{Memory, Metrics};
use rethread::runtime::{Handle, Runtime, RuntimeParts, RuntimeSettings, StoreRetry};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::clock::SkewedClock;
use super::effects::Effects;
use super::faulty::FaultyStore;
use super::life::Life;
use super::random::{Rng, SeededEntropy};
use super::world::{LEASE, World};

/// The replicas that can be reached now.
#[derive(Debug, Default)]
pub(super) struct Replicas(Mutex<BTreeMap<usize, (Handle, Life)>>);

impl Replicas {
    /// Returns one of them at random.
    pub(super) fn any(&self, rng: &mut Rng) -> Option<(Handle, Life)> {
        let all = self.0.lock().unwrap();
        let all: Vec<_> = all.values().filter(|(_, life)| !life.is_over()).collect();
        (!all.is_empty()).then(|| (*rng.pick(&all)).clone())
    }

    /// Removes all of them: the machine is off.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap().clear();
    }
}

/// The settings of every replica.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) max_running: usize,
    pub(super) max_recoveries: u32,
    pub(super) snapshot_every: u64,
}

/// The wishes that a replica receives from outside.
#[derive(Debug, Clone)]
pub(super) struct Wishes {
    /// A restart in good order.
    pub(super) restart: Arc<Notify>,
    /// A death.
    pub(super) kill: Arc<Notify>,
    /// A stop for good, in good order.
    pub(super) stop: CancellationToken,
}

/// One replica.
pub(super) struct Replica {
    pub(super) world: Arc<World>,
    pub(super) number: usize,
    pub(super) rng: Rng,
    pub(super) settings: Settings,
    pub(super) running: Arc<Replicas>,
    pub(super) wishes: Wishes,
}

impl Replica {
    /// Lives until the replica is stopped, or the process ends.
    pub(super) async fn reign(mut self) {
        // The tasks of a dead runtime go on unseen until it notices its death.
        let mut graves = JoinSet::new();
        loop {
            let (mut runtime, mut life) = self.start().await;
            loop {
                tokio::select! {
                    biased;
                    () = life.over() => {
                        self.world.audit().deaths += 1;
                        self.withdraw();
                        graves.spawn(runtime.stop());
                        break;
                    }
                    () = self.wishes.stop.cancelled() => {
                        self.withdraw();
                        tokio::select! {
                            biased;
                            () = life.over() => return,
                            _ = runtime.stop() => return,
                        }
                    }
                    () = self.wishes.kill.notified() => {
                        self.world.crash(&life);
                    }
                    () = self.wishes.restart.notified() => {
                        self.world.log(|| format!("replica {} restarts", self.number));
                        if self.rng.chance(2) {
                            let (fresh, fresh_life) = self.start().await;
                            std::mem::replace(&mut runtime, fresh).stop().await;
                            life = fresh_life;
                        } else {
                            self.withdraw();
                            runtime.stop().await;
                            break;
                        }
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(self.rng.range(0, 4_000))).await;
        }
    }

    fn withdraw(&self) {
        self.running.0.lock().unwrap().remove(&self.number);
    }

    async fn start(&mut self) -> (Runtime, Life) {
        let life = self.world.new_life(self.number);
        let parts = self.parts(&life);
        loop {
            let started = tokio::select! {
                biased;
                () = life.over() => {
                    // The replica died before it could do anything.
                    return Box::pin(self.start()).await;
                }
                started = Runtime::start(parts.clone()) => started,
            };
            match started {
                Ok(runtime) => {
                    let reached = (runtime.handle(), life.clone());
                    self.running.0.lock().unwrap().insert(self.number, reached);
                    return (runtime, life);
                }
                Err(error) => {
                    self.world.log(|| format!("replica {} cannot start: {error}", self.number));
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    fn parts(&mut self, life: &Life) -> RuntimeParts {
        let (world, life) = (Arc::clone(&self.world), life.clone());
        let clock = SkewedClock {
            clock: Arc::clone(&world.clock),
            skew_ms: i64::try_from(self.rng.range(0, 400)).unwrap() - 200,
        };
        RuntimeParts {
            store: Arc::new(FaultyStore { world: Arc::clone(&world), life: life.clone() }),
            executors: Arc::new(Effects { world, life }),
            secrets: Arc::new(Secrets::default()),
            clock: Arc::new(clock),
            entropy: Arc::new(SeededEntropy::new(Rng::new(self.rng.next(), 2))),
            metrics: Arc::new(Metrics::new()),
            memory: Arc::new(Memory::boundless()),
            settings: self.settings(),
            control: None,
        }
    }

    fn settings(&self) -> RuntimeSettings {
        RuntimeSettings {
            replica: format!("replica-{}", self.number),
            lease: LEASE,
            max_attempts: 1_000,
            max_running: self.settings.max_running,
            max_queued: 1_000,
            stale_after: Duration::from_mins(2),
            max_recoveries: self.settings.max_recoveries,
            retention: Duration::from_hours(24),
            audit_retention: Duration::from_hours(24),
            shutdown_grace: Duration::from_secs(1),
            timeouts: rethread::model::Timeouts::AS_WRITTEN,
            stale_action: rethread::model::StaleAction::Report,
            max_event: 1 << 20,
            snapshot_every: self.settings.snapshot_every,
            exec_allow: Vec::new(),
            exec_env: VariablePolicy::default(),
            fallback: false,
            storage_reserve: 0,
            store_retry: StoreRetry {
                initial: Duration::from_millis(25),
                max: Duration::from_secs(1),
            },
        }
    }
}
