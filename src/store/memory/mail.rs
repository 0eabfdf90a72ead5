//! Messages to threads.

use crate::model::{Incarnation, Json, ThreadId, Timestamp};
use crate::store::limits::{MAX_INBOX, MAX_READ_BYTES};
use crate::store::{Message, Posted};

use super::state::State;

impl State {
    /// See [`crate::store::Store::post`].
    pub(super) fn post(&mut self, id: &ThreadId, message: &Message, now: Timestamp) -> Posted {
        let Some(thread) = self.threads.get_mut(id) else { return Posted::NoThread };
        if thread.inbox.iter().any(|(known, _)| known.key == message.key) {
            return Posted::Duplicate;
        }
        thread.inbox.push((message.clone(), None));
        let (owner, wake_at) = (thread.row.owner, thread.row.wake_at);
        if owner == 0 {
            self.place(id, 0, Some(wake_at.map_or(now, |at| at.min(now))));
        }
        Posted::Stored { owner }
    }

    /// See [`crate::store::Store::inbox`].
    pub(super) fn inbox(&self, id: &ThreadId) -> Vec<Message> {
        let letters = self.threads.get(id).map_or(&[][..], |thread| &thread.inbox);
        let untaken = letters.iter().filter(|(_, answer)| answer.is_none()).take(MAX_INBOX);
        let mut bytes = 0;
        let fits = |(at, (message, _)): &(usize, &(Message, _))| {
            bytes += message.body.as_str().len();
            *at == 0 || bytes <= MAX_READ_BYTES
        };
        untaken.enumerate().take_while(fits).map(|(_, (message, _))| message.clone()).collect()
    }

    /// See [`crate::store::Store::inbox_of`].
    pub(super) fn inbox_of(&self, id: &ThreadId, kind: &str) -> Vec<Message> {
        let letters = self.threads.get(id).map_or(&[][..], |thread| &thread.inbox);
        let untaken = letters.iter().filter(|(_, answer)| answer.is_none());
        let wanted = untaken.filter(|(message, _)| message.key.starts_with(kind));
        wanted.take(MAX_INBOX).map(|(message, _)| message.clone()).collect()
    }

    /// See [`crate::store::Store::mail`].
    pub(super) fn mail(&self, me: Incarnation) -> Vec<ThreadId> {
        let mine = self.owned.get(&me).into_iter().flatten();
        let has_mail = |id: &&ThreadId| self.threads.get(*id).is_some_and(|t| t.pending() > 0);
        mine.filter(has_mail).cloned().collect()
    }

    /// See [`crate::store::Store::answer`].
    pub(super) fn answer(&self, id: &ThreadId, key: &str) -> Option<Json> {
        let (_, answer) = self.threads.get(id)?.inbox.iter().find(|(m, _)| m.key == key)?;
        answer.clone()
    }
}
