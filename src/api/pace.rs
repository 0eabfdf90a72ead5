//! How long a peer may take: little for a request's head, once it has begun; longer between requests.
//!
//! The server below knows of one timeout for both. So the bytes that come in are watched, and the
//! requests and answers that go by.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

/// What a connection is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The head of a request comes in.
    Head,
    /// A request is answered.
    Request,
    /// All is answered, and nothing of another request is there.
    Idle,
}

/// The phases of one connection.
#[derive(Debug)]
pub(super) struct Pace(watch::Sender<Phase>);

impl Pace {
    /// A new connection: whoever opens one has a request to send.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(Phase::Head)))
    }

    /// A request's head is complete.
    pub(super) fn asked(&self) {
        self.enter(Phase::Request);
    }

    fn answered(&self) {
        self.enter(Phase::Idle);
    }

    fn received(&self) {
        self.0.send_if_modified(|phase| {
            let begins = *phase == Phase::Idle;
            if begins {
                *phase = Phase::Head;
            }
            begins
        });
    }

    fn enter(&self, next: Phase) {
        self.0.send_if_modified(|phase| std::mem::replace(phase, next) != next);
    }

    /// Resolves once a request's head has taken longer than `limit`.
    pub(super) async fn overdue(&self, limit: Duration) {
        let mut phases = self.0.subscribe();
        loop {
            let phase = *phases.borrow_and_update();
            if phase == Phase::Head {
                if tokio::time::timeout(limit, phases.changed()).await.is_err() {
                    return;
                }
            } else if phases.changed().await.is_err() {
                return;
            }
        }
    }
}

/// A stream whose incoming bytes are noted.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    pace: Arc<Pace>,
}

impl<S> Watched<S> {
    /// Notes what comes in.
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

/// Held by the body of an answer, whose end it notes.
#[derive(Debug)]
pub(super) struct Answering(pub(super) Arc<Pace>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answered();
    }
}
