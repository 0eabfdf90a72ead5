//! What a run is told: arguments from a person, the database and a folder from `scripts/chaos`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

/// How long faults are made if nobody says.
const SECONDS: u64 = 300;
/// Threads in flight: some are driven by each replica at any time, on two cores.
const IN_FLIGHT: usize = 24;
/// A run in which fewer faults than this hit work in flight has shown nothing.
const LEAST_HITS: usize = 10;
/// Seeds that are drawn are below this: short enough to be typed again.
const SEEDS: u64 = 1_000_000;

/// What a run is told.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) duration: Duration,
    pub(crate) seed: u64,
    pub(crate) in_flight: usize,
    pub(crate) least_hits: usize,
    /// Where logs and findings go.
    pub(crate) folder: PathBuf,
    /// The database, the folder of `pg_ctl`, and the cluster's data.
    pub(crate) url: String,
    pub(crate) programs: PathBuf,
    pub(crate) data: PathBuf,
    /// The library that gives a replica a clock of its own; `None`: no clock is set.
    pub(crate) faketime: Option<PathBuf>,
}

impl Options {
    /// Reads the arguments and the environment.
    pub(crate) fn read() -> Result<Self> {
        let env = |name: &str| {
            std::env::var(name).with_context(|| format!("no {name}: run scripts/chaos"))
        };
        let mut options = Self {
            duration: Duration::from_secs(SECONDS),
            seed: drawn_seed(),
            in_flight: IN_FLIGHT,
            least_hits: LEAST_HITS,
            folder: env("RETHREAD_CHAOS_DIR")?.into(),
            url: env("RETHREAD_CHAOS_POSTGRES_URL")?,
            programs: env("RETHREAD_CHAOS_POSTGRES_BIN")?.into(),
            data: env("RETHREAD_CHAOS_POSTGRES_DATA")?.into(),
            faketime: std::env::var_os("RETHREAD_CHAOS_FAKETIME").map(PathBuf::from),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let text = arguments.next().unwrap_or_default();
                text.parse::<u64>().with_context(|| format!("{argument} wants a number"))
            };
            match argument.as_str() {
                // What cargo says to any bench.
                "--bench" => {}
                "--seed" => options.seed = number()?,
                "--in-flight" => options.in_flight = usize::try_from(number()?)?,
                "--least-hits" => options.least_hits = usize::try_from(number()?)?,
                other => match other.parse() {
                    Ok(seconds) => options.duration = Duration::from_secs(seconds),
                    Err(_) => bail!(
                        "{other:?}: [seconds] [--seed n] [--in-flight n] [--least-hits n] [--debug] [--keep]"
                    ),
                },
            }
        }
        Ok(options)
    }
}

fn drawn_seed() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(since.subsec_nanos()) % SEEDS
}
