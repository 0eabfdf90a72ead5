//! Work at random on three replicas, faults at random, and a look at whether anything was lost.
//!
//! `scripts/chaos` runs it. It uses the public API of the real binary, signals, and a database
//! cluster of its own; what each thread must come to is computed from its description, without the
//! server's code. It never touches a process that it has not started, but those of that cluster.
//!
//! Ends with 0 when the promise was kept, with 1 when it was not, and with 2 when too few faults
//! hit work in flight to say so.

#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that measures: it reads clocks, prints, and may panic on its own JSON"
)]

mod audit;
mod client;
mod database;
mod dice;
mod expect;
mod faults;
mod flight;
mod options;
mod reader;
mod recorder;
mod recovery;
mod replicas;
mod report;
mod work;
mod world;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::Result;
use futures_util::{StreamExt, stream};
use tokio::signal::unix::{SignalKind, signal};

use crate::database::Database;
use crate::faults::Faults;
use crate::flight::Flight;
use crate::options::Options;
use crate::recorder::Recorder;
use crate::replicas::Replicas;
use crate::report::Report;
use crate::world::{CALM, World};

/// The promise was broken.
const BROKEN: u8 = 1;
/// Too little happened to say anything.
const VOID: u8 = 2;
/// Somebody ended the run, or it could not be made.
const ENDED: u8 = 130;
/// Threads that are looked at side by side at the end.
const AUDITORS: usize = 8;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let options = Options::read()?;
    println!(
        "chaos: {} s, seed {}, {} threads in flight on {} replicas",
        options.duration.as_secs(),
        options.seed,
        options.in_flight,
        replicas::COUNT
    );
    let replicas = Replicas::start(&options).await?;
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let ended = tokio::select! {
        ended = run(&options, Arc::clone(&replicas)) => ended,
        _ = interrupt.recv() => Ok(ENDED.into()),
        _ = terminate.recv() => Ok(ENDED.into()),
    };
    replicas.end().await;
    ended
}

async fn run(options: &Options, replicas: Arc<Replicas>) -> Result<ExitCode> {
    let (recorder, effects) = Recorder::start().await?;
    let began = Instant::now();
    let world = Arc::new(World {
        seed: options.seed,
        began,
        began_ms: faults::now(),
        end: began + options.duration,
        limit: began + options.duration + CALM,
        replicas,
        database: Database {
            programs: options.programs.clone(),
            data: options.data.clone(),
            ours: options.folder.clone(),
        },
        faults: Faults::default(),
        recorder,
        effects,
        in_flight: Mutex::new(BTreeMap::new()),
    });
    let numbers = Arc::new(AtomicU64::new(1));
    let clients: Vec<_> = (0..options.in_flight)
        .map(|_| tokio::spawn(flight::one_after_another(Arc::clone(&world), Arc::clone(&numbers))))
        .collect();
    faults::inject(Arc::clone(&world), world.end).await?;
    eprintln!("{:>7.1} s  all faults are undone", world.age());
    let mut flights: Vec<Flight> = Vec::new();
    for client in clients {
        flights.extend(client.await?);
    }
    eprintln!("{:>7.1} s  looking at {} threads", world.age(), flights.len());
    let findings = stream::iter(&flights).map(|flight| audit::audit(&world, flight));
    let findings = findings.buffered(AUDITORS).collect().await;
    let unknown = audit::unknown_threads(&world, &flights).await?;
    let report = Report::new(&world, &flights, findings, unknown);
    report.save(&world, &flights, &options.folder)?;
    report.print(&flights);
    if report.is_bad() {
        report.explain(options.seed);
        return Ok(BROKEN.into());
    }
    let hits = report.toll.hits();
    if hits < options.least_hits {
        println!("\nvoid: {hits} faults hit work in flight, and {} had to", options.least_hits);
        return Ok(VOID.into());
    }
    println!("\nkept: nothing lost, nothing doubled, nothing wrong (seed {})", options.seed);
    Ok(ExitCode::SUCCESS)
}
