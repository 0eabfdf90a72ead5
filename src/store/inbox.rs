//! Messages to threads.

use async_trait::async_trait;

use crate::model::{Incarnation, Json, ThreadId};

use super::Result;

/// A message to a thread, durable before it is answered (an abort, a resume, a signal).
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
    /// The thread's untaken messages are too many or too large.
    Full,
    /// There is no such thread.
    NoThread,
}

/// Messages to threads.
#[async_trait]
pub trait Inbox: Send + Sync {
    /// Stores a message for a thread and, in the same statement, wakes it if nobody drives it. The
    /// number and the size of untaken messages are bounded ([`Posted::Full`]). Bodies of taken
    /// messages are not kept.
    async fn post(&self, thread: &ThreadId, message: &Message) -> Result<Posted>;

    /// Like [`Inbox::post`], without a bound on the number of messages, over the connections that
    /// renew leases: they work even while nothing polls the others.
    async fn post_apart(&self, thread: &ThreadId, message: &Message) -> Result<Posted> {
        self.post(thread, message).await
    }

    /// The untaken messages of a thread, oldest first: at most 256 and 1 MiB, or one larger one.
    async fn inbox(&self, thread: &ThreadId) -> Result<Vec<Message>>;

    /// The untaken messages whose keys begin with `kind`, oldest first: at most 256, not counting
    /// other messages.
    async fn inbox_of(&self, thread: &ThreadId, kind: &str) -> Result<Vec<Message>>;

    /// The threads that `me` drives and that have untaken messages.
    async fn mail(&self, me: Incarnation) -> Result<Vec<ThreadId>>;

    /// The answer of a message once it is taken (see [`super::Side::Take`]).
    async fn answer(&self, thread: &ThreadId, key: &str) -> Result<Option<Json>>;
}
