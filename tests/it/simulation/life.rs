//! One life of a replica: from its start to its stop, or to its death at any point.
//!
//! A replica that has died goes on as a ghost inside the process that the simulated ones share: it
//! reaches neither store nor world, and nobody receives its answers.

use rethread::runtime::RuntimeError;
use tokio_util::sync::CancellationToken;

/// One life of a replica.
#[derive(Debug, Clone)]
pub(super) struct Life {
    /// The number of the replica.
    pub(super) replica: usize,
    /// The number of this life among all lives.
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

    /// Does the replica's work while it lives; never resolves once it is dead.
    pub(super) async fn alive<T>(&self, work: impl Future<Output = T>) -> T {
        let done = self.death.run_until_cancelled(work).await;
        match done {
            Some(done) if !self.is_over() => done,
            _ => std::future::pending().await,
        }
    }

    /// Returns the replica's answer to a client, or an error if its process ends first.
    pub(super) async fn answer<T>(
        &self,
        call: impl Future<Output = Result<T, RuntimeError>>,
    ) -> Result<T, RuntimeError> {
        let gone = RuntimeError::Unavailable {
            retry_after: std::time::Duration::ZERO,
            cause: "its process has ended".to_owned(),
        };
        self.death.run_until_cancelled(call).await.unwrap_or(Err(gone))
    }
}
