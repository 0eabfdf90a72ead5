//! The runtime that drives threads and answers requests: what clients wrote runs on its workers, and
//! nothing that must go on while all of them stand.

use tokio::runtime::{Builder, Handle, Runtime};

/// Name of its threads, for whoever looks which of them is busy.
const NAME: &str = "rethread-worker";

/// The workers; they are left to themselves when this is dropped: one that stands would be waited for
/// for ever.
#[derive(Debug)]
pub(super) struct Workers(Option<Runtime>, Handle);

impl Workers {
    /// As many as there are cores.
    pub(super) fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread().enable_all().thread_name(NAME).build()?;
        let handle = runtime.handle().clone();
        Ok(Self(Some(runtime), handle))
    }

    /// Where to put work.
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
