//! Hints between replicas, beside the data.
//!
//! The receiver of a hint reads the store before it acts, and a replica that receives none reads the
//! store at intervals: a lost, late, repeated or foreign hint may cost time and nothing else.

use async_trait::async_trait;

use crate::model::{Incarnation, Seq, ThreadId};

use super::Result;

/// A hint for the other replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// A thread's journal has come to this event.
    Head(ThreadId, Seq),
    /// A thread has a message: its driver should read the inbox.
    Message(ThreadId),
    /// Threads are due that the sender does not claim itself.
    Work,
    /// The sender has readers of threads that it does not drive: it wants hints of heads.
    Followers,
}

/// A result of [`Hints::receive`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// Hints of an incarnation; one's own come back as well.
    Hints {
        /// The sender.
        from: Incarnation,
        /// Its hints.
        hints: Vec<Hint>,
    },
    /// A subscription begins (again); hints sent before are lost: read everything.
    Subscribed,
}

/// Hints between replicas.
#[async_trait]
pub trait Hints: Send + Sync {
    /// Sends hints to the other replicas; any may be lost. Never waits for a write.
    async fn publish(&self, me: Incarnation, hints: &[Hint]) -> Result<()> {
        let _no_receiver = (me, hints);
        Ok(())
    }

    /// Waits for hints of other replicas; for ever where there are none. One caller at a time.
    async fn receive(&self) -> Result<Received> {
        std::future::pending().await
    }
}
