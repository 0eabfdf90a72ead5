//! Moves bytes between a program and the server: its input in, its output out, both bounded.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

use crate::executor::Pulse;

/// The number of bytes read at once: as many as a pipe usually holds.
const CHUNK: usize = 16 * 1024;

/// The output of a program so far.
#[derive(Debug, Default)]
pub(super) struct Capture {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// The error of a program that wrote more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMuch;

/// The server's ends of a program's pipes.
#[derive(Debug)]
pub(super) struct Pipes {
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: Option<ChildStderr>,
}

impl Pipes {
    /// Feeds `input` and reads both outputs until all three are done; every read that brings
    /// something is a sign of life. Reading and writing go on side by side: a program that writes
    /// before it has read everything would block for ever otherwise. Output that was read is in
    /// `capture` also if this future is dropped.
    pub(super) async fn pump(
        mut self,
        input: &[u8],
        capture: &mut Capture,
        limit: usize,
        pulse: &Pulse,
    ) -> Result<(), TooMuch> {
        let Capture { stdout, stderr } = capture;
        let feed = async {
            if let Some(mut stdin) = self.stdin.take() {
                // A program may end, or close its input, without reading it all.
                if let Err(error) = stdin.write_all(input).await {
                    tracing::debug!(%error, "a program did not read all of its input");
                }
            }
            Ok(())
        };
        let bounds = Bounds { used: &AtomicUsize::new(0), limit, pulse };
        let out = drain(self.stdout.take(), stdout, &bounds);
        let err = drain(self.stderr.take(), stderr, &bounds);
        tokio::try_join!(feed, out, err).map(|_| ())
    }
}

/// The bounds that both outputs share.
struct Bounds<'a> {
    used: &'a AtomicUsize,
    limit: usize,
    pulse: &'a Pulse,
}

async fn drain(
    pipe: Option<impl AsyncRead + Unpin>,
    into: &mut Vec<u8>,
    bounds: &Bounds<'_>,
) -> Result<(), TooMuch> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    let mut chunk = vec![0; CHUNK];
    // A pipe that cannot be read any more counts as one at its end.
    while let Ok(read @ 1..) = pipe.read(&mut chunk).await {
        bounds.pulse.beat();
        if bounds.used.fetch_add(read, Ordering::Relaxed) + read > bounds.limit {
            return Err(TooMuch);
        }
        into.extend_from_slice(chunk.get(..read).unwrap_or_default());
    }
    Ok(())
}
