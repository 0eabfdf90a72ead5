//! Crash loops of every kind against the judgement (`crashes`): no innocent thread is paused or waits
//! for long, all are at work soon after the last crash, and threads that kill are found.

use super::crashes::{BEAT, Counts, Kind, Rng, SEEDS, START, Simulation, Thread};
use super::suspicion::{Evidence, Suspicion};

/// Kills so many replicas from outside, each after a drawn life, and checks what becomes of the
/// threads.
fn outside(
    name: &str,
    (seeds, replicas): (u64, usize),
    (threads, kills): (usize, usize),
    step: impl Fn(usize) -> u64,
    life: impl Fn(&mut Rng) -> u64,
) -> (Counts, u64) {
    let (mut counts, mut worst) = (Counts::default(), 0);
    for seed in 0..seeds {
        let all = (0..threads).map(|at| Thread::new(Kind::Innocent(step(at)), 20)).collect();
        let mut simulation = Simulation::new(seed, replicas, all);
        simulation.run(START + 3_000, |_| false);
        for _ in 0..kills {
            let later = simulation.now + 60_000;
            simulation.run(later, Simulation::all_up);
            let then = simulation.now + life(&mut simulation.rng);
            simulation.run(then, |_| false);
            let number = simulation.rng.below(u64::try_from(replicas).unwrap());
            simulation.die(usize::try_from(number).unwrap());
        }
        let later = simulation.now + 60_000;
        simulation.run(later, Simulation::all_up);
        let end = simulation.now;
        simulation.run(end + 60_000, Simulation::all_at_work);
        worst = worst.max(simulation.now - end);
        simulation.run(end + 120_000, |_| false);
        let paused = simulation.threads.iter().filter(|one| one.paused).count();
        assert_eq!(paused, 0, "{name}, seed {seed}: innocent threads are paused");
        let longest = simulation.threads.iter().map(|one| one.longest_wait).max().unwrap();
        assert!(longest <= 30_000, "{name}, seed {seed}: a thread waits for {longest} ms");
        counts.add(simulation.counts);
    }
    println!("{name}: all at work after {worst} ms at the latest, {counts:?}");
    (counts, worst)
}

/// Lets culprits loose among others; returns for each seed the deaths and the time until all are
/// paused.
fn inside(
    name: &str,
    (seeds, replicas): (u64, usize),
    (innocent, step): (usize, u64),
    culprits: &[Kind],
) -> Vec<(usize, u64)> {
    let mut found = Vec::new();
    for seed in 0..seeds {
        let others = (0..innocent).map(|_| Thread::new(Kind::Innocent(step), u32::MAX));
        let all = others.chain(culprits.iter().map(|kind| Thread::new(*kind, 1))).collect();
        let mut simulation = Simulation::new(seed, replicas, all);
        let caught =
            |simulation: &Simulation| simulation.threads[innocent..].iter().all(|one| one.paused);
        simulation.run(START + 1_200_000, caught);
        assert!(caught(&simulation), "{name}, seed {seed}: not found");
        let paused = simulation.threads[..innocent].iter().filter(|one| one.paused).count();
        assert_eq!(paused, 0, "{name}, seed {seed}: innocent threads are paused");
        let longest = simulation.threads.iter().map(|one| one.longest_wait).max().unwrap();
        assert!(longest <= 30_000, "{name}, seed {seed}: a thread waits for {longest} ms");
        found.push((simulation.deaths.len(), simulation.now - START));
    }
    found.sort_unstable();
    let usual = found[found.len() / 2];
    let times = found.iter().map(|(_, took)| *took).max().unwrap();
    println!("{name}: {usual:?}, at most {:?} and {times} ms", found.last().unwrap());
    found
}

/// Checks that nearly all were found within 8 deaths and 60 s, and the others soon after.
fn assert_soon(found: &[(usize, u64)]) {
    let soon = found.iter().filter(|(deaths, took)| *deaths <= 8 && *took <= 60_000).count();
    assert!(soon * 20 >= found.len() * 19, "{found:?}");
    assert!(found.iter().all(|(deaths, took)| *deaths <= 12 && *took <= 75_000), "{found:?}");
}

#[test]
fn after_a_crash_loop_from_outside_all_are_at_work_within_ten_seconds() {
    let mut counts = Counts::default();
    let mut check = |name: &str, size: (usize, usize), step: u64, life: u64| {
        let (met, worst) = outside(name, (SEEDS, 1), size, |_| step, |_| life);
        assert!(worst <= 10_000, "{name}: {worst} ms");
        counts.add(met);
    };
    check("15 lives of 60 ms", (60, 15), 5_000, 60);
    check("15 lives of 200 ms", (60, 15), 200, 200);
    check("10 lives of 2 s", (60, 10), 5_000, 2_000);
    check("30 lives of 2 s", (200, 30), 5_000, 2_000);
    for life in [60, 500, 2_000, 5_000, 10_000, 20_000, 60_000] {
        check(&format!("5 lives of {life} ms"), (200, 5), 40_000, life);
    }
    let reached = [
        counts.turns,
        counts.trials,
        counts.controls,
        counts.spoilt,
        counts.acquittals,
        counts.impatient,
    ];
    assert!(reached.iter().all(|count| *count > 0), "a branch was never reached: {counts:?}");
}

#[test]
fn of_two_thousand_threads_none_is_paused_by_two_hundred_random_kills() {
    let step = |at: usize| [100, 1_000, 8_000, 40_000][at % 4];
    for mean in [3_000, 10_000] {
        for replicas in [1, 3] {
            let name = format!("kills every {mean} ms, {replicas} replicas");
            let life = |rng: &mut Rng| rng.wait(mean);
            outside(&name, (1, replicas), (2_000, 200), step, life);
        }
    }
}

#[test]
fn a_thread_that_kills_is_found_soon_among_two_hundred_others() {
    let mut found = Vec::new();
    for replicas in [1, 3] {
        for step in [400, 40_000] {
            for kind in [Kind::Kills(0), Kind::Kills(50), Kind::Kills(400), Kind::KillsLoading] {
                let name = format!("{kind:?}, steps of {step} ms, {replicas} replicas");
                found.extend(inside(&name, (SEEDS, replicas), (200, step), &[kind]));
            }
        }
    }
    found.extend(inside("alone", (SEEDS, 1), (0, 0), &[Kind::Kills(400)]));
    assert_soon(&found);
}

#[test]
fn threads_that_kill_late_or_in_turn_are_found_too() {
    inside("after a minute", (1, 1), (200, 400), &[Kind::Kills(60_000)]);
    inside("after a minute", (1, 1), (200, 40_000), &[Kind::Kills(60_000)]);
    inside("after a second", (SEEDS, 1), (200, 400), &[Kind::Kills(1_000)]);
    inside("at random", (SEEDS, 1), (200, 400), &[Kind::KillsWithin(1_000)]);
    inside("at random", (SEEDS, 1), (0, 0), &[Kind::KillsWithin(1_000)]);
    let two = [Kind::Kills(400), Kind::Kills(300)];
    inside("two", (2, 1), (200, 400), &two);
    inside("two", (2, 1), (200, 40_000), &two);
    inside("two", (2, 3), (200, 400), &two);
}

#[test]
fn a_thread_that_was_only_claimed_is_not_suspected() {
    let deaths = [(1, START), (2, START + 1_000)];
    let now = START + 2_000;
    let evidence = Evidence { deaths: &deaths, now, beat: BEAT, judge: 3, unit: 0.0 };
    let mut suspicion = Suspicion::default();
    suspicion.judge(1, Evidence { judge: 2, deaths: &deaths[..1], ..evidence });
    assert_eq!((suspicion.points, suspicion.losses), (2, 1));
    suspicion.judge(2, evidence);
    assert_eq!((suspicion.points, suspicion.losses), (2, 1), "it had not been started");
}
