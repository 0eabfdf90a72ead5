//! The driver of one thread: its state, its waits and its decisions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::admission::{ASK_AGAIN, Lack};
use super::commit::Commit;
use super::release::MOMENT;
use super::report::{Message, Reported};
use super::tail::Tail;
use super::weights::{TURN, Turn, Weight};
use crate::definition::Work;
use crate::executor::Place;
use crate::machine::{AttemptId, Command, Report, ThreadState, too_much};
use crate::model::{Backoff, Category, Epoch, Failure, codes};
use crate::runtime::claim::bench::Seat;
use crate::runtime::claim::recovering::Recovering;
use crate::runtime::core::Core;
use crate::runtime::lease::authority::Authority;
use crate::runtime::settings::{DRIVER_QUEUE, PARK_AFTER};
use crate::store::Disposition;

/// Drives one thread while this replica has authority over it.
#[derive(Debug)]
pub(in crate::runtime) struct Driver {
    pub(in crate::runtime) core: Arc<Core>,
    pub(in crate::runtime) authority: Arc<Authority>,
    pub(in crate::runtime) state: ThreadState,
    pub(in crate::runtime) epoch: Epoch,
    /// Cancelled when the thread or its driver ends, or authority is lost: no attempt goes on after
    /// that.
    pub(in crate::runtime) attempts: CancellationToken,
    /// The attempts that run here, each with the token that cancels it alone.
    pub(in crate::runtime) running: BTreeMap<AttemptId, CancellationToken>,
    /// Set if steps are ready that the last decision did not get to.
    pub(in crate::runtime) unfinished: bool,
    /// Reports not decided yet.
    pub(in crate::runtime) reports: VecDeque<Reported>,
    /// Attempts that are durably started and wait to be begun.
    pub(in crate::runtime) to_begin: VecDeque<AttemptId>,
    /// The lacks that hold attempts up.
    pub(in crate::runtime) lacks: BTreeSet<Lack>,
    /// Waiting attempts whose filters are too long to be run in place.
    pub(in crate::runtime) heavy: BTreeSet<AttemptId>,
    /// The pause before memory is asked for again; `asks` gives the next ones.
    pub(in crate::runtime) asks_after: Duration,
    pub(in crate::runtime) asks: Backoff,
    /// A place for the first one that needs it.
    pub(in crate::runtime) place: Option<Place>,
    /// A place for the first filter that needs it.
    pub(in crate::runtime) filter: Option<Place>,
    /// The memory that the thread takes, and the bytes appended since it was weighed.
    pub(in crate::runtime) held: (Weight, usize),
    /// The thread's turn to grow while threads fill their memory, and its end.
    turn: Option<(Turn, Duration)>,
    /// Set while the thread has the turn: what its attempts receive then waits for no memory.
    pub(in crate::runtime) goes_first: Arc<AtomicBool>,
    /// Set if messages are known to wait in the thread's inbox.
    pub(in crate::runtime) mail: bool,
    /// The recovery that the first append makes durable.
    pub(in crate::runtime) recovering: Option<Recovering>,
    /// The thread's seat among the suspects, until it makes progress.
    pub(in crate::runtime) suspect: Option<Seat>,
    /// Set if the thread cannot have killed its last replica; the next append says so.
    pub(in crate::runtime) cleared: bool,
    /// The part of the journal since the last snapshot.
    pub(in crate::runtime) tail: Tail,
    pub(in crate::runtime) sender: mpsc::Sender<Message>,
    pub(in crate::runtime) inbox: mpsc::Receiver<Message>,
}

/// The reason why the driver woke.
pub(in crate::runtime) enum Woken {
    Report(Reported),
    By(Command),
    Mail,
    /// There may be room for an attempt that waits to be begun.
    Room,
    Stop,
}

/// The bytes appended before a thread's memory is weighed again: few enough for an exact room, many
/// enough for a thread with many small steps.
const WEIGH_EVERY: usize = 64 << 10;

/// The interval of checks whether a late heartbeat has succeeded after all.
const AUTHORITY_CHECK: Duration = Duration::from_millis(50);

impl Driver {
    /// Creates a driver for a thread that this replica owns; `None` if it is driven here already.
    pub(in crate::runtime) fn new(
        core: Arc<Core>,
        authority: Arc<Authority>,
        state: ThreadState,
        epoch: Epoch,
    ) -> Option<Self> {
        let (sender, inbox) = mpsc::channel(DRIVER_QUEUE);
        core.driven.enter(&state.thread_id, sender.clone())?;
        let attempts = authority.attempts();
        let tail = Tail::of(&state);
        let held = (core.weights.weigh(state.thread_id.namespace(), state.weight()), 0);
        Some(Self {
            core,
            authority,
            state,
            epoch,
            attempts,
            running: BTreeMap::new(),
            unfinished: false,
            reports: VecDeque::new(),
            to_begin: VecDeque::new(),
            lacks: BTreeSet::new(),
            heavy: BTreeSet::new(),
            asks_after: Duration::ZERO,
            asks: ASK_AGAIN,
            place: None,
            filter: None,
            held,
            turn: None,
            goes_first: Arc::default(),
            mail: false,
            recovering: None,
            suspect: None,
            cleared: false,
            tail,
            sender,
            inbox,
        })
    }

    /// Waits out a late heartbeat; returns `false` once authority is lost.
    pub(in crate::runtime) async fn has_authority(&self) -> bool {
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

    /// Decides a command; a rejected one changes nothing.
    pub(in crate::runtime) async fn decide(&mut self, command: Command, commit: &mut Commit) {
        // Decisions do not wait, so a task that makes many in a row must yield at times.
        tokio::task::coop::consume_budget().await;
        match self.core.decide(&mut self.state, command).await {
            Ok(decided) => {
                self.unfinished |= decided.unfinished;
                commit.add(decided);
            }
            Err(rejection) => {
                tracing::debug!(thread = %self.state.thread_id, ?rejection, "ignored");
            }
        }
    }

    /// Returns the report of an attempt, or a permanent failure if its output is too large for an
    /// event, or for the memory that a server gives one thread: the next driver has to hold all of
    /// it as well. The output of a compensation is not kept, so its size does not matter.
    pub(in crate::runtime) fn kept(&mut self, attempt: AttemptId, report: Report) -> Report {
        let Report::Done { output, .. } = &report else { return report };
        if attempt.work == Work::Compensation {
            return report;
        }
        let (size, max_event) = (output.as_str().len(), self.core.parts.settings.max_event);
        let failure = if size > max_event {
            Failure::permanent(
                codes::PAYLOAD_TOO_LARGE,
                Category::Resource,
                format!("the output has {size} bytes; at most {max_event} are kept"),
            )
        } else if self.has_room_for(size) {
            return report;
        } else {
            too_much(self.core.max_thread())
        };
        Report::Failed { failure, retry_after: None }
    }

    fn has_room_for(&mut self, bytes: usize) -> bool {
        let most = self.core.max_thread();
        let (weight, since) = &self.held;
        if weight.bytes().saturating_add(*since).saturating_add(bytes) <= most {
            return true;
        }
        self.weigh();
        self.held.0.bytes().saturating_add(bytes) <= most
    }

    /// Counts the bytes of a thread's growth before they are appended.
    pub(in crate::runtime) fn swell(&mut self, bytes: usize) {
        let weight = &mut self.held.0;
        weight.set(weight.bytes().saturating_add(bytes));
    }

    /// Counts appended bytes, and weighs the thread again once its memory may have changed much.
    pub(in crate::runtime) fn grew(&mut self, bytes: usize) {
        self.held.1 = self.held.1.saturating_add(bytes);
        if self.held.1 >= WEIGH_EVERY {
            self.weigh();
        }
    }

    fn weigh(&mut self) {
        self.held.0.set(self.state.weight());
        self.held.1 = 0;
    }

    /// Returns whether a lack holds attempts up.
    pub(in crate::runtime) fn lacks(&self, lack: Lack) -> bool {
        self.lacks.contains(&lack)
    }

    /// Returns whether the thread may grow by another attempt: always while there is memory for
    /// more, else in its turn.
    pub(in crate::runtime) fn may_grow(&mut self) -> bool {
        if !self.core.weights.are_full_for(&self.state.thread_id.namespace()) {
            self.set_turn(None);
            return true;
        }
        let now = self.core.parts.clock.monotonic();
        if self.turn.as_ref().is_none_or(|(_, ends)| now >= *ends) {
            // Given back first: another thread may wait for it.
            self.set_turn(None);
            self.begin_turn(self.core.weights.try_turn());
        }
        self.turn.is_some()
    }

    fn begin_turn(&mut self, turn: Option<Turn>) {
        let ends = self.core.parts.clock.monotonic().saturating_add(TURN);
        self.set_turn(turn.map(|turn| (turn, ends)));
    }

    fn set_turn(&mut self, turn: Option<(Turn, Duration)>) {
        self.goes_first.store(turn.is_some(), Ordering::Relaxed);
        self.turn = turn;
    }

    /// Waits for an attempt, a message, a timer, or the end of this replica's authority.
    pub(in crate::runtime) async fn next(&mut self) -> Woken {
        let draining = self.core.draining.is_cancelled();
        if draining && !self.state.has_running() {
            return Woken::By(Command::Advance);
        }
        let namespace = self.state.thread_id.namespace();
        let clock = &self.core.parts.clock;
        // The store's clock goes on while the machine is suspended, and the timers here do not.
        let wait = self.state.next_wake().map(|due| due.since(clock.now()).min(PARK_AFTER));
        let turn = self.turn.as_ref().map(|(_, ends)| ends.saturating_sub(clock.monotonic()));
        tokio::select! {
            biased;
            () = self.authority.lost() => Woken::Stop,
            () = self.core.stopped.cancelled() => Woken::Stop,
            Some(message) = self.inbox.recv() => match message {
                Message::Mail => Woken::Mail,
                Message::Report(reported) => Woken::Report(reported),
            },
            place = self.core.places.take(&namespace), if self.lacks(Lack::Place) => {
                self.place = place.ok();
                Woken::Room
            }
            place = self.core.filters.take(&namespace), if self.lacks(Lack::Filter) => {
                self.filter = place.ok();
                Woken::Room
            }
            turn = self.core.weights.turn(), if self.lacks(Lack::Turn) => {
                self.begin_turn(turn);
                Woken::Room
            }
            () = due(turn), if turn.is_some() => {
                self.set_turn(None);
                Woken::Room
            }
            () = tokio::time::sleep(self.asks_after), if self.lacks(Lack::Memory) => Woken::Room,
            () = self.core.draining.cancelled(), if !draining => Woken::By(Command::Advance),
            () = due(wait), if !draining => Woken::By(Command::Advance),
        }
    }

    /// Returns what the next append does with the ownership: a thread that nothing moves for a
    /// while needs no driver.
    pub(in crate::runtime) fn disposition(&self) -> Disposition {
        if self.state.status.is_terminal() {
            return Disposition::Release { wake_at: None };
        }
        if self.state.has_running() {
            return Disposition::Keep;
        }
        let now = self.core.parts.clock.now();
        if self.core.draining.is_cancelled() {
            // The thread is due now, so that the next driver starts the remaining work at once.
            return Disposition::Release { wake_at: Some(now) };
        }
        if self.unfinished {
            return Disposition::Keep;
        }
        match self.state.next_wake() {
            Some(due) if due.since(now) <= PARK_AFTER => Disposition::Keep,
            // Released, it would stand still for ever.
            None if self.state.is_unmoved() => Disposition::SetAside { until: now.plus(MOMENT) },
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
