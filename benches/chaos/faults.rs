//! Faults at random: which, when, on whom, and whose work they hit.

use std::cmp::Reverse;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use futures_util::future::join_all;
use nix::sys::signal::Signal;
use tokio::task::JoinSet;

use crate::database::wake;
use crate::dice::Dice;
use crate::replicas::{COUNT, LEASE};
use crate::world::{World, drives};

/// Between the beginnings of two faults, in milliseconds, in a short run: enough of them hit work.
const SHORT_PAUSE: (u64, u64) = (1_200, 2_800);
/// The same in a long run: some takeovers are over before the next fault.
const PAUSE: (u64, u64) = (2_000, 6_500);
/// The longest run that is a short one.
const SHORT: Duration = Duration::from_mins(2);
/// How many of each kind a round of faults has; a round is shuffled.
const ROUND: [(Kind, usize); 9] = [
    (Kind::Kill, 6),
    (Kind::CrashLoop, 1),
    (Kind::KillAll, 1),
    (Kind::Stop, 3),
    (Kind::Term, 2),
    (Kind::Clock, 3),
    (Kind::DatabaseCrash, 1),
    (Kind::DatabaseStop, 1),
    (Kind::DatabaseHang, 1),
];

/// How often a replica dies in a loop, and how long each of its lives lasts, in milliseconds after it
/// says where it listens.
const DEATHS: (i64, i64) = (3, 8);
const LIFE: (u64, u64) = (0, 1_500);
/// In how many of a hundred cases the replica with the most threads is chosen.
const BUSIEST: usize = 60;
/// How long a database is out, in milliseconds; beside that it takes seconds to start.
const OUTAGE: (u64, u64) = (300, 3_500);
/// How long a database is held still, in milliseconds: shorter and longer than a lease.
const HANG: (u64, u64) = (1_000, 6_000);

/// How many seconds a clock that is set is ahead.
const WRONG: [i64; 6] = [3_600, -3_600, 86_400, -86_400, 7, -7];
/// How long it stays wrong, in milliseconds: for longer than a lease.
const WRONG_FOR: (u64, u64) = (3_500, 9_000);

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) enum Kind {
    /// SIGKILL of a replica, started again after a while.
    Kill,
    /// SIGKILL of a replica again and again, each time soon after it was started.
    CrashLoop,
    /// SIGKILL of all replicas at once.
    KillAll,
    /// SIGSTOP of a replica for longer than its lease.
    Stop,
    /// SIGTERM of a replica, started again once it has ended.
    Term,
    /// A replica's wall clock is set, and set right after a while.
    Clock,
    /// `pg_ctl stop -m immediate`, started again after a while.
    DatabaseCrash,
    /// `pg_ctl stop -m fast`, started again after a while.
    DatabaseStop,
    /// SIGSTOP of all of the database's processes for a while.
    DatabaseHang,
}

impl Kind {
    /// All of them, in the order of the table.
    pub(crate) const ALL: [Self; 9] = [
        Self::Kill,
        Self::CrashLoop,
        Self::KillAll,
        Self::Stop,
        Self::Term,
        Self::Clock,
        Self::DatabaseCrash,
        Self::DatabaseStop,
        Self::DatabaseHang,
    ];

    /// Its name in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "replica: kill -9",
            Self::CrashLoop => "replica: crash loop",
            Self::KillAll => "all replicas: kill -9",
            Self::Stop => "replica: SIGSTOP",
            Self::Term => "replica: SIGTERM",
            Self::Clock => "replica: clock set",
            Self::DatabaseCrash => "database: immediate stop",
            Self::DatabaseStop => "database: fast stop",
            Self::DatabaseHang => "database: SIGSTOP",
        }
    }

    fn is_database(self) -> bool {
        matches!(self, Self::DatabaseCrash | Self::DatabaseStop | Self::DatabaseHang)
    }
}

/// A fault that was made.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// The replica's place and process, where it was about one.
    pub(crate) replicas: Vec<(usize, i32)>,
    /// When it began and when it was undone, in milliseconds of the Unix epoch.
    pub(crate) at: i64,
    pub(crate) undone: Option<i64>,
    /// The threads that its replicas drove just before it.
    pub(crate) victims: Vec<String>,
}

/// The faults so far.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    made: Mutex<Vec<Fault>>,
    database: tokio::sync::Mutex<()>,
}

impl Faults {
    /// All faults so far.
    pub(crate) fn all(&self) -> Vec<Fault> {
        self.made().clone()
    }

    fn made(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, fault: Fault) -> usize {
        let mut made = self.made();
        made.push(fault);
        made.len() - 1
    }

    fn undone(&self, number: usize) {
        self.made()[number].undone = Some(now());
    }
}

/// Makes faults until `end`, and undoes them all.
pub(crate) async fn inject(world: Arc<World>, end: Instant) -> Result<()> {
    let mut dice = Dice::new(world.seed, "faults", 0);
    let short = end.saturating_duration_since(world.began) <= SHORT;
    let pause = if short { SHORT_PAUSE } else { PAUSE };
    let mut round = Vec::new();
    let mut under_way = JoinSet::new();
    tokio::time::sleep(Duration::from_millis(pause.1)).await;
    while Instant::now() < end {
        if round.is_empty() {
            round = ROUND.iter().flat_map(|(kind, times)| vec![*kind; *times]).collect();
            round.retain(|kind| *kind != Kind::Clock || world.replicas.have_clocks());
            dice.shuffle(&mut round);
        }
        // What cannot be done now is left for later.
        let chosen =
            (0..round.len()).find_map(|at| Some((at, prepare(&world, round[at], &mut dice)?)));
        if let Some((at, replicas)) = chosen {
            let kind = round.remove(at);
            let (world, dice) = (Arc::clone(&world), dice.clone());
            under_way.spawn(async move { make(&world, kind, &replicas, dice).await });
        }
        while let Some(done) = under_way.try_join_next() {
            done??;
        }
        tokio::time::sleep(dice.millis(pause.0, pause.1)).await;
    }
    while let Some(done) = under_way.join_next().await {
        done??;
    }
    Ok(())
}

/// The replicas that a fault of this kind takes in hand; `None` if it cannot be made now.
fn prepare(world: &World, kind: Kind, dice: &mut Dice) -> Option<Vec<usize>> {
    let mut idle = world.replicas.idle();
    dice.shuffle(&mut idle);
    // Rather one that has work than one that was started a moment ago.
    if dice.percent(BUSIEST) {
        idle.sort_by_key(|number| Reverse(world.threads_of(*number)));
    }
    let chosen = match kind {
        Kind::DatabaseCrash | Kind::DatabaseStop | Kind::DatabaseHang => {
            return world.faults.database.try_lock().is_ok().then(Vec::new);
        }
        // The others leave one that no fault has in hand.
        Kind::Kill | Kind::CrashLoop | Kind::Stop | Kind::Term | Kind::Clock if idle.len() > 1 => {
            vec![idle[0]]
        }
        Kind::KillAll if idle.len() == COUNT => idle,
        Kind::Kill | Kind::CrashLoop | Kind::Stop | Kind::Term | Kind::Clock | Kind::KillAll => {
            return None;
        }
    };
    let taken: Vec<usize> =
        chosen.iter().copied().filter(|number| world.replicas.take(*number)).collect();
    if taken.len() == chosen.len() {
        return Some(taken);
    }
    release(world, &taken);
    None
}

fn release(world: &World, replicas: &[usize]) {
    for number in replicas {
        world.replicas.release(*number);
    }
}

async fn make(world: &World, kind: Kind, replicas: &[usize], mut dice: Dice) -> Result<()> {
    let held = if kind.is_database() { Some(world.faults.database.lock().await) } else { None };
    let owners = world.owners(&mut dice).await;
    let pids: Vec<(usize, i32)> = replicas
        .iter()
        .filter_map(|number| Some((*number, world.replicas.pid(*number)?)))
        .collect();
    // A clock that is set takes no thread from anybody.
    let hit = |owner: &str| {
        kind.is_database() || kind != Kind::Clock && pids.iter().any(|(_, pid)| drives(*pid, owner))
    };
    let victims: Vec<String> =
        owners.into_iter().filter(|(_, owner)| hit(owner)).map(|(thread, _)| thread).collect();
    eprintln!("{:>7.1} s  {} {pids:?}: {} threads", world.age(), kind.name(), victims.len());
    let fault = Fault { kind, replicas: pids, at: now(), undone: None, victims };
    let number = world.faults.begin(fault);
    let done = match kind {
        Kind::Kill | Kind::KillAll => kill(world, replicas, &mut dice).await,
        Kind::CrashLoop => crash_loop(world, replicas, &mut dice).await,
        Kind::Term => term(world, replicas, &mut dice).await,
        Kind::Stop => stop(world, replicas, &mut dice).await,
        Kind::Clock => set_clocks(world, replicas, &mut dice).await,
        Kind::DatabaseCrash => outage(world, "immediate", &mut dice).await,
        Kind::DatabaseStop => outage(world, "fast", &mut dice).await,
        Kind::DatabaseHang => hang(world, &mut dice).await,
    };
    world.faults.undone(number);
    release(world, replicas);
    drop(held);
    done
}

async fn kill(world: &World, replicas: &[usize], dice: &mut Dice) -> Result<()> {
    die(world, replicas).await?;
    again(world, replicas, dice).await
}

async fn crash_loop(world: &World, replicas: &[usize], dice: &mut Dice) -> Result<()> {
    for _ in 1..dice.between(DEATHS.0, DEATHS.1) {
        die(world, replicas).await?;
        for number in replicas {
            world.replicas.up(*number).await?;
        }
        tokio::time::sleep(dice.millis(LIFE.0, LIFE.1)).await;
    }
    kill(world, replicas, dice).await
}

async fn die(world: &World, replicas: &[usize]) -> Result<()> {
    for number in replicas {
        world.replicas.signal(*number, Signal::SIGKILL);
    }
    for number in replicas {
        world.replicas.gone(*number).await?;
    }
    Ok(())
}

async fn term(world: &World, replicas: &[usize], dice: &mut Dice) -> Result<()> {
    for number in replicas {
        world.replicas.signal(*number, Signal::SIGTERM);
        world.replicas.gone(*number).await?;
    }
    again(world, replicas, dice).await
}

async fn again(world: &World, replicas: &[usize], dice: &mut Dice) -> Result<()> {
    tokio::time::sleep(dice.millis(100, 2_500)).await;
    join_all(replicas.iter().map(|number| world.replicas.up(*number))).await.into_iter().collect()
}

async fn stop(world: &World, replicas: &[usize], dice: &mut Dice) -> Result<()> {
    for number in replicas {
        world.replicas.signal(*number, Signal::SIGSTOP);
    }
    tokio::time::sleep(LEASE + dice.millis(500, 3_000)).await;
    for number in replicas {
        world.replicas.signal(*number, Signal::SIGCONT);
    }
    Ok(())
}

async fn set_clocks(world: &World, replicas: &[usize], dice: &mut Dice) -> Result<()> {
    for number in replicas {
        world.replicas.set_clock(*number, *dice.pick(&WRONG))?;
    }
    tokio::time::sleep(dice.millis(WRONG_FOR.0, WRONG_FOR.1)).await;
    for number in replicas {
        world.replicas.set_clock(*number, 0)?;
    }
    Ok(())
}

async fn outage(world: &World, mode: &str, dice: &mut Dice) -> Result<()> {
    let stopped = world.database.stop(mode).await;
    tokio::time::sleep(dice.millis(OUTAGE.0, OUTAGE.1)).await;
    world.database.start().await?;
    stopped
}

async fn hang(world: &World, dice: &mut Dice) -> Result<()> {
    let held = world.database.hang()?;
    tokio::time::sleep(dice.millis(HANG.0, HANG.1)).await;
    wake(&held);
    Ok(())
}

/// Milliseconds of the Unix epoch: the clock that events are stamped with, on one machine.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
