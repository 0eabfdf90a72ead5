//! The runtime that drives threads and answers requests. Code and data of clients are worked on
//! here, and nothing that must go on while all workers stand.

use tokio::runtime::{Builder, Handle, Runtime};

/// The name of the threads, for people who look which of them is busy.
const NAME: &str = "rethread-worker";

/// The worker threads. Dropping this does not wait for them: one that stands would be waited for
/// for ever.
#[derive(Debug)]
pub(super) struct Workers(Option<Runtime>, Handle);

impl Workers {
    /// Starts as many threads as there are cores.
    pub(super) fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread().enable_all().thread_name(NAME).build()?;
        let handle = runtime.handle().clone();
        Ok(Self(Some(runtime), handle))
    }

    /// Returns the handle for work that runs on the workers.
    pub(super) const fn handle(&self) -> &Handle {
        &self.1
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
