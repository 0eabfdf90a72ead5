//! Gives the room that deletions have left back to the disk, a part at a time.

use std::sync::Arc;
use std::time::Duration;

use crate::runtime::core::Core;

/// The interval of looks for such room: deletions come every minute.
const INTERVAL: Duration = Duration::from_mins(1);
/// The pause between two parts, in which others write.
const PAUSE: Duration = Duration::from_millis(50);

/// Gives room back until the server drains.
pub(in crate::runtime) async fn run(core: Arc<Core>) {
    let work = async {
        loop {
            let pause = match core.store().shrink().await {
                Ok(true) => PAUSE,
                Ok(false) => INTERVAL,
                Err(error) => {
                    core.availability.failed("the return of room to the disk", &error);
                    INTERVAL
                }
            };
            tokio::time::sleep(pause).await;
        }
    };
    core.draining.run_until_cancelled(work).await;
}
