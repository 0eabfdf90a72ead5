//! The presence of replicas: peers see that a process is gone before its lease has run out.

use async_trait::async_trait;

use crate::model::Incarnation;

use super::Result;

/// Presence of the processes that share a store.
#[async_trait]
pub trait Presence: Send + Sync {
    /// Shows other replicas that this process lives, by something that ends with it, until the future
    /// is dropped; never returns. A store that only one process can open, and one that has no such
    /// thing, does nothing: peers then judge by the lease alone.
    async fn announce_presence(&self, me: Incarnation) {
        let _no_peer = me;
        std::future::pending::<()>().await;
    }

    /// Ends the leases of incarnations whose processes are seen to be gone
    /// ([`Presence::announce_presence`]); returns how many. Called every half a second: an absence has
    /// to be seen twice.
    async fn expire_lost(&self, me: Incarnation) -> Result<usize> {
        let _no_peer = me;
        Ok(0)
    }
}
