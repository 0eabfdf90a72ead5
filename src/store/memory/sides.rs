//! The sides of starts and appends: a function for each kind.

use crate::model::{Json, Seq, ThreadId, Timestamp};
use crate::store::{InterventionRow, Message, Side};

use super::state::{Cursor, State, Thread};

/// The thread of a write that got in, the events `(told.0, told.1]` of it, and the time.
type Written<'a> = (&'a ThreadId, (Seq, Seq), Timestamp);

impl State {
    /// Writes the sides of a write, in their order.
    pub(super) fn write_sides(&mut self, written: Written<'_>, sides: &[Side]) {
        let (id, ..) = written;
        for side in sides {
            let Some(thread) = self.threads.get_mut(id) else { return };
            match side {
                Side::Take { key, answer } => take(thread, key, answer),
                Side::Index(row) => index(thread, row),
                Side::Notify { subscription } => self.notify(written, subscription),
            }
        }
    }

    fn notify(&mut self, (thread, (sent, head), now): Written<'_>, subscription: &str) {
        if !self.notifications.contains_key(subscription) {
            return;
        }
        let key = (thread.clone(), subscription.to_owned());
        let cursor = self.cursors.entry(key).or_insert(Cursor {
            sent,
            head,
            since: now,
            due_at: now,
            attempts: 0,
            leased_until: Timestamp::from_millis(0),
            token: 0,
            holder: 0,
        });
        cursor.sent = cursor.sent.min(sent);
        cursor.head = head;
    }
}

fn take(thread: &mut Thread, key: &str, answer: &Json) {
    let untaken =
        |(message, taken): &&mut (Message, Option<Json>)| message.key == key && taken.is_none();
    if let Some((message, taken)) = thread.inbox.iter_mut().find(untaken) {
        *taken = Some(answer.clone());
        message.body = Json::null();
    }
}

fn index(thread: &mut Thread, row: &InterventionRow) {
    thread.interventions.insert(row.id.clone(), row.clone());
}
