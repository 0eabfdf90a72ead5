//! Moves bytes between a program and us: its input in, its output out, both bounded.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

/// Bytes read at once: what a pipe usually holds.
const CHUNK: usize = 16 * 1024;

/// What a program has written so far.
#[derive(Debug, Default)]
pub(super) struct Capture {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// The program wrote more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMuch;

/// Our ends of a program's pipes.
#[derive(Debug)]
pub(super) struct Pipes {
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: Option<ChildStderr>,
}

impl Pipes {
    /// Feeds `input` and reads both outputs until all three are done. Reading and writing go on
    /// side by side: a program that writes before it has read everything would block for ever
    /// otherwise. What was read is in `capture` also if this future is dropped.
    pub(super) async fn pump(
        mut self,
        input: &[u8],
        capture: &mut Capture,
        limit: usize,
    ) -> Result<(), TooMuch> {
        let Capture { stdout, stderr } = capture;
        let used = AtomicUsize::new(0);
        let feed = async {
            if let Some(mut stdin) = self.stdin.take() {
                // A program may end, or close its input, without reading it all.
                if let Err(error) = stdin.write_all(input).await {
                    tracing::debug!(%error, "a program did not read all of its input");
                }
            }
            Ok(())
        };
        let out = drain(self.stdout.take(), stdout, &used, limit);
        let err = drain(self.stderr.take(), stderr, &used, limit);
        tokio::try_join!(feed, out, err).map(|_| ())
    }
}

async fn drain(
    pipe: Option<impl AsyncRead + Unpin>,
    into: &mut Vec<u8>,
    used: &AtomicUsize,
    limit: usize,
) -> Result<(), TooMuch> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    let mut chunk = vec![0; CHUNK];
    // A pipe that cannot be read any more is as good as one at its end.
    while let Ok(read @ 1..) = pipe.read(&mut chunk).await {
        if used.fetch_add(read, Ordering::Relaxed) + read > limit {
            return Err(TooMuch);
        }
        into.extend_from_slice(chunk.get(..read).unwrap_or_default());
    }
    Ok(())
}
