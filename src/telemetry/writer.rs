//! Writes the log on a thread of its own.
//!
//! Whoever logs never waits and never fails: a line that finds no room, or cannot be written, is
//! dropped and counted. `tracing-appender` has such a writer, but prints to stdout when it cannot
//! end in time, which panics without a reader.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

/// The most lines that wait to be written: some seconds of a busy server's log.
const QUEUED_LINES: usize = 4_096;
/// The most bytes of those lines: little beside the memory of a server, which a stuck reader of the
/// log must not fill.
const QUEUED_BYTES: usize = 8 << 20;
/// The interval of tries to enter a full queue at the end, and their number: a queue that somebody
/// reads has room long before the last one.
const ENTER_AGAIN: Duration = Duration::from_millis(10);
const ENTER_TRIES: u32 = 20;

/// Takes secrets out of a line of the log; `None`: there is none in it.
pub(super) type Redact = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Hands lines to the thread that writes them.
#[derive(Debug, Clone)]
pub(super) struct LogWriter {
    queue: SyncSender<Item>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    queued_bytes: AtomicUsize,
    dropped_lines: AtomicU64,
}

impl Counts {
    fn drop_line(&self) {
        self.dropped_lines.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
enum Item {
    /// A whole line: `tracing` makes one of each event.
    Line(Vec<u8>),
    /// Everything before it is to be written, then the sender dropped.
    Flush(SyncSender<()>),
}

impl LogWriter {
    /// Starts the thread, which writes to `output` without secrets.
    pub(super) fn start(output: impl Write + Send + 'static, redact: Redact) -> io::Result<Self> {
        let (queue, items) = mpsc::sync_channel(QUEUED_LINES);
        let counts = Arc::<Counts>::default();
        let counted = Arc::clone(&counts);
        thread::Builder::new()
            .name("rethread-log".to_owned())
            .spawn(move || write_all(output, &redact, &items, &counted))?;
        Ok(Self { queue, counts })
    }

    /// Queues a line, or drops it.
    pub(super) fn line(&self, line: &[u8]) {
        let before = self.counts.queued_bytes.fetch_add(line.len(), Ordering::Relaxed);
        let fits = before.saturating_add(line.len()) <= QUEUED_BYTES;
        if !fits || self.queue.try_send(Item::Line(line.to_vec())).is_err() {
            self.counts.queued_bytes.fetch_sub(line.len(), Ordering::Relaxed);
            self.counts.drop_line();
        }
    }

    /// Waits until the lines queued so far are written, for at most `limit`; less, if the queue is
    /// full because nobody reads.
    pub(super) fn flush(&self, limit: Duration) {
        let (written, told) = mpsc::sync_channel::<()>(0);
        for _ in 0..ENTER_TRIES {
            if self.queue.try_send(Item::Flush(written.clone())).is_ok() {
                drop(written);
                // It is disconnected once everything is written.
                let _disconnected = told.recv_timeout(limit);
                return;
            }
            let _late = told.recv_timeout(ENTER_AGAIN);
        }
    }

    /// Returns the number of lines that were dropped.
    pub(super) fn dropped_lines(&self) -> u64 {
        self.counts.dropped_lines.load(Ordering::Relaxed)
    }
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all(mut output: impl Write, redact: &Redact, items: &Receiver<Item>, counts: &Counts) {
    for item in items {
        match item {
            Item::Line(line) => {
                let clean = redact(&String::from_utf8_lossy(&line));
                let shown = clean.as_ref().map_or(line.as_slice(), |clean| clean.as_bytes());
                if output.write_all(shown).and_then(|()| output.flush()).is_err() {
                    counts.drop_line();
                }
                counts.queued_bytes.fetch_sub(line.len(), Ordering::Relaxed);
            }
            Item::Flush(written) => drop(written),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::model::lock;

    const LIMIT: Duration = Duration::from_secs(10);

    fn redact() -> Redact {
        Arc::new(|line: &str| line.contains("secret").then(|| line.replace("secret", "***")))
    }

    /// An output whose reader is gone.
    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// An output whose reader stands until the sender is dropped.
    struct Stands(Receiver<()>);

    impl Write for Stands {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _disconnected = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// An output that can be looked at.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            lock(&self.0).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_in_order_and_without_secrets() {
        let kept = Kept::default();
        let log = LogWriter::start(kept.clone(), redact()).unwrap();
        log.line(b"one\n");
        log.line(b"a secret\n");
        log.flush(LIMIT);
        assert_eq!(*lock(&kept.0), b"one\na ***\n");
        assert_eq!(log.dropped_lines(), 0);
    }

    #[test]
    fn lines_that_nobody_reads_are_counted_and_fail_nobody() {
        let mut log = LogWriter::start(Gone, redact()).unwrap();
        for _ in 0..3 {
            log.write_all(b"line\n").unwrap();
        }
        log.flush(LIMIT);
        assert_eq!(log.dropped_lines(), 3);
    }

    #[test]
    fn a_reader_that_stands_holds_up_nobody_and_bounds_hold() {
        let (goes_on, stands) = mpsc::channel();
        let log = LogWriter::start(Stands(stands), redact()).unwrap();
        for _ in 0..QUEUED_LINES + 10 {
            log.line(b"line\n");
        }
        assert!((9..=10).contains(&log.dropped_lines()), "the thread may have taken one");
        let before = log.dropped_lines();
        log.line(&vec![b'x'; QUEUED_BYTES]);
        assert_eq!(log.dropped_lines(), before + 1);
        log.flush(LIMIT);
        drop(goes_on);
        log.flush(LIMIT);
        assert_eq!(log.counts.queued_bytes.load(Ordering::Relaxed), 0);
    }
}
