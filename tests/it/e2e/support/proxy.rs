//! Stands between a server and its database, and can be in the way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::beside;

/// What happens to connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    /// Bytes go through.
    Open,
    /// Connections are closed, those that are open and those that come.
    Closed,
    /// Connections stay, and nothing goes through until the way is open again.
    Silent,
    /// Connections stay, and nothing ever goes through again, whatever becomes of the way.
    Forgotten,
    /// Of all connections together every tenth statement is executed, and instead of its answer
    /// comes the end of its connection.
    EveryTenthUnanswered,
}

/// A way to a port that can be cut.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    path: watch::Sender<Path>,
    count: Arc<Count>,
}

/// Statements, and answers that were cut off.
#[derive(Debug, Default)]
struct Count {
    statements: AtomicUsize,
    cut: AtomicUsize,
}

impl Proxy {
    /// Opens a way to `target`.
    pub(crate) async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (path, watched) = watch::channel(Path::Open);
        let addr = listener.local_addr().unwrap();
        let count = Arc::new(Count::default());
        let counted = Arc::clone(&count);
        beside(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (path, target, count) = (watched.clone(), target.clone(), Arc::clone(&counted));
                beside(async move {
                    if *path.borrow() == Path::Closed {
                        return;
                    }
                    let Ok(server) = TcpStream::connect(target).await else { return };
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    let mute = AtomicBool::new(false);
                    let there = async {
                        let spy = Spy::Statements(Frames::default(), &count, &mute);
                        pump((from_client, to_server), path.clone(), spy).await;
                    };
                    let back =
                        pump((from_server, to_client), path.clone(), Spy::Answers(&count, &mute));
                    tokio::select! { () = there => {}, () = back => {} }
                });
            }
        });
        Self { addr, path, count }
    }

    /// Changes what happens.
    pub(crate) fn set(&self, path: Path) {
        self.path.send_replace(path);
    }

    /// How many statements had no answer.
    pub(crate) fn cut(&self) -> usize {
        self.count.cut.load(Ordering::SeqCst)
    }
}

/// What is looked for in bytes that go through.
enum Spy<'a> {
    Statements(Frames, &'a Count, &'a AtomicBool),
    Answers(&'a Count, &'a AtomicBool),
}

impl Spy<'_> {
    /// Whether bytes go on to the other side; `None` ends the connection.
    fn passes(&mut self, bytes: &[u8], path: Path) -> Option<bool> {
        match self {
            Self::Statements(frames, count, mute) => {
                for _ in 0..frames.executed(bytes) {
                    let number = count.statements.fetch_add(1, Ordering::SeqCst);
                    if path == Path::EveryTenthUnanswered && number % 10 == 9 {
                        mute.store(true, Ordering::SeqCst);
                    }
                }
                Some(true)
            }
            Self::Answers(count, mute) if mute.load(Ordering::SeqCst) => {
                // "Ready for query, idle": the statement is over and committed.
                if bytes.ends_with(b"Z\0\0\0\x05I") {
                    count.cut.fetch_add(1, Ordering::SeqCst);
                    return None;
                }
                Some(false)
            }
            Self::Answers(..) => Some(true),
        }
    }
}

/// Follows the messages of a client of Postgres through the pieces they come in.
#[derive(Default)]
struct Frames {
    started: bool,
    rest: Vec<u8>,
}

impl Frames {
    /// How many statements end their execution request in these bytes.
    fn executed(&mut self, bytes: &[u8]) -> usize {
        self.rest.extend_from_slice(bytes);
        let mut executed = 0;
        loop {
            let kind = usize::from(self.started);
            let Some(length) = self.rest.get(kind..kind + 4) else { return executed };
            let length = u32::from_be_bytes(length.try_into().unwrap());
            let end = kind + usize::try_from(length).unwrap();
            if self.rest.len() < end {
                return executed;
            }
            if self.started {
                executed += usize::from(self.rest[0] == b'E');
            } else {
                // A request for TLS comes before the greeting proper, which has a version.
                self.started = self.rest[4..8] == 196_608_u32.to_be_bytes();
            }
            self.rest.drain(..end);
        }
    }
}

/// Moves bytes as long as the way is open; returns when it is to be closed.
async fn pump(
    (mut from, mut to): (OwnedReadHalf, OwnedWriteHalf),
    mut path: watch::Receiver<Path>,
    mut spy: Spy<'_>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(now) = path.wait_for(|path| *path != Path::Silent).await.map(|path| *path) else {
            return;
        };
        match now {
            Path::Closed => return,
            Path::Forgotten => std::future::pending().await,
            Path::Open | Path::Silent | Path::EveryTenthUnanswered => {}
        }
        let read = tokio::select! {
            _ = path.changed() => continue,
            read = from.read(&mut buffer) => read.unwrap_or(0),
        };
        // What was read before a silence began still goes through: that is what networks do.
        let passes = if read == 0 { None } else { spy.passes(&buffer[..read], now) };
        match passes {
            None => return,
            Some(true) if to.write_all(&buffer[..read]).await.is_err() => return,
            Some(_) => {}
        }
    }
}
