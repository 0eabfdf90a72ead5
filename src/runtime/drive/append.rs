//! Appends a driver's commit, and turns the store's answer into what to do next.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::commit::{Commit, records, summary};
use super::driver::Driver;
use crate::machine::Effect;
use crate::model::{Event, Seq, ThreadStatus};
use crate::runtime::calls::interventions;
use crate::runtime::write::writer::Committed;
use crate::store::{Append, Disposition, Side, Write, WriteOutcome};

/// The driver's situation after an append.
#[derive(Debug)]
pub(in crate::runtime) enum AppendResult {
    /// The driver goes on, with the effects of what is durable now.
    Driving(Vec<Effect>),
    /// The thread was released with the append: it has ended, or is parked.
    Released,
    /// The thread belongs to somebody else, or the store is gone: drop it.
    Lost,
}

impl Driver {
    /// Appends a commit and waits until it is durable.
    pub(in crate::runtime) async fn append(&mut self, commit: Commit) -> AppendResult {
        let disposition = self.disposition();
        let thread = self.state.thread_id.clone();
        let prev = self.state.last_seq - count(&commit.events);
        let progress = self.cleared || commit.events.iter().any(|event| event.body.is_progress());
        let records = records(&thread, &commit.events);
        let bytes = records.iter().flat_map(|records| &records.events).map(String::len).sum();
        let workflow: Arc<str> = Arc::from(self.state.workflow.name.as_str());
        let notices = self.core.notices.wanted((&thread, &workflow), &commit.events);
        let told = !notices.is_empty();
        let mut sides = commit.sides;
        let asked = interventions::rows(&self.state, &commit.events);
        sides.extend(asked.into_iter().map(Side::Index));
        sides.extend(notices);
        let append = Append {
            thread_id: thread.clone(),
            epoch: self.epoch,
            prev,
            records,
            summary: summary(&self.state),
            progress,
            disposition,
            sides,
        };
        let write = Write::Append(Box::new(append));
        match self.core.writer.commit(write, workflow, Arc::clone(&self.authority)).await {
            Committed::Answered(WriteOutcome::Written { mail }) => {
                self.written(&commit.events, bytes);
                if told {
                    self.core.notices.written();
                }
                self.mail = mail > 0;
                if progress {
                    self.get_on();
                }
                match disposition {
                    Disposition::Keep => AppendResult::Driving(commit.effects),
                    Disposition::Release { .. } | Disposition::SetAside { .. } => {
                        if self.mail {
                            self.core.nudge.notify_one();
                        }
                        if self.core.draining.is_cancelled() {
                            self.core.feed.hints.work();
                        }
                        AppendResult::Released
                    }
                }
            }
            Committed::Answered(
                outcome @ (WriteOutcome::Fenced
                | WriteOutcome::ThreadExists
                | WriteOutcome::KeyExists
                | WriteOutcome::DefinitionMissing
                | WriteOutcome::Busy),
            ) => {
                tracing::warn!(%thread, ?outcome, "another replica drives this thread");
                // Or the journal lost its tail in a failover: then the thread is still ours, to be
                // reloaded.
                self.core.doubt.store(true, Ordering::Release);
                AppendResult::Lost
            }
            // An append names no definition.
            Committed::Lost | Committed::DefinitionMissing(_) => AppendResult::Lost,
            refused @ (Committed::Answered(WriteOutcome::Refused) | Committed::Refused(_)) => {
                tracing::error!(%thread, ?refused, "an append was refused; it is tried again later");
                let mine = (&thread, self.epoch);
                super::release::release_for_a_moment(&self.core, &self.authority, mine).await;
                AppendResult::Lost
            }
        }
    }

    /// Clears the thread of its losses.
    fn get_on(&mut self) {
        self.cleared = false;
        if let Some(seat) = self.suspect.take() {
            seat.get_on();
        }
    }

    /// Records what became durable: `events`, of `bytes` bytes in all.
    fn written(&mut self, events: &[Event], bytes: usize) {
        super::count::count(&self.core.parts.metrics, &self.state, events);
        if self.state.status == ThreadStatus::Completed {
            let (thread, workflow) = (&self.state.thread_id, &self.state.workflow.name);
            self.core.estimates.completed(thread, workflow);
        }
        self.grew(bytes);
        super::snapshots::appended(self, events, bytes);
    }
}

fn count(events: &[Event]) -> Seq {
    Seq::try_from(events.len()).unwrap_or(0)
}
