//! What replicas tell each other beside the data: hints, nothing more.
//!
//! Whoever acts on a hint looks into the store first, and whoever hears none looks there now and
//! then: a lost, late, repeated or foreign hint may cost time and nothing else.

use async_trait::async_trait;

use crate::model::{Incarnation, Seq, ThreadId};

use super::StoreError;

/// A hint for the other replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A thread's journal has come to this event.
    Head(ThreadId, Seq),
    /// A thread has a message: whoever drives it should look into its inbox.
    Mail(ThreadId),
    /// Threads are due that the sender does not take itself.
    Work,
    /// Somebody follows threads at the sender that it does not drive: heads are welcome.
    Followers,
}

/// What [`Hints::hear`] brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Hints of an incarnation; one's own come back as well.
    News {
        /// Who sent them.
        from: Incarnation,
        /// What it said.
        news: Vec<News>,
    },
    /// From now on hints are heard (again); what was said before is lost: look everywhere.
    Anew,
}

/// Hints between replicas.
#[async_trait]
pub trait Hints: Send + Sync {
    /// Tells the other replicas; a hint may be lost. Never waits for a write.
    async fn tell(&self, me: Incarnation, news: &[News]) -> Result<(), StoreError> {
        let _nobody_to_tell = (me, news);
        Ok(())
    }

    /// Waits for what other replicas tell; for ever where there are none. One caller at a time.
    async fn hear(&self) -> Result<Heard, StoreError> {
        std::future::pending().await
    }
}
