//! One life of a replica: from its start to its stop, or to its death in the middle of anything.
//!
//! A replica that has died goes on as a ghost inside the process that the simulated ones share: it
//! reaches neither store nor world, and nobody hears its answers.

use rethread::runtime::RuntimeError;
use tokio_util::sync::CancellationToken;

/// A life.
#[derive(Debug, Clone)]
pub(super) struct Life {
    /// Which replica lives.
    pub(super) replica: usize,
    /// Which of all lives this is.
    pub(super) number: u64,
    death: CancellationToken,
}

impl Life {
    pub(super) fn new(replica: usize, number: u64) -> Self {
        Self { replica, number, death: CancellationToken::new() }
    }

    pub(super) fn end(&self) {
        self.death.cancel();
    }

    pub(super) fn is_over(&self) -> bool {
        self.death.is_cancelled()
    }

    pub(super) async fn over(&self) {
        self.death.cancelled().await;
    }

    /// What the replica does while it lives; never resolves once it does not.
    pub(super) async fn alive<T>(&self, work: impl Future<Output = T>) -> T {
        let done = self.death.run_until_cancelled(work).await;
        match done {
            Some(done) if !self.is_over() => done,
            _ => std::future::pending().await,
        }
    }

    /// What a client hears from the replica: its connection ends with the process.
    pub(super) async fn answer<T>(
        &self,
        call: impl Future<Output = Result<T, RuntimeError>>,
    ) -> Result<T, RuntimeError> {
        let gone = RuntimeError::Unavailable { retry_after: std::time::Duration::ZERO };
        self.death.run_until_cancelled(call).await.unwrap_or(Err(gone))
    }
}
