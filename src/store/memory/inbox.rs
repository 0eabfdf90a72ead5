//! Messages to threads.

use async_trait::async_trait;

use crate::model::{Incarnation, Json, ThreadId};
use crate::store::limits::{
    MAX_INBOX, MAX_READ_BYTES, MAX_UNTAKEN, MAX_UNTAKEN_BYTES, SMALL_MESSAGE,
};
use crate::store::{Inbox, Message, Posted, Result};

use super::MemoryStore;
use super::state::State;

#[async_trait]
impl Inbox for MemoryStore {
    async fn post(&self, thread: &ThreadId, message: &Message) -> Result<Posted> {
        Ok(self.post_within(MAX_UNTAKEN, thread, message))
    }

    async fn post_apart(&self, thread: &ThreadId, message: &Message) -> Result<Posted> {
        Ok(self.post_within(usize::MAX, thread, message))
    }

    async fn inbox(&self, thread: &ThreadId) -> Result<Vec<Message>> {
        let state = self.state();
        let mut bytes = 0;
        let fits = |(at, message): &(usize, &Message)| {
            bytes += message.body.as_str().len();
            *at == 0 || bytes <= MAX_READ_BYTES
        };
        let untaken = state.untaken(thread).take(MAX_INBOX).enumerate().take_while(fits);
        Ok(untaken.map(|(_, message)| message.clone()).collect())
    }

    async fn inbox_of(&self, thread: &ThreadId, kind: &str) -> Result<Vec<Message>> {
        let state = self.state();
        let wanted = state.untaken(thread).filter(|message| message.key.starts_with(kind));
        Ok(wanted.take(MAX_INBOX).cloned().collect())
    }

    async fn mail(&self, me: Incarnation) -> Result<Vec<ThreadId>> {
        let state = self.state();
        let mine = state.owned.get(&me).into_iter().flatten();
        let has_mail = |id: &&ThreadId| state.threads.get(*id).is_some_and(|t| t.pending() > 0);
        Ok(mine.filter(has_mail).cloned().collect())
    }

    async fn answer(&self, thread: &ThreadId, key: &str) -> Result<Option<Json>> {
        let state = self.state();
        let inbox = state.threads.get(thread).map_or(&[][..], |found| &found.inbox);
        let message = inbox.iter().find(|(message, _)| message.key == key);
        Ok(message.and_then(|(_, answer)| answer.clone()))
    }
}

impl MemoryStore {
    fn post_within(&self, most: usize, thread: &ThreadId, message: &Message) -> Posted {
        let (mut state, now) = (self.state(), self.clock.now());
        let size = |message: &Message| message.body.as_str().len();
        let (number, bytes) = state
            .untaken(thread)
            .fold((0, 0), |(number, bytes), one| (number + 1, bytes + size(one)));
        let Some(found) = state.threads.get_mut(thread) else { return Posted::NoThread };
        if found.inbox.iter().any(|(known, _)| known.key == message.key) {
            return Posted::Duplicate;
        }
        let fits = number == 0
            || size(message) <= SMALL_MESSAGE
            || bytes + size(message) <= MAX_UNTAKEN_BYTES;
        if number >= most || !fits {
            return Posted::Full;
        }
        found.inbox.push((message.clone(), None));
        let (owner, wake_at) = (found.row.owner, found.row.wake_at);
        if owner == 0 {
            state.place(thread, 0, Some(wake_at.map_or(now, |at| at.min(now))));
        }
        Posted::Stored { owner }
    }
}

impl State {
    /// The messages of a thread that were not taken yet, oldest first.
    fn untaken(&self, thread: &ThreadId) -> impl Iterator<Item = &Message> {
        let inbox = self.threads.get(thread).map_or(&[][..], |found| &found.inbox);
        inbox.iter().filter(|(_, answer)| answer.is_none()).map(|(message, _)| message)
    }
}
