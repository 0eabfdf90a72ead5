//! Moves bytes between a program and the server: its input in, its output out, both bounded.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};

use crate::executor::{Pulse, Room};
use crate::model::Failure;

/// The number of bytes read at once: as many as a pipe usually holds.
const CHUNK: usize = 16 * 1024;

/// The output of a program so far.
#[derive(Debug)]
pub(super) struct Capture {
    pub(super) stdout: Written,
    pub(super) stderr: Written,
}

impl Capture {
    /// Makes an empty output, which takes its memory from an attempt's room.
    pub(super) fn new(room: &Room) -> Self {
        let empty = || Written { bytes: Vec::new(), room: room.clone() };
        Self { stdout: empty(), stderr: empty() }
    }

    /// Makes an output that a program has written.
    #[cfg(test)]
    pub(super) fn of(stdout: Vec<u8>, stderr: Vec<u8>) -> Self {
        let mut written = Self::new(&Room::boundless());
        (written.stdout.bytes, written.stderr.bytes) = (stdout, stderr);
        written
    }
}

/// The bytes that a program wrote to one stream, and their memory.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) bytes: Vec<u8>,
    room: Room,
}

/// The reason why no more of a program's output is read.
#[derive(Debug)]
pub(super) enum Stop {
    /// It wrote more than it may.
    TooMuch,
    /// There was no memory for it for long.
    NoRoom(Failure),
}

/// The server's ends of a program's pipes.
#[derive(Debug)]
pub(super) struct Pipes {
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: Option<ChildStderr>,
}

impl Pipes {
    /// Takes a program's ends.
    pub(super) const fn of(child: &mut Child) -> Self {
        Self { stdin: child.stdin.take(), stdout: child.stdout.take(), stderr: child.stderr.take() }
    }

    /// Feeds `input` and reads both outputs until all three are done; every read that brings
    /// something is a sign of life. Reading and writing go on side by side: a program that writes
    /// before it has read everything would block for ever otherwise. Output that was read is in
    /// `capture` also if this future is dropped.
    pub(super) async fn pump(
        mut self,
        input: &[u8],
        capture: &mut Capture,
        bounds: &Bounds<'_>,
    ) -> Result<(), Stop> {
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
        let out = drain(self.stdout.take(), stdout, bounds);
        let err = drain(self.stderr.take(), stderr, bounds);
        tokio::try_join!(feed, out, err).map(|_| ())
    }
}

/// The bounds that both outputs share.
#[derive(Debug)]
pub(super) struct Bounds<'a> {
    limit: usize,
    pulse: &'a Pulse,
    /// The bytes read so far.
    used: AtomicUsize,
    /// The number of streams that wait for memory before they are read on.
    waiting: AtomicUsize,
}

impl<'a> Bounds<'a> {
    pub(super) fn new(limit: usize, pulse: &'a Pulse) -> Self {
        Self { limit, pulse, used: AtomicUsize::new(0), waiting: AtomicUsize::new(0) }
    }

    /// Returns whether output that is there is not read for lack of memory.
    pub(super) fn waits(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

async fn drain(
    pipe: Option<impl AsyncRead + Unpin>,
    Written { bytes, room }: &mut Written,
    bounds: &Bounds<'_>,
) -> Result<(), Stop> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    let mut chunk = vec![0; CHUNK];
    // A pipe that cannot be read any more counts as one at its end.
    while let Ok(read @ 1..) = pipe.read(&mut chunk).await {
        bounds.pulse.beat();
        if bounds.used.fetch_add(read, Ordering::Relaxed) + read > bounds.limit {
            return Err(Stop::TooMuch);
        }
        bounds.waiting.fetch_add(1, Ordering::Relaxed);
        let taken = room.take(read).await;
        bounds.waiting.fetch_sub(1, Ordering::Relaxed);
        taken.map_err(Stop::NoRoom)?;
        bytes.extend_from_slice(chunk.get(..read).unwrap_or_default());
    }
    Ok(())
}
