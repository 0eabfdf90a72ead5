//! The real runtime and machine on the memory store, with faults at every call of the store.
//!
//! A seed draws workflows, clients, replicas and all faults: calls that fail, or happen and fail,
//! or take longer than a lease, or happen much later; replicas that are cut off, are taken for
//! gone, die one by one or all at once at any point, stand still, or are restarted in good order;
//! hints that are lost, late and doubled; and workflows with a step that ends the replica that
//! performs it. Such a thread must be paused, and no other thread may be. Time is simulated, so
//! that thousands of seeds take seconds. While it runs, and at the end, every promise is checked
//! against the durable data.
//!
//! `RETHREAD_SIM_SEED=n` replays one seed and shows its course; `RETHREAD_SIM_SEEDS=n` runs that
//! many.

mod audit;
mod calls;
mod client;
mod clock;
mod effects;
mod faulty;
mod hints;
mod journal;
mod life;
mod oracle;
mod process;
mod random;
mod replica;
mod weather;
mod workflow;
mod world;

use process::{Report, Simulation};

/// The number of seeds in every run of the tests, in shares that run side by side.
const SEEDS: u64 = 5_000;
/// The number of shares: one test each.
const SHARES: u64 = 5;

/// Runs one share of the seeds.
fn every_promise_holds(share: u64) {
    if let Some(seed) = setting("RETHREAD_SIM_SEED") {
        if seed % SHARES == share {
            show(seed);
        }
        return;
    }
    let mut met = Report::default();
    let seeds = setting("RETHREAD_SIM_SEEDS").unwrap_or(SEEDS);
    let mine = (share..seeds).step_by(usize::try_from(SHARES).unwrap());
    let mut lived = 0;
    for seed in mine {
        let outcome = std::panic::catch_unwind(|| Simulation::new(seed, false).run());
        match outcome {
            Ok(Ok(report)) => met.add(&report),
            Ok(Err(violations)) => panic!(
                "seed {seed} (RETHREAD_SIM_SEED={seed} shows what happens):\n{}",
                violations.join("\n")
            ),
            Err(panicked) => {
                eprintln!("seed {seed} (RETHREAD_SIM_SEED={seed} shows what happens) panicked");
                std::panic::resume_unwind(panicked);
            }
        }
        lived += 1;
    }
    println!("{lived} seeds: {met:?}");
    // A simulation with few faults proves little.
    let least = lived / 10;
    let faults = [met.takeovers, met.fenced, met.crashes, met.deaths, met.quarantines, met.undone];
    assert!(faults.iter().all(|&met| met >= least), "too little went wrong: {met:?}");
    assert!(met.undone >= lived / 20, "too little was undone: {met:?}");
}

fn show(seed: u64) {
    show_logs();
    match Simulation::new(seed, true).run() {
        Ok(report) => println!("seed {seed}: {report:?}"),
        Err(violations) => panic!("seed {seed}:\n{}", violations.join("\n")),
    }
}

#[test]
fn every_promise_holds_whatever_fails_share_0() {
    every_promise_holds(0);
}

#[test]
fn every_promise_holds_whatever_fails_share_1() {
    every_promise_holds(1);
}

#[test]
fn every_promise_holds_whatever_fails_share_2() {
    every_promise_holds(2);
}

#[test]
fn every_promise_holds_whatever_fails_share_3() {
    every_promise_holds(3);
}

#[test]
fn every_promise_holds_whatever_fails_share_4() {
    every_promise_holds(4);
}

#[test]
fn the_same_seed_gives_the_same_journals() {
    for seed in 0..40 {
        let journals = || Simulation::new(seed, false).run();
        assert!(journals() == journals(), "seed {seed} has two histories");
    }
}

#[expect(clippy::disallowed_methods, reason = "how a person asks for a seed")]
fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

fn show_logs() {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("rethread=debug")
        .without_time()
        .with_writer(std::io::stderr)
        .finish();
    drop(tracing::subscriber::set_global_default(subscriber));
}
