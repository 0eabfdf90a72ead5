//! Reads a thread's stream through random replicas: goes on with `Last-Event-ID` wherever it broke
//! off, and sees to it that every event comes once, in order, without gaps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::watch;

use crate::client::Call;
use crate::dice::Dice;
use crate::world::World;

/// Longest silence: above the 15 s within which a stream shows that it lives.
const SILENCE: Duration = Duration::from_secs(20);
/// Longest wait for a stream's headers.
const PATIENCE: Duration = Duration::from_secs(7);
/// After the thread's end was seen elsewhere: how long the stream is given to come to it, once
/// nothing disturbs it any more.
const REST: Duration = Duration::from_mins(1);

/// What a stream showed.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// The data of each event, by order.
    pub(crate) events: Vec<String>,
    /// What was wrong with it.
    pub(crate) faults: Vec<String>,
    /// How often it was opened.
    pub(crate) connections: u32,
}

/// How one connection came to its end.
enum End {
    /// Nothing follows: 204.
    Done,
    /// Broken, closed or left.
    Again,
}

/// Reads until the thread has ended and the stream says that nothing follows.
pub(crate) async fn read(
    world: Arc<World>,
    thread: String,
    mut dice: Dice,
    ended: watch::Receiver<bool>,
) -> Read {
    let mut read = Read::default();
    let mut rest: Option<Instant> = None;
    loop {
        // Asked before the stream is: only then is the last word of the stream about the end.
        let over = *ended.borrow();
        if over && rest.is_none() {
            rest = Some(Instant::now().max(world.end) + REST);
        }
        let connection = read.connect(&world, &thread, &mut dice, &ended).await;
        if over && matches!(connection, End::Done) {
            return read;
        }
        if rest.is_some_and(|rest| Instant::now() > rest) {
            read.faults.push(format!("no end after event {}", read.events.len()));
            return read;
        }
        if !read.faults.is_empty() {
            return read;
        }
        tokio::time::sleep(dice.millis(50, 400)).await;
    }
}

impl Read {
    async fn connect(
        &mut self,
        world: &World,
        thread: &str,
        dice: &mut Dice,
        ended: &watch::Receiver<bool>,
    ) -> End {
        let Some(addr) = world.replicas.any(dice) else { return End::Again };
        let mut call = Call::get(format!("/stream/{thread}"));
        if !self.events.is_empty() {
            call = call.header("last-event-id", self.events.len().to_string());
        }
        let Ok(Ok(response)) = tokio::time::timeout(PATIENCE, call.open(addr)).await else {
            return End::Again;
        };
        self.connections += 1;
        match response.status().as_u16() {
            200 => {
                // Readers come and go: some leave in the middle.
                let leave = dice.percent(30).then(|| 1 + dice.below(8));
                self.frames(response.into_body(), leave, ended).await;
                End::Again
            }
            204 => End::Done,
            429 | 500..=599 => End::Again,
            status => {
                self.faults.push(format!("status {status} after event {}", self.events.len()));
                End::Again
            }
        }
    }

    async fn frames(
        &mut self,
        mut body: Incoming,
        leave: Option<usize>,
        ended: &watch::Receiver<bool>,
    ) {
        let (mut buffer, mut frames) = (Vec::new(), 0);
        // Once the thread has ended, a stream that stands still is one that missed it.
        let silence = if *ended.borrow() { PATIENCE } else { SILENCE };
        while let Ok(Some(Ok(frame))) = tokio::time::timeout(silence, body.frame()).await {
            buffer.extend_from_slice(&frame.into_data().unwrap_or_default());
            while let Some(end) = buffer.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = buffer.drain(..end + 2).collect();
                self.block(&String::from_utf8_lossy(&block));
                frames += 1;
            }
            if leave.is_some_and(|leave| frames >= leave) {
                return;
            }
        }
    }

    fn block(&mut self, block: &str) {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
        let (Some(event), Some(data)) = (field("event: "), field("data: ")) else {
            return self.faults.push(format!("not an event: {block:?}"));
        };
        let id = field("id: ").and_then(|text| text.parse::<usize>().ok());
        let expected = self.events.len() + 1;
        if id != Some(expected) {
            self.faults.push(format!("event {expected} was due, and came {id:?} ({event})"));
            return;
        }
        self.events.push(data.to_owned());
    }
}
