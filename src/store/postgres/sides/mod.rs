//! The sides of a batch, in the statement of its writes: a file for each kind, with its text and its
//! columns.
//!
//! `ok` are the writes of the statement that got in, by thread. A side is written for them alone, and
//! looks them up by `IN … IS TRUE`: that stays a hash table, where a join would compare each with
//! each.

mod index;
mod notify;
mod take;

use crate::model::{Seq, ThreadId};
use crate::store::Side;

use super::statement::Statement;

/// Sides of many writes, by kind.
#[derive(Debug, Default)]
pub(super) struct Sides<'a> {
    takes: Vec<take::Row<'a>>,
    indexed: Vec<index::Row<'a>>,
    notified: Vec<notify::Row<'a>>,
}

impl<'a> Sides<'a> {
    /// Adds those of a write of events `(told.0, told.1]`.
    pub(super) fn push(&mut self, thread: &'a ThreadId, told: (Seq, Seq), sides: &'a [Side]) {
        let thread = thread.as_str();
        for side in sides {
            match side {
                Side::Take { key, answer } => self.takes.push((thread, key, answer)),
                Side::Index(row) => self.indexed.push((thread, row)),
                Side::Notify { subscription } => {
                    self.notified.push(notify::Row { thread, subscription, told });
                }
            }
        }
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
