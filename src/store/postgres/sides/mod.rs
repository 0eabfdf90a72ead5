//! The sides of a batch, in the statement of its writes: a file for each kind, with its text and its
//! columns.
//!
//! `ok` are the writes of the statement that got in, by thread. A side is written for them alone, and
//! looks them up by `IN … IS TRUE`: that stays a hash table, where a join would compare each with
//! each.

mod index;
mod notify;
mod take;

use crate::model::{Json, Seq, ThreadId};
use crate::store::InterventionRow;

use super::statement::Statement;

/// Sides of many writes, by kind.
#[derive(Debug, Default)]
pub(super) struct Sides<'a> {
    takes: Vec<take::Row<'a>>,
    indexed: Vec<index::Row<'a>>,
    notified: Vec<notify::Row<'a>>,
}

/// What a write has of each kind.
type Of<'a> = (&'a [(String, Json)], &'a [InterventionRow], &'a [String]);

impl<'a> Sides<'a> {
    /// Adds those of a write of events `(told.0, told.1]`.
    pub(super) fn push(&mut self, thread: &'a ThreadId, told: (Seq, Seq), of: Of<'a>) {
        let (thread, (taken, interventions, notices)) = (thread.as_str(), of);
        self.takes.extend(taken.iter().map(|(key, answer)| (thread, key.as_str(), answer)));
        self.indexed.extend(interventions.iter().map(|row| (thread, row)));
        let notice = |subscription| notify::Row { thread, subscription, told };
        self.notified.extend(notices.iter().map(|one| notice(one.as_str())));
    }

    /// Takes messages, which an append alone can: before it changes the threads' rows, whose counts
    /// of messages follow from it.
    pub(super) fn take(&self, statement: &mut Statement) {
        take::add(statement, &self.takes);
    }

    /// Writes all the others, once `ok` stands.
    pub(super) fn write(&self, statement: &mut Statement) {
        let Self { takes: _, indexed, notified } = self;
        index::add(statement, indexed);
        notify::add(statement, notified);
    }
}
