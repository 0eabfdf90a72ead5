//! Ends the connection of a peer that takes nothing of the answers it asked for.
//!
//! The kernel only gives up a peer that does not acknowledge. A peer whose window is shut answers
//! every probe, and would hold its stream, and the data that wait in it, for ever.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// The longest time that bytes may wait to be sent without one of them being taken.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// A connection whose writes fail once the peer has taken nothing for too long.
#[derive(Debug)]
pub(super) struct Progress<S> {
    stream: S,
    /// Runs while bytes wait to be taken.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> Progress<S> {
    /// Watches the writes of a connection.
    pub(super) const fn new(stream: S) -> Self {
        Self { stream, timer: None }
    }

    /// Passes the result of a write on, or fails once the write has waited for too long.
    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        write: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if write.is_ready() {
            self.timer = None;
            return write;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
        ready!(timer.as_mut().poll(context));
        let detail = "the peer has taken nothing for too long";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, detail)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Progress<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Progress<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.watch(context, write)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let end = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watch(context, end)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_let_go_and_one_that_takes_a_little_is_not() {
        let (near, mut far) = duplex(16);
        let mut near = Progress::new(near);
        let began = Instant::now();
        let write = near.write_all(&[0; 64]);
        let read = async {
            for _ in 0..3 {
                sleep(PATIENCE.mul_f64(0.9)).await;
                far.read_exact(&mut [0; 8]).await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        let error = tokio::select! {
            ended = write => ended.unwrap_err(),
            () = read => unreachable!("it never ends"),
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let waited = began.elapsed();
        assert!(waited > PATIENCE * 3 && waited < PATIENCE * 5, "{waited:?}");
    }
}
