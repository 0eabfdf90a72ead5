//! Stands between a server and its database, and can be in the way.

use std::net::SocketAddr;

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
    /// Connections stay, and nothing goes through.
    Silent,
}

/// A way to a port that can be cut.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    path: watch::Sender<Path>,
}

impl Proxy {
    /// Opens a way to `target`.
    pub(crate) async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (path, watched) = watch::channel(Path::Open);
        let addr = listener.local_addr().unwrap();
        beside(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (path, target) = (watched.clone(), target.clone());
                beside(async move {
                    if *path.borrow() == Path::Closed {
                        return;
                    }
                    let server = TcpStream::connect(target).await.unwrap();
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    let there = pump(from_client, to_server, path.clone());
                    let back = pump(from_server, to_client, path);
                    tokio::select! { () = there => {}, () = back => {} }
                });
            }
        });
        Self { addr, path }
    }

    /// Changes what happens.
    pub(crate) fn set(&self, path: Path) {
        self.path.send_replace(path);
    }
}

/// Moves bytes as long as the way is open; returns when it is to be closed.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut path: watch::Receiver<Path>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(now) = path.wait_for(|path| *path != Path::Silent).await.map(|path| *path) else {
            return;
        };
        if now == Path::Closed {
            return;
        }
        let read = tokio::select! {
            _ = path.changed() => continue,
            read = from.read(&mut buffer) => read.unwrap_or(0),
        };
        // What was read before a silence began still goes through: that is what networks do.
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
