//! The table at the end, and the folder with what was wrong.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::audit::Finding;
use crate::faults::Kind;
use crate::flight::Flight;
use crate::recovery::{Recovery, Toll};
use crate::work::id;
use crate::world::World;

/// Threads that are described on the terminal; the folder has all of them.
const SHOWN: usize = 10;

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) toll: Toll,
    pub(crate) findings: Vec<Finding>,
    /// Threads that nobody was told of.
    pub(crate) unknown: Vec<String>,
    /// What replicas did that they should not have.
    pub(crate) replicas: Vec<String>,
    /// Answers that no client expects: worth a look, and no loss.
    pub(crate) odd: Vec<String>,
    /// How often threads were found paused.
    pub(crate) paused: u32,
    pub(crate) connections: u32,
}

impl Report {
    /// Puts together what was found.
    pub(crate) fn new(
        world: &World,
        flights: &[Flight],
        findings: Vec<Finding>,
        unknown: Vec<String>,
    ) -> Self {
        let journals: BTreeMap<&str, &[Value]> =
            findings.iter().map(|one| (one.thread.as_str(), one.journal.as_slice())).collect();
        let toll = Toll::new(world, &journals);
        Self {
            toll,
            unknown,
            replicas: world.replicas.faults(),
            odd: world.replicas.odd_answers(),
            paused: flights.iter().map(|flight| flight.paused).sum(),
            connections: flights
                .iter()
                .filter_map(|one| Some(one.read.as_ref()?.connections))
                .sum(),
            findings,
        }
    }

    /// Whether the promise was broken anywhere.
    pub(crate) fn is_bad(&self) -> bool {
        !self.unknown.is_empty()
            || !self.replicas.is_empty()
            || self.findings.iter().any(Finding::is_bad)
    }

    /// Prints the table.
    pub(crate) fn print(&self, flights: &[Flight]) {
        println!();
        println!(
            "{:<26} {:>5} {:>9} {:>12} {:>11} {:>10} {:>10}",
            "fault", "made", "hit work", "threads hit", "taken over", "mean", "slowest"
        );
        for kind in Kind::ALL {
            let of = |at: &usize| self.toll.faults[*at].kind == kind;
            let made: Vec<usize> = (0..self.toll.faults.len()).filter(of).collect();
            let hit = made.iter().filter(|at| self.toll.hit[**at] > 0).count();
            let threads: usize = made.iter().map(|at| self.toll.hit[*at]).sum();
            let taken: Vec<&Recovery> =
                self.toll.recoveries.iter().filter(|one| one.kind == kind).collect();
            println!(
                "{:<26} {:>5} {hit:>9} {threads:>12} {:>11} {:>10} {:>10}",
                kind.name(),
                made.len(),
                taken.len(),
                seconds(mean(&taken)),
                seconds(slowest(&taken).map(|one| one.took))
            );
        }
        let all: Vec<&Recovery> = self.toll.recoveries.iter().collect();
        let quiet: Vec<&Recovery> = all.iter().copied().filter(|one| !one.disturbed).collect();
        println!();
        let (made, hits) = (self.toll.faults.len(), self.toll.hits());
        row("faults", &format!("{made}, of which {hits} hit work in flight"));
        let read = flights.iter().filter(|flight| flight.read.is_some()).count();
        let streams = format!("{read} streams read over {} connections", self.connections);
        row("threads", &format!("{}; {streams}", flights.len()));
        row("steps completed", &self.sum(|one| one.completed));
        row("lost", &self.count(|one| one.lost.len()));
        let doubled: usize = self.findings.iter().map(|one| one.doubled.len()).sum();
        row("doubled completions", &(doubled + self.unknown.len()).to_string());
        row("wrong outputs", &self.count(|one| one.wrong.len()));
        row("stream faults", &self.count(|one| one.stream.len()));
        row("replica faults", &self.replicas.len().to_string());
        row("extra executions", &self.sum(|one| one.extra));
        row("paused and resumed", &self.paused.to_string());
        row("unexpected answers", &self.odd.len().to_string());
        let slow = slowest(&all).map_or_else(String::new, |one| {
            let after = if one.disturbed { ", more faults came meanwhile" } else { "" };
            format!(" (thread {}, {}{after})", one.thread, one.kind.name())
        });
        row("slowest recovery", &(seconds(slowest(&all).map(|one| one.took)) + &slow));
        row("MTTR", &format!("{} over {} takeovers", seconds(mean(&all)), all.len()));
        row(
            "  with no other fault",
            &format!(
                "{}, slowest {}, over {} takeovers",
                seconds(mean(&quiet)),
                seconds(slowest(&quiet).map(|one| one.took)),
                quiet.len()
            ),
        );
    }

    fn count(&self, of: impl Fn(&Finding) -> usize) -> String {
        self.findings.iter().map(of).sum::<usize>().to_string()
    }

    fn sum(&self, of: impl Fn(&Finding) -> u32) -> String {
        self.findings.iter().map(of).sum::<u32>().to_string()
    }

    /// Says what is wrong.
    pub(crate) fn explain(&self, seed: u64) {
        println!("\nFAILED with --seed {seed}:");
        for what in self.replicas.iter().take(SHOWN) {
            println!("  {what}");
        }
        for thread in self.unknown.iter().take(SHOWN) {
            println!("  {thread}: doubled: no client was told of this thread");
        }
        for finding in self.findings.iter().filter(|one| one.is_bad()).take(SHOWN) {
            let lists = [
                ("lost", &finding.lost),
                ("doubled", &finding.doubled),
                ("wrong", &finding.wrong),
                ("stream", &finding.stream),
            ];
            for (name, list) in lists {
                for what in list.iter().take(3) {
                    println!("  {}: {name}: {what}", finding.thread);
                }
            }
        }
    }

    /// Writes what belongs to bad threads, the faults and odd answers into a folder.
    pub(crate) fn save(&self, world: &World, flights: &[Flight], folder: &Path) -> Result<()> {
        let write = |name: &str, value: &Value| {
            std::fs::write(folder.join(name), serde_json::to_vec_pretty(value)?)?;
            anyhow::Ok(())
        };
        write(
            "faults.json",
            &json!({ "seed": world.seed, "faults": self.toll.faults, "recoveries": self.toll.recoveries }),
        )?;
        write(
            "odd.json",
            &json!({ "answers": self.odd, "replicas": self.replicas, "unknown": self.unknown }),
        )?;
        for (finding, flight) in self.findings.iter().zip(flights) {
            if !finding.is_bad() {
                continue;
            }
            let steps = 0..flight.job.steps.len();
            let effects: BTreeMap<String, _> = steps
                .map(|at| {
                    let key = format!("{}/{}", finding.thread, id(at));
                    let effect = world.recorder.of(&key);
                    (key, effect)
                })
                .collect();
            let value = json!({
                "thread": finding.thread,
                "lost": finding.lost,
                "doubled": finding.doubled,
                "wrong": finding.wrong,
                "stream": finding.stream,
                "job": format!("{:#?}", flight.job),
                "request": flight.job.body(&world.effects),
                "expectedOutput": flight.job.output(),
                "status": finding.status,
                "journal": finding.journal,
                "streamed": flight.read.as_ref().map(|read| &read.events),
                "effects": effects,
            });
            write(&format!("bad-{}.json", finding.thread), &value)?;
        }
        Ok(())
    }
}

fn row(name: &str, value: &str) {
    println!("{name:<26} {value}");
}

fn mean(of: &[&Recovery]) -> Option<i64> {
    let count = i64::try_from(of.len()).ok().filter(|count| *count > 0)?;
    Some(of.iter().map(|one| one.took).sum::<i64>() / count)
}

fn slowest<'a>(of: &[&'a Recovery]) -> Option<&'a Recovery> {
    of.iter().copied().max_by_key(|one| one.took)
}

fn seconds(millis: Option<i64>) -> String {
    millis.map_or_else(|| "-".to_owned(), |ms| format!("{}.{:02} s", ms / 1_000, ms % 1_000 / 10))
}
