//! Answers are compressed for those who take it, but for small ones and those with secrets.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZstdDecoder};
use axum::body::HttpBody;
use axum::response::IntoResponse;
use hyper::body::{Frame, SizeHint};
use tokio::io::AsyncReadExt;

use super::*;

const CODINGS: [&str; 3] = ["gzip", "br", "zstd"];

async fn got(path: &str, headers: &[(&'static str, &str)]) -> (HeaderMap, u16, Bytes) {
    let (parts, body) = app(&[]).oneshot(asked("GET", path, headers)).await.unwrap().into_parts();
    (parts.headers, parts.status.as_u16(), to_bytes(body, usize::MAX).await.unwrap())
}

async fn decoded(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match coding {
        "gzip" => GzipDecoder::new(bytes).read_to_end(&mut plain).await.unwrap(),
        "br" => BrotliDecoder::new(bytes).read_to_end(&mut plain).await.unwrap(),
        _ => ZstdDecoder::new(bytes).read_to_end(&mut plain).await.unwrap(),
    };
    plain
}

#[tokio::test]
async fn a_large_answer_is_compressed_for_whoever_takes_it() {
    let (headers, status, plain) = got("/openapi.json", &[]).await;
    assert_eq!((status, headers.get("content-encoding")), (200, None));
    for coding in CODINGS {
        let (headers, status, bytes) = got("/openapi.json", &[("accept-encoding", coding)]).await;
        assert_eq!((status, headers["content-encoding"].to_str().unwrap()), (200, coding));
        let varies = headers.get_all("vary").iter();
        assert!(
            varies
                .filter_map(|value| value.to_str().ok())
                .any(|text| text.contains("accept-encoding"))
        );
        assert!(!headers.contains_key("content-length"));
        assert!(headers.contains_key("x-request-id"));
        assert!(bytes.len() < plain.len() / 3, "{coding}: {} of {}", bytes.len(), plain.len());
        assert_eq!(decoded(coding, &bytes).await, plain, "{coding}");
    }
}

#[tokio::test]
async fn small_answers_and_those_to_pages_of_other_sites_stay_as_they_are() {
    let all = ("accept-encoding", "gzip, br, zstd");
    for (path, headers) in [
        ("/health/live", [all, all]),
        ("/nope", [all, all]),
        ("/openapi.json", [all, ("sec-fetch-site", "cross-site")]),
        ("/openapi.json", [all, ("sec-fetch-site", "same-site")]),
        ("/openapi.json", [("accept-encoding", "identity;q=0"); 2]),
        ("/openapi.json", [("accept-encoding", "*;q=0"); 2]),
    ] {
        let (headers, status, _) = got(path, &headers).await;
        assert_eq!(status, if path == "/nope" { 404 } else { 200 }, "{path}");
        assert!(!headers.contains_key("content-encoding"), "{path}: {headers:?}");
    }
    let own = [all, ("sec-fetch-site", "same-origin")];
    let (headers, ..) = got("/openapi.json", &own).await;
    assert_eq!(headers["content-encoding"], "zstd");
}

/// A body of a known length that counts the bytes that were taken of it.
struct Counted {
    left: usize,
    taken: Arc<AtomicUsize>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        // Noise, which no coding makes smaller.
        let mut noise = u64::try_from(self.left).unwrap() | 1;
        let mut next = || {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            noise.to_le_bytes()
        };
        let piece: Vec<u8> = (0..PIECE / 8).flat_map(|_| next()).collect();
        self.left -= PIECE;
        self.taken.fetch_add(PIECE, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.left).unwrap())
    }
}

const PIECE: usize = 16 << 10;
const LARGE: usize = 128 * PIECE;

#[tokio::test]
async fn no_more_of_an_answer_is_compressed_than_is_taken() {
    for coding in CODINGS {
        let taken = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&taken);
        let large = async move || Body::new(Counted { left: LARGE, taken: counts }).into_response();
        let app = app_beside(Router::new().route("/large", get(large)));
        let response = app.oneshot(asked("GET", "/large", &[("accept-encoding", coding)])).await;
        let response = response.unwrap();
        assert_eq!(response.headers()["content-encoding"], coding);
        let mut body = response.into_body();
        let (mut came, mut ahead) = (0, 0);
        while let Some(frame) =
            std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
        {
            let bytes = frame.unwrap().into_data().unwrap().len();
            assert!(bytes <= 4 << 10, "{coding}: a piece of {bytes}");
            ahead = ahead.max(taken.load(Ordering::Relaxed).saturating_sub(came));
            came += bytes;
        }
        assert_eq!(taken.load(Ordering::Relaxed), LARGE);
        println!("{coding}: {came} bytes of {LARGE}, at most {ahead} ahead");
        assert!(ahead < LARGE / 2, "{coding}: {ahead} of {LARGE}");
    }
}

/// The names of the schemas that a text refers to, and of those that they refer to.
fn gather(document: &utoipa::openapi::OpenApi, text: &str, names: &mut BTreeSet<String>) {
    for rest in text.split("#/components/schemas/").skip(1) {
        let name = rest.split('"').next().unwrap();
        if names.insert(name.to_owned()) {
            gather(document, &schema(document, name), names);
        }
    }
}

fn schema(document: &utoipa::openapi::OpenApi, name: &str) -> String {
    serde_json::to_string(&document.components.as_ref().unwrap().schemas[name]).unwrap()
}

#[test]
fn no_answer_that_may_have_a_secret_in_it_is_compressed() {
    let document = openapi();
    let mut found = BTreeSet::new();
    for (path, item) in &document.paths.paths {
        for operation in [&item.get, &item.post, &item.patch, &item.delete].into_iter().flatten() {
            let answers = serde_json::to_string(&operation.responses).unwrap();
            let mut names = BTreeSet::new();
            gather(&document, &answers, &mut names);
            let mut all = names.iter().map(|name| schema(&document, name)).chain([answers]);
            if all.any(|text| text.contains("\"secret\":") || text.contains("\"token\":")) {
                found.insert(path.as_str());
            }
        }
    }
    assert_eq!(found, compress::SECRET_ROUTES.into());
}
