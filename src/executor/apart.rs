//! Blocking work on a thread of its own, which no other work of the process waits for.
//!
//! Whoever calls this bounds the number of such threads.

use std::{io, thread};

use tokio::sync::oneshot;

/// Does blocking work on a new thread. The work goes on if this future is dropped. A thread that
/// cannot be started and work that panics are errors.
pub(super) async fn on_a_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (tell, told) = oneshot::channel();
    // The work lets go of all that it holds before it is told; nobody may wait for it any more.
    let run = move || drop(tell.send(work()));
    thread::Builder::new().name(name.to_owned()).spawn(run)?;
    told.await.map_err(|_panicked| io::Error::other("the work of a thread broke off"))
}
