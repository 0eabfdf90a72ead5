//! Drives one thread: decide, append, perform. They meet only here.

use std::sync::Arc;

use super::admission::Lack;
use super::append::AppendResult;
use super::attempts::perform;
use super::commit::Commit;
use super::driver::{Driver, Woken};
use super::inbox;
use super::report::{Message, Reported};
use crate::machine::{AttemptId, Command, DecisionContext, Effect, Report};
use crate::runtime::claim::recoveries;
use crate::runtime::settings::MAX_COMMIT_BYTES;
use crate::store::Disposition;

impl Driver {
    /// Drives the thread, from the effects of durable events or from a first command, until it has
    /// ended, is parked, or is lost to this replica.
    pub(in crate::runtime) async fn run(
        mut self,
        mut effects: Vec<Effect>,
        mut first: Option<Command>,
    ) {
        loop {
            let mut commit = Commit::default();
            match first.take() {
                Some(command) => self.begin(command, &mut commit).await,
                None if !self.gather(effects, &mut commit).await => return,
                None => {}
            }
            let stays = self.mail || matches!(self.disposition(), Disposition::Keep);
            if commit.is_empty() && stays {
                effects = Vec::new();
                continue;
            }
            let result = self.append(commit).await;
            if !matches!(result, AppendResult::Lost)
                && let Some(recovering) = self.recovering.take()
            {
                recoveries::conclude(&self, &recovering);
            }
            match result {
                AppendResult::Driving(durable) => effects = durable,
                AppendResult::Released | AppendResult::Lost => return,
            }
        }
    }

    /// Decides the first command together with the waiting messages: an abort among them takes
    /// effect before anything is started.
    async fn begin(&mut self, command: Command, commit: &mut Commit) {
        if !self.mail {
            return self.decide(command, commit).await;
        }
        if matches!(command, Command::Condemn { .. }) {
            // Pause the thread before reading other messages.
            self.decide(command, commit).await;
            inbox::take_stood(self, commit).await;
            return inbox::take(self, commit, None).await;
        }
        if matches!(command, Command::Recover(_)) {
            // The takeover is decided first, and lost attempts are started again last, so that
            // attempts started by messages do not count as lost. A caller who saw the thread just
            // before the takeover has seen everything that was done to it.
            let seen = self.state.last_seq;
            let still = DecisionContext { may_start: false, ..self.core.context() };
            if let Ok(decided) = self.core.decide_at(&mut self.state, command, still).await {
                self.unfinished |= decided.unfinished;
                commit.add(decided);
            }
            let taken_over = (self.state.last_seq == seen + 1).then_some(seen);
            inbox::take(self, commit, taken_over).await;
            return self.decide(Command::Advance, commit).await;
        }
        let idle = !self.state.has_running();
        let interrupted = self.state.interrupted;
        inbox::take(self, commit, None).await;
        let fresh = idle && self.state.has_running();
        // A step that a message has just completed clears the thread of its losses.
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

    /// Carries out the effects, waits for a result, and decides everything that has come in.
    /// Returns `false` if the driver has to stop.
    async fn gather(&mut self, effects: Vec<Effect>, commit: &mut Commit) -> bool {
        if !self.has_authority().await {
            return false;
        }
        let reports = self.perform(effects).await;
        self.reports.extend(reports);
        let stays = matches!(self.disposition(), Disposition::Keep);
        if !self.may_take_next() {
            self.lacks.insert(Lack::Turn);
        }
        let stuck = self.lacks(Lack::Turn);
        let begins = !self.to_begin.is_empty() && self.lacks.is_empty();
        if begins {
            // Other tasks go first; the remaining attempts are begun next.
            tokio::task::yield_now().await;
        }
        let rests = (self.reports.is_empty() && !self.unfinished) || stuck;
        let waits = rests && !begins && !self.mail && stays;
        let woken = if waits { Some(self.next().await) } else { None };
        match woken {
            Some(Woken::Stop) => return false,
            Some(Woken::Report(reported)) => self.reports.push_back(reported),
            Some(Woken::By(command)) => self.decide(command, commit).await,
            Some(Woken::Mail) => self.mail = true,
            Some(Woken::Room) | None => {}
        }
        // A reader reads an append as a whole, so further reports wait for the next commit.
        let mut bytes = 0_usize;
        while bytes.max(commit.output_bytes) < MAX_COMMIT_BYTES
            && let Some(Reported { attempt, report, held }) = self.next_report()
        {
            bytes = bytes.saturating_add(report.weight());
            let before = commit.output_bytes;
            self.take(attempt, report, commit).await;
            self.swell(commit.output_bytes.saturating_sub(before));
            drop(held);
        }
        if self.mail {
            inbox::take(self, commit, None).await;
        }
        if self.unfinished && self.may_grow() {
            self.unfinished = false;
            self.decide(Command::Advance, commit).await;
        }
        true
    }

    /// Returns the next report that has arrived, unless the thread must wait before it grows by it;
    /// notes messages before it.
    fn next_report(&mut self) -> Option<Reported> {
        while self.reports.is_empty() {
            match self.inbox.try_recv().ok()? {
                Message::Report(reported) => self.reports.push_back(reported),
                Message::Mail => self.mail = true,
            }
        }
        if self.may_take_next() { self.reports.pop_front() } else { None }
    }

    /// Returns whether the next report, and steps left by earlier decisions, may be decided.
    fn may_take_next(&mut self) -> bool {
        let steps = &self.state.plan.steps;
        let next = self.reports.front();
        let grows = next.is_some_and(|next| next.report.grows(&steps[next.attempt.step]));
        !(grows || self.unfinished) || self.may_grow()
    }

    /// Decides a report.
    async fn take(&mut self, attempt: AttemptId, report: Report, commit: &mut Commit) {
        if report.is_end() {
            self.running.remove(&attempt);
        }
        let report = self.kept(attempt, report);
        self.decide(Command::Attempt { attempt, report }, commit).await;
    }

    /// Carries out the effects; for a large state, whose templates may read much, in a place for
    /// long work (`aside`).
    async fn perform(&mut self, effects: Vec<Effect>) -> Vec<Reported> {
        let idle = effects.is_empty() && self.to_begin.is_empty();
        if idle || !self.state.is_large() {
            return perform(self, effects);
        }
        let core = Arc::clone(&self.core);
        let namespace = self.state.thread_id.namespace();
        core.aside.run_for(&namespace, || perform(self, effects)).await
    }
}
