//! The real runtime and machine on the memory store, with faults at every call of the store.
//!
//! A seed draws workflows, clients, replicas and everything that goes wrong: calls that fail, or
//! happen and fail, or take longer than a lease, or happen much later; replicas that are cut off;
//! processes that die in the middle of anything, stand still, or are restarted in good order. Time
//! is simulated, so that thousands of seeds take seconds. While it runs, and at the end, every
//! promise is held against what is durable.
//!
//! `RETHREAD_SIM_SEED=n` replays one seed and shows what happens; `RETHREAD_SIM_SEEDS=n` runs that
//! many.

mod audit;
mod client;
mod clock;
mod effects;
mod faulty;
mod oracle;
mod process;
mod random;
mod workflow;
mod world;

use process::Simulation;

/// Seeds in every run of the tests: under a minute of one core in a debug build.
const SEEDS: u64 = 2_000;

#[test]
fn every_promise_holds_whatever_fails() {
    if let Some(seed) = setting("RETHREAD_SIM_SEED") {
        show_logs();
        if let Err(violations) = Simulation::new(seed, true).run() {
            panic!("seed {seed}:\n{}", violations.join("\n"));
        }
        return;
    }
    let mut met = (0, 0, 0);
    let seeds = setting("RETHREAD_SIM_SEEDS").unwrap_or(SEEDS);
    for seed in 0..seeds {
        let outcome = std::panic::catch_unwind(|| Simulation::new(seed, false).run());
        match outcome {
            Ok(Ok(report)) => {
                met.0 += report.takeovers;
                met.1 += report.fenced;
                met.2 += report.deaths;
            }
            Ok(Err(violations)) => panic!(
                "seed {seed} (RETHREAD_SIM_SEED={seed} shows what happens):\n{}",
                violations.join("\n")
            ),
            Err(panicked) => {
                eprintln!("seed {seed} (RETHREAD_SIM_SEED={seed} shows what happens) panicked");
                std::panic::resume_unwind(panicked);
            }
        }
    }
    let (takeovers, fenced, deaths) = met;
    println!("{seeds} seeds: {takeovers} takeovers, {fenced} fenced writes, {deaths} deaths");
    // A simulation in which little goes wrong proves little.
    let least = u32::try_from(seeds / 10).unwrap();
    assert!(takeovers >= least && fenced >= least && deaths >= least, "too little went wrong");
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
