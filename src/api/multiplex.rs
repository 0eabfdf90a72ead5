//! The requests of an HTTP/2 connection: each runs in a task, and its answer leaves piece by piece.
//!
//! A peer can keep the connection alive and take nothing of one answer, which would then stay in the
//! connection's buffer for ever, uncounted. So an answer yields its next piece, and its end, only when
//! the piece before has left. Until then it keeps its memory and its place. A piece that waits for too
//! long resets the request.
//!
//! An answer can be complete before the body of its request has come. Dropping that body resets the
//! request. RFC 9113 (8.1) allows this, but curl 7.88 reports it as a failure. So the task reads on for
//! a while and discards the body.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use futures_util::task::AtomicWaker;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::rt::Executor;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::progress::PATIENCE;
use crate::model::lock;

/// The longest piece of an answer, in bytes: one frame of HTTP/2, unless a peer asks for larger
/// ones.
pub(super) const PIECE: usize = 16 * 1024;

/// The most bytes of an unread body that are discarded; a longer one resets its request.
const MAX_DISCARDED: usize = 32 * 1024;
/// The time for an unread body to end.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(10);

tokio::task_local! {
    /// The exchange of the request that this task serves.
    static EXCHANGE: Arc<Exchange>;
}

/// Runs the requests of one connection, until that ends.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    tasks: TaskTracker,
    ended: CancellationToken,
}

impl Streams {
    /// Runs requests among these tasks until the connection has ended.
    pub(super) const fn new(tasks: TaskTracker, ended: CancellationToken) -> Self {
        Self { tasks, ended }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let (ended, exchange) = (self.ended.clone(), Arc::<Exchange>::default());
        self.tasks.spawn(async move {
            tokio::select! {
                () = ended.cancelled() => return,
                () = exchange.stalled() => return tracing::debug!("an answer is not taken"),
                () = EXCHANGE.scope(Arc::clone(&exchange), stream) => {}
            }
            tokio::select! {
                () = ended.cancelled() => {}
                _ = tokio::time::timeout(DISCARD_TIMEOUT, exchange.discard()) => {}
            }
        });
    }
}

/// State that the task of a request shares with the bodies of the request and of its answer.
#[derive(Debug, Default)]
struct Exchange {
    /// Whether a piece of the answer waits to be sent.
    piece: watch::Sender<bool>,
    /// Wakes the answer when its piece has left.
    answer: AtomicWaker,
    /// The request's body, once no reader needs it any more.
    unread: Mutex<Option<Incoming>>,
}

impl Exchange {
    /// Reads the rest of the request's body, up to [`MAX_DISCARDED`].
    async fn discard(&self) {
        let unread = lock(&self.unread).take();
        let Some(mut body) = unread else { return };
        let mut left = MAX_DISCARDED;
        while let Some(Ok(frame)) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
        {
            let came = frame.data_ref().map_or(0, Bytes::len);
            let Some(less) = left.checked_sub(came) else { return };
            left = less;
        }
    }

    /// Resolves once a piece was not sent in time.
    async fn stalled(&self) {
        let mut piece = self.piece.subscribe();
        loop {
            // This cannot fail: the sender is here.
            drop(piece.wait_for(|waits| *waits).await);
            if tokio::time::timeout(PATIENCE, piece.changed()).await.is_err() {
                return;
            }
        }
    }
}

/// A piece of an answer on its way to the peer.
struct Piece {
    bytes: Bytes,
    exchange: Arc<Exchange>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.exchange.piece.send_replace(false);
        self.exchange.answer.wake();
    }
}

/// The body of a request; it returns to the task of the request when its reader drops it.
#[derive(Debug)]
pub(super) struct Borrowed {
    body: Option<Incoming>,
    exchange: Arc<Exchange>,
}

impl Borrowed {
    /// Lends a body, in the task of its request.
    pub(super) fn lend(body: Incoming) -> Body {
        match EXCHANGE.try_with(Arc::clone) {
            Ok(exchange) => Body::new(Self { body: Some(body), exchange }),
            Err(_) => Body::new(body),
        }
    }
}

impl HttpBody for Borrowed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let unread = self.body.take().filter(|body| !body.is_end_stream());
        *lock(&self.exchange.unread) = unread;
    }
}

/// The body of an answer, in pieces: else a connection takes a large answer as a whole, and whatever
/// counts its bytes ends before they have left.
#[derive(Debug)]
pub(super) struct Pieces {
    body: Body,
    /// Bytes that the body has yielded and that are still to be sent.
    rest: Bytes,
    begun: bool,
}

impl Pieces {
    /// Cuts a body into pieces.
    pub(super) const fn new(body: Body) -> Self {
        Self { body, rest: Bytes::new(), begun: false }
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let exchange = EXCHANGE.try_with(Arc::clone).ok();
        if let Some(exchange) = &exchange {
            exchange.answer.register(context.waker());
            if *exchange.piece.borrow() {
                return Poll::Pending;
            }
        }
        self.begun = true;
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        let most = self.rest.len().min(PIECE);
        let bytes = self.rest.split_to(most);
        let Some(exchange) = exchange else {
            // HTTP/1.1 asks for pieces while its buffer has room. A copy, so that the last of them do
            // not hold the whole answer, which is not counted any more then.
            return Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(&bytes)))));
        };
        exchange.piece.send_replace(true);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(Piece { bytes, exchange })))))
    }

    /// Only an empty body ends at once: any other yields its end after its last piece has left.
    fn is_end_stream(&self) -> bool {
        !self.begun && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.begun { SizeHint::default() } else { self.body.size_hint() }
    }
}

#[cfg(test)]
mod tests;
