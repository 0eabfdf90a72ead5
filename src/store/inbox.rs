//! Messages to threads.

use async_trait::async_trait;

use crate::model::{Incarnation, Json, ThreadId};

use super::StoreError;

/// A message to a thread, durable before it is answered (an abort, a resume, later a signal).
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Unique within the thread; a second message with this key is not stored.
    pub key: String,
    /// Its request, opaque to the store.
    pub body: Json,
}

/// The result of [`Inbox::post`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posted {
    /// Stored; the thread was woken if nobody drove it.
    Stored {
        /// The incarnation that drives the thread; 0 is nobody.
        owner: Incarnation,
    },
    /// A message with this key is there already (taken or not).
    Duplicate,
    /// The thread has too many messages that were not taken yet.
    Full,
    /// There is no such thread.
    NoThread,
}

/// Messages to threads.
#[async_trait]
pub trait Inbox: Send + Sync {
    /// Stores a message for a thread; in the same statement wakes it if nobody drives it. A thread whose
    /// untaken messages have reached a number or a size takes no more ([`Posted::Full`]); the bodies of
    /// those that were taken are not kept.
    async fn post(&self, thread: &ThreadId, message: &Message) -> Result<Posted, StoreError>;

    /// Like [`Inbox::post`], over the connections that renew leases, which work while nothing drives the
    /// store's other connections; and however many messages there are.
    async fn post_apart(&self, thread: &ThreadId, message: &Message) -> Result<Posted, StoreError> {
        self.post(thread, message).await
    }

    /// The messages of a thread that were not taken yet, oldest first: 256 and 1 MiB, or one, at the
    /// most.
    async fn inbox(&self, thread: &ThreadId) -> Result<Vec<Message>, StoreError>;

    /// The untaken messages whose keys begin with `kind`, oldest first, 256 at the most, however many
    /// others came before them.
    async fn inbox_of(&self, thread: &ThreadId, kind: &str) -> Result<Vec<Message>, StoreError>;

    /// The threads that `me` drives and that have untaken messages.
    async fn mail(&self, me: Incarnation) -> Result<Vec<ThreadId>, StoreError>;

    /// The answer a message was taken with (see [`super::Side::Take`]), once it was.
    async fn answer(&self, thread: &ThreadId, key: &str) -> Result<Option<Json>, StoreError>;
}
