//! Messages to threads.

use crate::model::{Incarnation, Json};

/// A message to a thread, durable before it is answered (an abort, a resume, later a signal).
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Unique within the thread; a second message with this key is not stored.
    pub key: String,
    /// What it asks for, opaque to the store.
    pub body: Json,
}

/// What became of [`super::Store::post`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posted {
    /// Stored; the thread was woken if nobody drove it.
    Stored {
        /// The incarnation that drives the thread; 0 is nobody.
        owner: Incarnation,
    },
    /// A message with this key is there already (taken or not).
    Duplicate,
    /// There is no such thread.
    NoThread,
}
