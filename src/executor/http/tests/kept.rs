//! Connections that are kept for the next request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use super::*;
use crate::executor::http::idle::BYTES_OF_ONE;

/// A server on all addresses of this machine that keeps connections open for as long as its clients do.
struct Patient {
    port: u16,
    made: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

impl Patient {
    /// Starts a server whose answers have heads of `head` bytes more than they need.
    async fn start(head: usize) -> Self {
        let any = SocketAddr::from(([0, 0, 0, 0], 0));
        let listener = TcpListener::bind(any).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (made, open) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let new = Self { port, made: Arc::clone(&made), open: Arc::clone(&open) };
        let answer =
            format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx: {}\r\n\r\nok", "x".repeat(head));
        let tasks = TaskTracker::new();
        TaskTracker::new().spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                made.fetch_add(1, Ordering::Relaxed);
                open.fetch_add(1, Ordering::Relaxed);
                let (open, answer) = (Arc::clone(&open), answer.clone());
                tasks.spawn(async move {
                    serve(connection, &answer).await;
                    open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        new
    }

    async fn call(&self, executor: &HttpExecutor, host: &str, header: &str) {
        let with = serde_json::json!({
            "url": format!("http://{host}:{}/", self.port), "headers": { "x-long": header }
        });
        executor.execute(attempt(&with.to_string())).await.unwrap();
    }

    async fn wait_for_open(&self, number: usize) {
        let reached = async {
            while self.open.load(Ordering::Relaxed) != number {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        reached.unwrap_or_else(|_| panic!("{} are open", self.open.load(Ordering::Relaxed)));
    }
}

async fn serve(mut connection: TcpStream, answer: &str) {
    let mut heard = Vec::new();
    while connection.read_buf(&mut heard).await.is_ok_and(|read| read > 0) {
        if heard.ends_with(b"\r\n\r\n") {
            heard.clear();
            connection.write_all(answer.as_bytes()).await.unwrap();
        }
    }
}

fn keeping(most: usize) -> (HttpExecutor, Arc<Memory>) {
    let memory = Memory::new(64 << 20, &MemoryMetrics::default(), Box::new(|| None));
    let memory = Arc::new(memory);
    (executor("open").within(Arc::clone(&memory), most), memory)
}

#[tokio::test]
async fn of_connections_to_many_hosts_few_stay_open_and_those_count_as_memory() {
    let server = Patient::start(0).await;
    let (executor, memory) = keeping(4);
    for host in 1..=40 {
        server.call(&executor, &format!("127.0.0.{host}"), "").await;
    }
    server.wait_for_open(4).await;
    assert_eq!(memory.used(Pool::Attempts), 4 * BYTES_OF_ONE);
    drop(executor);
    server.wait_for_open(0).await;
}

#[tokio::test]
async fn the_next_request_to_a_host_goes_over_the_connection_of_the_last() {
    let server = Patient::start(0).await;
    let (executor, _) = keeping(4);
    for _ in 0..20 {
        server.call(&executor, "127.0.0.1", "").await;
    }
    assert_eq!(server.made.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_connection_with_large_buffers_is_not_kept() {
    for (of_answer, of_request) in [(20_000, 0), (0, 20_000)] {
        let server = Patient::start(of_answer).await;
        let (executor, _) = keeping(4);
        server.call(&executor, "127.0.0.1", &"x".repeat(of_request)).await;
        server.wait_for_open(0).await;
        assert_eq!(server.made.load(Ordering::Relaxed), 1);
    }
}
