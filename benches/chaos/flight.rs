//! One thread after another, each from its invoke to its end, as a client sees it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::client::Call;
use crate::dice::Dice;
use crate::reader::{self, Read};
use crate::work::Job;
use crate::world::World;

/// A thread, and what its client saw.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) job: Job,
    /// Its id, once it was accepted.
    pub(crate) thread: Option<String>,
    /// Whether an abort was answered with its end.
    pub(crate) aborted: bool,
    /// How often it was found paused, and resumed.
    pub(crate) paused: u32,
    /// What went wrong, if anything did.
    pub(crate) trouble: Option<String>,
    /// What its stream showed, if it was read.
    pub(crate) read: Option<Read>,
}

/// Keeps one thread in flight until the run ends.
pub(crate) async fn one_after_another(
    world: Arc<World>,
    numbers: Arc<std::sync::atomic::AtomicU64>,
) -> Vec<Flight> {
    let mut flights = Vec::new();
    while Instant::now() < world.end {
        let number = numbers.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let mut flight = Flight {
            job: Job::new(world.seed, number),
            thread: None,
            aborted: false,
            paused: 0,
            trouble: None,
            read: None,
        };
        if let Err(error) = flight.fly(&world).await {
            flight.trouble = Some(format!("{error:#}"));
        }
        if let Some(thread) = &flight.thread {
            world.in_flight().remove(thread);
        }
        flights.push(flight);
    }
    flights
}

impl Flight {
    async fn fly(&mut self, world: &Arc<World>) -> Result<()> {
        let mut dice = Dice::new(world.seed, "client", self.job.number);
        let thread = self.invoke(world, &mut dice).await?;
        self.thread = Some(thread.clone());
        world.in_flight().insert(thread.clone(), None);
        let (ended, seen) = watch::channel(false);
        let reading = self.job.manner.read.then(|| {
            let dice = Dice::new(world.seed, "reader", self.job.number);
            tokio::spawn(reader::read(Arc::clone(world), thread.clone(), dice, seen))
        });
        let outcome = self.until_it_ended(world, &mut dice, &thread).await;
        ended.send_replace(true);
        if let Some(reading) = reading {
            self.read = Some(reading.await?);
        }
        outcome
    }

    async fn until_it_ended(&mut self, world: &World, dice: &mut Dice, thread: &str) -> Result<()> {
        if let Some(after) = self.job.manner.abort {
            tokio::time::sleep(after).await;
            self.aborted = self.abort(world, dice, thread).await?;
        }
        if let Some(after) = self.job.manner.resume
            && self.aborted
        {
            tokio::time::sleep(after).await;
            self.control(world, dice, thread, "resume").await?;
            self.aborted = false;
            return self.wait(world, dice, thread, &["completed", "failed"]).await.map(drop);
        }
        self.wait(world, dice, thread, &["completed", "failed", "aborted"]).await.map(drop)
    }

    /// Invokes until it is accepted: the same request, so that it is one thread.
    async fn invoke(&self, world: &World, dice: &mut Dice) -> Result<String> {
        let mut body = self.job.body(&world.effects);
        let name = format!("chaos-{}-{}", world.seed, self.job.number);
        if !self.job.manner.by_key {
            body["threadId"] = json!(name);
        }
        let mut call = Call::post("/invoke/async", &body);
        if self.job.manner.by_key {
            call = call.header("idempotency-key", name);
        }
        let answer = call.send(&world.replicas, dice, world.limit).await?;
        if !matches!(answer.status, 200 | 202) {
            bail!("the invoke was answered with {}: {}", answer.status, answer.text());
        }
        Ok(answer.json()["threadId"].as_str().context("no threadId")?.to_owned())
    }

    /// Whether the thread was stopped before it ended by itself.
    async fn abort(&mut self, world: &World, dice: &mut Dice, thread: &str) -> Result<bool> {
        let status = self.control(world, dice, thread, "abort").await?;
        if status == 409 {
            return Ok(false);
        }
        let ends = ["completed", "failed", "aborted"];
        let document = self.wait(world, dice, thread, &ends).await?;
        Ok(document["status"] == "aborted")
    }

    async fn control(
        &self,
        world: &World,
        dice: &mut Dice,
        thread: &str,
        what: &str,
    ) -> Result<u16> {
        let key = format!("{what}-{thread}-{}", self.paused);
        let call = Call::post(format!("/threads/{thread}/{what}"), &json!({ "reason": "chaos" }))
            .header("idempotency-key", key);
        let answer = call.send(&world.replicas, dice, world.limit).await?;
        if !matches!(answer.status, 200 | 202 | 409) {
            bail!("{what} was answered with {}: {}", answer.status, answer.text());
        }
        Ok(answer.status)
    }

    /// Waits for one of these ends; resumes a thread that was quarantined.
    async fn wait(
        &mut self,
        world: &World,
        dice: &mut Dice,
        thread: &str,
        ends: &[&str],
    ) -> Result<Value> {
        let call = Call::get(format!("/status/{thread}?outputs=false&wait=3s"));
        let mut last = Value::Null;
        while Instant::now() < world.limit {
            let answer = call.send(&world.replicas, dice, world.limit).await?;
            if answer.status != 200 {
                bail!("lost: its status is {}: {}", answer.status, answer.text());
            }
            last = answer.json();
            world.seen(thread, last["owner"].as_str());
            let status = last["status"].as_str().unwrap_or_default();
            if ends.contains(&status) {
                return Ok(last);
            }
            if status == "paused" {
                self.paused += 1;
                self.control(world, dice, thread, "resume").await?;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("lost: it has not ended: {last}")
    }
}
