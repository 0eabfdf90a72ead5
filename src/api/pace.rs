//! The time that a peer may take: little for a request's head, once it has begun; longer between
//! requests.
//!
//! The server below has one timeout for both in HTTP/1.1, and none in HTTP/2. So this module
//! watches the bytes that come in, and the requests and answers.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

/// The state of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The head of a request is coming in.
    Head,
    /// This many requests are being answered.
    Requests(usize),
    /// All requests are answered, and nothing of another request is there.
    Idle,
}

/// The part that a peer took too long for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stalled {
    /// The head of a request.
    Head,
    /// Another request.
    Idle,
}

/// The phases of one connection.
#[derive(Debug)]
pub(super) struct Pace {
    phase: watch::Sender<Phase>,
    /// Whether the connection speaks HTTP/2, where not every byte belongs to a head. A peer that stops
    /// within a head answers no ping there, which ends its connection.
    http2: AtomicBool,
}

impl Pace {
    /// Makes the pace of a new connection, which waits for the head of a request: a peer connects
    /// in order to send one.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { phase: watch::Sender::new(Phase::Head), http2: AtomicBool::new(false) })
    }

    /// Notes that a request's head is complete. The request is being answered until the result is
    /// dropped.
    pub(super) fn asked(self: &Arc<Self>, http2: bool) -> Answering {
        self.http2.store(http2, Ordering::Relaxed);
        self.phase.send_modify(|phase| *phase = Phase::Requests(phase.requests() + 1));
        Answering(Arc::clone(self))
    }

    /// Returns the number of requests that are being answered.
    pub(super) fn requests(&self) -> usize {
        self.phase.borrow().requests()
    }

    fn received(&self) {
        self.phase.send_if_modified(|phase| {
            let begins = *phase == Phase::Idle && !self.http2.load(Ordering::Relaxed);
            if begins {
                *phase = Phase::Head;
            }
            begins
        });
    }

    /// Resolves when the head of the first request is complete.
    pub(super) async fn begun(&self) {
        // This cannot fail: the sender is here.
        drop(self.phase.subscribe().wait_for(|phase| *phase != Phase::Head).await);
    }

    /// Resolves when a head has taken longer than `head`, or the next request longer than `idle`.
    pub(super) async fn stalled(&self, head: Duration, idle: Duration) -> Stalled {
        let mut phases = self.phase.subscribe();
        loop {
            let phase = *phases.borrow_and_update();
            let (limit, stalled) = match phase {
                Phase::Head => (head, Stalled::Head),
                Phase::Idle => (idle, Stalled::Idle),
                Phase::Requests(_) => (Duration::MAX, Stalled::Idle),
            };
            if tokio::time::timeout(limit, phases.changed()).await.is_err() {
                return stalled;
            }
        }
    }
}

impl Phase {
    const fn requests(self) -> usize {
        match self {
            Self::Requests(count) => count,
            Self::Head | Self::Idle => 0,
        }
    }
}

/// A stream that notes its incoming bytes.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    pace: Arc<Pace>,
}

impl<S> Watched<S> {
    /// Notes the bytes that come in.
    pub(super) fn new(stream: S, pace: Arc<Pace>) -> Self {
        Self { stream, pace }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.pace.received();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// A request that is being answered, until this is dropped.
#[derive(Debug)]
pub(super) struct Answering(Arc<Pace>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.phase.send_modify(|phase| {
            *phase = match phase.requests() {
                0 | 1 => Phase::Idle,
                more => Phase::Requests(more - 1),
            };
        });
    }
}
