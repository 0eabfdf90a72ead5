//! Drives one thread: load, decide, append, perform. The one place where they meet.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::attempts::{Outcome, Started, perform};
use super::authority::Authority;
use super::commit::{Commit, Standing};
use super::core::Core;
use super::recoveries::{self, Recovering};
use super::settings::{DRIVER_QUEUE, MAX_COMMIT_BYTES, PARK_AFTER};
use super::snapshots::Tail;
use crate::machine::{Command, Moment, ThreadState};
use crate::model::{Epoch, Event};
use crate::observe::{Pool, Reservation};
use crate::store::Disposition;

/// What a driver is told.
#[derive(Debug)]
pub(super) enum Message {
    /// An attempt has ended, or is worth a warning.
    Attempt(Outcome),
    /// There may be messages in the thread's inbox.
    Mail,
}

/// Drives one thread while this replica has authority over it.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) core: Arc<Core>,
    pub(super) authority: Arc<Authority>,
    pub(super) state: ThreadState,
    pub(super) epoch: Epoch,
    /// Cancelled when the thread ends, the driver does, or authority is lost: no attempt goes on
    /// for longer.
    pub(super) attempts: CancellationToken,
    /// The newest attempt of each step, each to be cancelled by itself.
    pub(super) running: BTreeMap<usize, CancellationToken>,
    /// Attempts that are durably started and whose turn comes after what is decided first.
    pub(super) to_begin: VecDeque<Started>,
    /// The memory that the thread takes, and what was appended since it was weighed.
    pub(super) held: (Reservation, usize),
    /// Whether messages are known to wait in the thread's inbox.
    pub(super) mail: bool,
    /// The recovery that the first append makes durable.
    pub(super) recovering: Option<Recovering>,
    /// Its place among the suspects, until it gets on.
    pub(super) suspect: Option<DropGuard>,
    /// Whether it is known not to have killed its last replica: the next append says so.
    pub(super) cleared: bool,
    /// The journal since the last snapshot.
    pub(super) tail: Tail,
    pub(super) sender: mpsc::Sender<Message>,
    inbox: mpsc::Receiver<Message>,
}

/// What woke the driver.
enum Woken {
    Ended(Outcome),
    By(Command),
    Mail,
    Stop,
}

/// Bytes appended after which it is weighed again what a thread takes: often enough for a replica's
/// room, seldom enough for a thread of many small steps.
const WEIGH_EVERY: usize = 64 << 10;
/// Part of the memory limit that one thread may take: whoever is shown it has it twice, as its journal
/// and as its state, within half of the limit.
const THREAD_PART: usize = 8;

/// How often a driver looks whether a late heartbeat has come through after all.
const AUTHORITY_CHECK: Duration = Duration::from_millis(50);

impl Driver {
    /// A driver for a thread that this replica owns; `None` if it is driven here already.
    pub(super) fn new(
        core: Arc<Core>,
        authority: Arc<Authority>,
        state: ThreadState,
        epoch: Epoch,
    ) -> Option<Self> {
        let (sender, inbox) = mpsc::channel(DRIVER_QUEUE);
        core.enter(&state.thread_id, sender.clone())?;
        let attempts = authority.attempts();
        let tail = Tail::of(&state);
        let held = (core.parts.memory.note(Pool::Threads, state.weight()), 0);
        Some(Self {
            core,
            authority,
            state,
            epoch,
            attempts,
            running: BTreeMap::new(),
            to_begin: VecDeque::new(),
            held,
            mail: false,
            recovering: None,
            suspect: None,
            cleared: false,
            tail,
            sender,
            inbox,
        })
    }

    /// Goes on from `events`, which are durable already, or with a first command, until the thread
    /// has ended, is parked, or is lost to this replica.
    pub(super) async fn run(mut self, mut events: Vec<Event>, mut first: Option<Command>) {
        loop {
            let mut commit = Commit::default();
            match first.take() {
                Some(command) => self.begin(command, &mut commit).await,
                None if !self.gather(&events, &mut commit).await => return,
                None => {}
            }
            let stays = self.mail || matches!(self.disposition(), Disposition::Keep);
            if commit.is_empty() && stays {
                events = Vec::new();
                continue;
            }
            let standing = self.append(commit).await;
            if !matches!(standing, Standing::Lost)
                && let Some(recovering) = self.recovering.take()
                && !recoveries::conclude(&self, &recovering)
            {
                let mine = (&self.state.thread_id, self.epoch);
                return super::release::release_for_a_moment(&self.core, &self.authority, mine)
                    .await;
            }
            match standing {
                Standing::Driving(durable) => events = durable,
                Standing::Released | Standing::Lost => return,
            }
        }
    }

    /// Decides the first command, with the messages that wait: an abort among them is obeyed before
    /// anything is started.
    async fn begin(&mut self, command: Command, commit: &mut Commit) {
        if !self.mail {
            return self.decide(command, commit).await;
        }
        if matches!(command, Command::Condemn { .. }) {
            // Nothing else is looked at before it is paused.
            self.decide(command, commit).await;
            super::mail::take_stood(self, commit).await;
            return super::mail::take(self, commit, None).await;
        }
        if matches!(command, Command::Recover(_)) {
            // What was lost is told first, and started again last: what messages set going was not
            // lost with anybody. Whoever saw the thread before that has seen all that was done to it.
            let seen = self.state.last_seq;
            let still = Moment { may_start: false, ..self.core.moment() };
            if let Ok(events) = self.core.decide_at(&mut self.state, command, still).await {
                commit.add(events);
            }
            let taken_over = (self.state.last_seq == seen + 1).then_some(seen);
            super::mail::take(self, commit, taken_over).await;
            return self.decide(Command::Advance, commit).await;
        }
        let idle = !self.state.has_running();
        let interrupted = self.state.interrupted;
        super::mail::take(self, commit, None).await;
        let fresh = idle && self.state.has_running();
        // A step that its messages have just completed clears it of its losses.
        let cleared = self.state.interrupted < interrupted;
        let command = if fresh {
            Command::Advance
        } else if let (true, Command::Quarantine { takeover, .. }) = (cleared, &command) {
            Command::Recover(*takeover)
        } else {
            command
        };
        self.decide(command, commit).await;
    }

    /// Performs what has become durable, waits for what comes of it, and decides all that has come
    /// in. `false`: stop.
    async fn gather(&mut self, durable: &[Event], commit: &mut Commit) -> bool {
        if !self.has_authority().await {
            return false;
        }
        let done = self.perform(durable).await;
        let stays = matches!(self.disposition(), Disposition::Keep);
        let waits = done.is_empty() && self.to_begin.is_empty() && !self.mail && stays;
        let woken = if waits { Some(self.next().await) } else { None };
        let mut bytes = 0_usize;
        for outcome in done {
            bytes = bytes.saturating_add(outcome.weight());
            self.ended(outcome, commit).await;
        }
        match woken {
            Some(Woken::Stop) => return false,
            Some(Woken::Ended(outcome)) => {
                bytes = outcome.weight();
                self.ended(outcome, commit).await;
            }
            Some(Woken::By(command)) => self.decide(command, commit).await,
            Some(Woken::Mail) => self.mail = true,
            None => {}
        }
        // The rest is decided next: an append is read as a whole.
        while bytes < MAX_COMMIT_BYTES
            && let Ok(message) = self.inbox.try_recv()
        {
            match message {
                Message::Attempt(outcome) => {
                    bytes = bytes.saturating_add(outcome.weight());
                    self.ended(outcome, commit).await;
                }
                Message::Mail => self.mail = true,
            }
        }
        if self.mail {
            super::mail::take(self, commit, None).await;
        }
        true
    }

    /// Waits out a heartbeat that is late; `false` once authority is lost.
    async fn has_authority(&self) -> bool {
        while !self.authority.holds() {
            tokio::select! {
                biased;
                () = self.authority.lost() => return false,
                () = self.core.stopped.cancelled() => return false,
                () = tokio::time::sleep(AUTHORITY_CHECK) => {}
            }
        }
        true
    }

    /// Decides a command; one that comes too late changes nothing.
    pub(super) async fn decide(&mut self, command: Command, commit: &mut Commit) {
        match self.core.decide(&mut self.state, command).await {
            Ok(events) => commit.add(events),
            Err(rejection) => {
                tracing::debug!(thread = %self.state.thread_id, %rejection, "ignored");
            }
        }
    }

    async fn ended(&mut self, outcome: Outcome, commit: &mut Commit) {
        let outcome = self.affordable(outcome);
        let command = outcome.into_command(self.core.parts.settings.max_event);
        self.decide(command, commit).await;
    }

    /// Performs what has become durable; where the templates of it read much, apart from the rest.
    async fn perform(&mut self, durable: &[Event]) -> Vec<Outcome> {
        if durable.is_empty() || !self.state.is_large() {
            return perform(self, durable);
        }
        let core = Arc::clone(&self.core);
        core.aside.run(|| perform(self, durable)).await
    }

    /// The outcome, unless its output would make the thread larger than one may be: whoever drives it
    /// next has to hold all of it as well.
    fn affordable(&mut self, outcome: Outcome) -> Outcome {
        let Some(output) = outcome.output() else { return outcome };
        let memory = &self.core.parts.memory;
        let most = memory.limit() / THREAD_PART;
        let (reservation, since) = &self.held;
        if reservation.bytes().saturating_add(*since).saturating_add(output) <= most {
            return outcome;
        }
        self.weigh();
        if self.held.0.bytes().saturating_add(output) <= most {
            return outcome;
        }
        outcome.too_much(most)
    }

    /// Notes what was appended: it is weighed what the thread takes once that may have changed much.
    pub(super) fn grew(&mut self, bytes: usize) {
        self.held.1 = self.held.1.saturating_add(bytes);
        if self.held.1 >= WEIGH_EVERY {
            self.weigh();
        }
    }

    fn weigh(&mut self) {
        self.held.0.set(self.state.weight());
        self.held.1 = 0;
    }

    /// Waits for an attempt, a message, a timer, or the end of this replica's authority.
    async fn next(&mut self) -> Woken {
        let draining = self.core.draining.is_cancelled();
        if draining && !self.state.has_running() {
            return Woken::By(Command::Advance);
        }
        let wait = self.state.next_wake().map(|due| due.since(self.core.parts.clock.now()));
        tokio::select! {
            biased;
            () = self.authority.lost() => Woken::Stop,
            () = self.core.stopped.cancelled() => Woken::Stop,
            Some(message) = self.inbox.recv() => match message {
                Message::Mail => Woken::Mail,
                Message::Attempt(outcome) => Woken::Ended(outcome),
            },
            () = self.core.draining.cancelled(), if !draining => Woken::By(Command::Advance),
            () = due(wait), if !draining => Woken::By(Command::Advance),
        }
    }

    /// What happens to the thread's ownership with the next append: a thread that nothing moves
    /// for a while needs no driver.
    pub(super) fn disposition(&self) -> Disposition {
        if self.state.status.is_terminal() {
            return Disposition::Release { wake_at: None };
        }
        if self.state.has_running() {
            return Disposition::Keep;
        }
        let now = self.core.parts.clock.now();
        if self.core.draining.is_cancelled() {
            // What was not started here waits for no timer: whoever drives it next starts it at once.
            return Disposition::Release { wake_at: Some(now) };
        }
        match self.state.next_wake() {
            Some(due) if due.since(now) <= PARK_AFTER => Disposition::Keep,
            wake_at => Disposition::Release { wake_at },
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.attempts.cancel();
        self.core.leave(&self.state.thread_id);
    }
}

async fn due(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}
