//! A server that steps call: it counts what reaches it, and answers as the path says.
//!
//! | path | answer |
//! | --- | --- |
//! | `/ok/NAME` | 200 `{"name", "hit"}` |
//! | `/fail/N/NAME` | 503 to the first N requests of a key, then as `ok` |
//! | `/status/CODE/NAME` | that status with a text |
//! | `/wait/NAME` | as `ok`, once `release(NAME)` was called |
//! | `/delay/MS/NAME` | as `ok`, later |
//! | `/later/NAME` | 429 with `Retry-After: 1` at first, then as `ok` |
//! | `/busy/S/NAME` | the same with `Retry-After: S` |
//! | `/down/NAME` | 503 until `release(NAME)` was called, then as `ok` |
//! | `/to/URL` | a redirect |
//! | `/trickle/N/NAME` | N pieces, one every 100 ms |
//! | `/stall/NAME` | its head and one piece, and no end, at first; then as `ok` |
//! | `/big/BYTES/NAME` | a text of that length |
//! | `/text/NAME`, `/broken/NAME` | plain text, and what is no JSON but says it is |
//! | `/echo/NAME` | the request's body as JSON |

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt as _};

use super::{GLANCE, PATIENCE, beside};

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Hit {
    /// The last part of its path.
    pub(crate) name: String,
    /// Its `Idempotency-Key`.
    pub(crate) key: String,
    /// Its `X-Rethread-Attempt`.
    pub(crate) attempt: u32,
    /// Its query string.
    pub(crate) query: String,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body.
    pub(crate) body: Bytes,
    /// When it came.
    pub(crate) at: tokio::time::Instant,
}

#[derive(Debug, Default)]
struct Book {
    hits: Vec<Hit>,
    released: HashSet<String>,
    dropped: HashSet<String>,
}

/// A request that waits for its release.
struct Waiting<'a> {
    recorder: &'a Recorder,
    name: &'a str,
}

impl Drop for Waiting<'_> {
    /// The server drops what it does for a caller that has hung up.
    fn drop(&mut self) {
        if !self.recorder.is_released(self.name) {
            self.recorder.book.lock().unwrap().dropped.insert(self.name.to_owned());
        }
    }
}

/// The recorder.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    addr: SocketAddr,
    book: Arc<Mutex<Book>>,
}

impl Recorder {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let recorder = Self { addr: listener.local_addr().unwrap(), book: Arc::default() };
        let app = axum::Router::new().fallback(answer).with_state(recorder.clone());
        beside(async { axum::serve(listener, app).await });
        recorder
    }

    /// A URL of it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.addr)
    }

    /// All requests so far, in order.
    pub(crate) fn hits(&self) -> Vec<Hit> {
        self.book.lock().unwrap().hits.clone()
    }

    /// Requests for this name so far.
    pub(crate) fn hits_of(&self, name: &str) -> Vec<Hit> {
        self.hits().into_iter().filter(|hit| hit.name == name).collect()
    }

    /// Requests that carried this key so far.
    pub(crate) fn count(&self, key: &str) -> usize {
        self.hits().iter().filter(|hit| hit.key == key).count()
    }

    /// Lets the requests for a name that wait go on, and those to come.
    pub(crate) fn release(&self, name: &str) {
        self.book.lock().unwrap().released.insert(name.to_owned());
    }

    /// Waits until that many requests for a name have come.
    pub(crate) async fn reached(&self, name: &str, times: usize) {
        let wait = async {
            while self.hits_of(name).len() < times {
                tokio::time::sleep(GLANCE).await;
            }
        };
        let reached = tokio::time::timeout(PATIENCE, wait).await;
        assert!(reached.is_ok(), "not {times} requests for {name}: {}", self.hits_of(name).len());
    }

    /// Waits until a caller has hung up on a request for a name that waits for its release.
    pub(crate) async fn dropped(&self, name: &str) {
        let wait = async {
            while !self.book.lock().unwrap().dropped.contains(name) {
                tokio::time::sleep(GLANCE).await;
            }
        };
        let dropped = tokio::time::timeout(PATIENCE, wait).await;
        assert!(dropped.is_ok(), "nobody has hung up on a request for {name}");
    }

    fn is_released(&self, name: &str) -> bool {
        self.book.lock().unwrap().released.contains(name)
    }

    /// Waits for a release.
    async fn released(&self, name: &str) {
        while !self.is_released(name) {
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Notes a request; how many with its key came, this one included.
    fn note(&self, hit: Hit) -> usize {
        let mut book = self.book.lock().unwrap();
        let earlier = book.hits.iter().filter(|one| one.key == hit.key && one.name == hit.name);
        let count = earlier.count() + 1;
        book.hits.push(hit);
        count
    }
}

/// So many pieces of an answer, one every 100 ms.
fn pieces(count: usize) -> impl Stream<Item = std::io::Result<Bytes>> {
    futures_util::stream::iter(0..count).then(async |_| {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok(Bytes::from_static(b"."))
    })
}

async fn answer(State(recorder): State<Recorder>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let path: Vec<&str> = parts.uri.path().trim_start_matches('/').splitn(3, '/').collect();
    let name = (*path.last().unwrap()).to_owned();
    let text =
        |name: &str| parts.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    let count = recorder.note(Hit {
        name: name.clone(),
        key: text("idempotency-key"),
        attempt: text("x-rethread-attempt").parse().unwrap_or(0),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers.clone(),
        body: body.clone(),
        at: tokio::time::Instant::now(),
    });
    let number = || path[1].parse::<usize>().unwrap();
    let ok = || axum::Json(serde_json::json!({ "name": name, "hit": count })).into_response();
    match path[0] {
        "fail" if count <= number() => (StatusCode::SERVICE_UNAVAILABLE, "not yet").into_response(),
        "status" => {
            let code = StatusCode::from_u16(path[1].parse().unwrap()).unwrap();
            (code, name).into_response()
        }
        "wait" => {
            let _waiting = Waiting { recorder: &recorder, name: &name };
            recorder.released(&name).await;
            ok()
        }
        "delay" => {
            tokio::time::sleep(Duration::from_millis(path[1].parse().unwrap())).await;
            ok()
        }
        "later" if count == 1 => {
            (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1")], "busy").into_response()
        }
        "busy" if count == 1 => {
            let seconds = [(header::RETRY_AFTER, path[1])];
            (StatusCode::TOO_MANY_REQUESTS, seconds, "busy").into_response()
        }
        "down" if !recorder.is_released(&name) => {
            (StatusCode::SERVICE_UNAVAILABLE, "down").into_response()
        }
        "trickle" => Body::from_stream(pieces(number())).into_response(),
        "stall" if count == 1 => {
            let endless = futures_util::stream::pending();
            Body::from_stream(pieces(1).chain(endless)).into_response()
        }
        "ok" | "fail" | "later" | "busy" | "down" | "stall" => ok(),
        "to" => {
            let target = parts.uri.path().trim_start_matches("/to/").to_owned();
            (StatusCode::FOUND, [(header::LOCATION, target)]).into_response()
        }
        "big" => "x".repeat(number()).into_response(),
        "text" => name.into_response(),
        "broken" => ([(header::CONTENT_TYPE, "application/json")], "{oops").into_response(),
        "echo" => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        other => panic!("the recorder does not know {other:?}"),
    }
}
