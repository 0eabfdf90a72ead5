//! Holds every thread against what it should have come to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::client::Call;
use crate::dice::Dice;
use crate::expect::Standing;
use crate::faults::now;
use crate::flight::Flight;
use crate::recovery;
use crate::replicas::Replicas;
use crate::work::{Work, id};
use crate::world::World;

/// How far the clocks of two replicas may be apart, in milliseconds.
const NEAR: i64 = 1_000;

/// What was found about one thread.
#[derive(Debug, Default)]
pub(crate) struct Finding {
    pub(crate) thread: String,
    pub(crate) lost: Vec<String>,
    pub(crate) doubled: Vec<String>,
    pub(crate) wrong: Vec<String>,
    pub(crate) stream: Vec<String>,
    /// Effects beyond the one that a completed step needs and those that failed on purpose.
    pub(crate) extra: u32,
    pub(crate) completed: u32,
    pub(crate) status: Value,
    pub(crate) journal: Vec<Value>,
}

impl Finding {
    /// Whether anything is wrong.
    pub(crate) fn is_bad(&self) -> bool {
        !(self.lost.is_empty()
            && self.doubled.is_empty()
            && self.wrong.is_empty()
            && self.stream.is_empty())
    }
}

/// Looks at one thread.
pub(crate) async fn audit(world: &World, flight: &Flight) -> Finding {
    let mut finding = Finding::default();
    let name = format!("job {}", flight.job.number);
    finding.thread = flight.thread.clone().unwrap_or(name);
    if let Some(trouble) = &flight.trouble {
        finding.lost.push(trouble.clone());
    }
    if flight.thread.is_some()
        && let Err(error) = finding.look(world, flight).await
    {
        finding.lost.push(format!("{error:#}"));
    }
    finding
}

impl Finding {
    async fn look(&mut self, world: &World, flight: &Flight) -> Result<()> {
        let mut dice = Dice::new(world.seed, "audit", flight.job.number);
        let call = Call::get(format!("/status/{}", self.thread));
        let limit = Instant::now() + std::time::Duration::from_secs(30);
        let answer = call.send(&world.replicas, &mut dice, limit).await?;
        ensure!(answer.status == 200, "its status is {}: {}", answer.status, answer.text());
        self.status = answer.json();
        let texts = journal(&world.replicas, &mut dice, &self.thread).await?;
        for addr in world.replicas.addrs() {
            let again = pages(addr, &self.thread).await?;
            if again != texts {
                self.wrong.push(format!("the journal at {addr} has other bytes"));
            }
        }
        self.journal = texts.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
        if self.journal.len() != texts.len() {
            self.wrong.push("an event is not JSON".to_owned());
        }
        self.check_journal();
        self.check_times(world);
        self.check_steps(world, flight);
        self.check_end(flight);
        if let Some(read) = &flight.read {
            self.stream.extend(read.faults.iter().cloned());
            if read.faults.is_empty() && read.events != texts {
                let (shown, kept) = (read.events.len(), texts.len());
                self.stream.push(format!("{shown} events shown are not the {kept} of the journal"));
            }
        }
        Ok(())
    }

    fn check_journal(&mut self) {
        let journal = std::mem::take(&mut self.journal);
        let mut done = BTreeSet::new();
        let mut attempts: BTreeMap<&str, u64> = BTreeMap::new();
        let mut ended = false;
        for (at, event) in journal.iter().enumerate() {
            let (kind, step) = (&event["type"], event["stepId"].as_str().unwrap_or_default());
            let kind = kind.as_str().unwrap_or_default();
            let number = at + 1;
            if event["seq"] != json!(number) {
                self.wrong.push(format!("event {number} has the number {}", event["seq"]));
            }
            if (kind == "workflow_start") != (at == 0) {
                self.wrong.push(format!("event {number} is {kind}"));
            }
            if ended && kind != "workflow_resumed" {
                self.wrong.push(format!("event {number} follows the end"));
            }
            ended = matches!(kind, "workflow_complete" | "workflow_failed" | "workflow_aborted");
            if kind == "step_complete" && !done.insert(step) {
                self.doubled.push(format!("{step} was completed again by event {number}"));
            }
            if kind == "step_start" {
                let attempt = event["attempt"].as_u64().unwrap_or(0);
                if done.contains(step) {
                    self.doubled.push(format!("{step} was started again by event {number}"));
                }
                let before = attempts.insert(step, attempt).unwrap_or(0);
                if attempt != before + 1 {
                    self.wrong.push(format!("{step}: attempt {attempt} after {before}"));
                }
            }
        }
        if !ended {
            self.lost.push("its journal has no end".to_owned());
        }
        if self.status["lastSeq"] != json!(journal.len()) {
            self.wrong.push(format!("lastSeq is {}", self.status["lastSeq"]));
        }
        self.journal = journal;
    }

    /// All replicas have the database's clock, which is this machine's, whatever their own says.
    fn check_times(&mut self, world: &World) {
        let (mut last, now) = (world.began_ms, now());
        for (at, event) in self.journal.iter().enumerate() {
            let time = recovery::at(event);
            if time < last - NEAR || time > now + NEAR {
                self.wrong.push(format!("event {} has the time {}", at + 1, event["at"]));
            }
            last = last.max(time);
        }
    }

    fn check_steps(&mut self, world: &World, flight: &Flight) {
        let job = &flight.job;
        // Beside a step that failed the thread, or after an abort, others may not have run.
        let whole = job.fatal().is_none() && self.status["status"] == "completed";
        for (at, outcome) in job.outcomes.iter().enumerate() {
            let shown = self.status["steps"][at].clone();
            let status = shown["status"].as_str().unwrap_or_default();
            let expected = outcome.standing.status();
            if status != expected && (whole || status != "pending") {
                self.wrong.push(format!("{} is {status}, not {expected}", id(at)));
                continue;
            }
            if status == "completed" {
                self.completed += 1;
                let output = &shown["output"];
                let value = match job.steps[at].work {
                    Work::Http { .. } => &output["body"]["value"],
                    Work::Cat | Work::Printf => &output["stdout"],
                    Work::Transform { .. } => output,
                    Work::Sleep { .. } => &json!(i64::from(output["sleptMs"].is_u64())),
                };
                if *value != outcome.value {
                    self.wrong.push(format!("{} has {value}, not {}", id(at), outcome.value));
                }
            }
            if matches!(job.steps[at].work, Work::Http { .. }) {
                self.check_effect(world, at, status, outcome.standing);
            }
        }
    }

    fn check_effect(&mut self, world: &World, at: usize, status: &str, standing: Standing) {
        let effect = world.recorder.of(&format!("{}/{}", self.thread, id(at)));
        if effect.changed {
            self.wrong.push(format!("{}: attempts sent different requests", id(at)));
        }
        let good = effect.calls - effect.failed;
        if status == "completed" && good == 0 {
            self.wrong.push(format!("{} is completed without its effect", id(at)));
        }
        if matches!(standing, Standing::Skipped | Standing::Never) && effect.calls > 0 {
            self.wrong.push(format!("{} had its effect, and should not run", id(at)));
        }
        self.extra += good.saturating_sub(1);
    }

    fn check_end(&mut self, flight: &Flight) {
        let job = &flight.job;
        let status = self.status["status"].as_str().unwrap_or_default();
        let expected = match (flight.aborted, job.fatal()) {
            (true, _) => "aborted",
            (false, Some(_)) => "failed",
            (false, None) => "completed",
        };
        if status != expected {
            self.wrong.push(format!("it is {status}, not {expected}"));
            return;
        }
        let last = self.journal.last().map(|event| event["type"].clone()).unwrap_or_default();
        let end = match expected {
            "completed" => "workflow_complete",
            "failed" => "workflow_failed",
            _ => "workflow_aborted",
        };
        if last != end {
            self.wrong.push(format!("it is {expected}, and its last event is {last}"));
        }
        if expected == "completed" && self.status["output"] != job.output() {
            self.wrong.push(format!("output {}, not {}", self.status["output"], job.output()));
        }
        if expected == "failed"
            && let Some(fatal) = job.fatal()
            && self.status["error"]["stepId"] != json!(id(fatal))
        {
            self.wrong.push(format!("it failed by {}", self.status["error"]));
        }
    }
}

/// The texts of a thread's events, from any replica that answers.
async fn journal(replicas: &Replicas, dice: &mut Dice, thread: &str) -> Result<Vec<String>> {
    let mut last = None;
    for _ in 0..10 {
        let Some(addr) = replicas.any(dice) else { continue };
        match pages(addr, thread).await {
            Ok(events) => return Ok(events),
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(dice.millis(100, 500)).await;
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("no replica is up")))
}

async fn pages(addr: std::net::SocketAddr, thread: &str) -> Result<Vec<String>> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Page {
        items: Vec<Box<RawValue>>,
        next_cursor: Option<String>,
    }
    let (mut events, mut after) = (Vec::new(), "0".to_owned());
    loop {
        let call = Call::get(format!("/threads/{thread}/events?after={after}&limit=200"));
        let answer = call.once(addr, std::time::Duration::from_secs(10)).await?;
        ensure!(answer.status == 200, "its journal is {}: {}", answer.status, answer.text());
        let page: Page = serde_json::from_slice(&answer.body).context("not a page")?;
        events.extend(page.items.iter().map(|item| item.get().to_owned()));
        let Some(next) = page.next_cursor else { return Ok(events) };
        after = next;
    }
}

/// Threads that the replicas know and no client was told of: doubled starts.
pub(crate) async fn unknown_threads(world: &World, flights: &[Flight]) -> Result<Vec<String>> {
    let known: BTreeSet<&str> = flights.iter().filter_map(|one| one.thread.as_deref()).collect();
    let mut dice = Dice::new(world.seed, "audit", 0);
    let (mut unknown, mut cursor) = (Vec::new(), String::new());
    loop {
        let limit = Instant::now() + std::time::Duration::from_secs(30);
        let call = Call::get(format!("/threads?limit=200{cursor}"));
        let page = call.send(&world.replicas, &mut dice, limit).await?.json();
        for item in page["items"].as_array().context("no list of threads")? {
            let thread = item["threadId"].as_str().context("no threadId")?;
            if !known.contains(thread) {
                unknown.push(thread.to_owned());
            }
        }
        let Some(next) = page["nextCursor"].as_str() else { return Ok(unknown) };
        cursor = format!("&cursor={next}");
    }
}
