//! How replicas see that the process of another one is gone, before its lease has run out.

use async_trait::async_trait;

use crate::model::Incarnation;

use super::StoreError;

/// Signs of life between the processes that share a store.
#[async_trait]
pub trait Presence: Send + Sync {
    /// Shows other replicas that this process lives, by something that ends with it, until dropped;
    /// never returns. A store that only one process can open, and one that has no such thing, does
    /// nothing: peers then judge by the lease alone.
    async fn attend(&self, me: Incarnation) {
        let _nobody_to_show = me;
        std::future::pending::<()>().await;
    }

    /// Ends the leases of incarnations whose processes are seen to be gone ([`Presence::attend`]);
    /// returns how many. To be called every half a second: what is seen once is not believed.
    async fn expire_lost(&self, me: Incarnation) -> Result<usize, StoreError> {
        let _nobody_to_look_at = me;
        Ok(0)
    }
}
