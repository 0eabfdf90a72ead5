//! Compression of answers, in the coding that the client likes best of zstd, brotli and gzip.
//!
//! The layer of tower-http compresses an answer piece by piece, as the client takes it. This module
//! decides which answers, and in which coding.
//!
//! A compressed answer betrays by its length whether a text that somebody else chose occurs in it
//! (BREACH). So answers with secrets, and all that a page of another site asks for, stay as they are.
//!
//! An `ETag` stands for a version of a thread, in whatever coding: it stays strong, because `If-Match`
//! takes no weak ones.

use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::Response;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::Predicate;

use super::Api;
use super::gate::is_of_other_site;
use super::holding::Holding;
use crate::observe::Pool;

/// The size from which an answer is compressed, in bytes: a smaller one takes a packet or two anyway.
const LEAST: u64 = 1024;
/// The codings, the best last; `identity` is none.
const CODINGS: [&str; 4] = ["identity", "gzip", "br", "zstd"];
/// The level of all codings, their fastest but for those that hardly compress: an answer is made for
/// one reader.
const LEVEL: CompressionLevel = CompressionLevel::Precise(1);
/// The memory of a compressor, in bytes: the most that one was seen to take at [`LEVEL`], brotli's.
const COMPRESSOR: usize = 8 << 20;
/// The routes whose answers may have a secret in them.
pub(super) const SECRET_ROUTES: [&str; 3] =
    ["/notifications", "/notifications/{notificationId}", "/threads/{threadId}/stream-token"];

/// Marks an answer that is to be compressed.
#[derive(Debug, Clone, Copy)]
struct Wanted;

/// Makes the layer that compresses the answers that [`choose`] has marked.
pub(super) fn layer() -> CompressionLayer<impl Predicate + Send + Sync + 'static> {
    let wanted = |_: StatusCode, _: Version, _: &HeaderMap, extensions: &Extensions| {
        extensions.get::<Wanted>().is_some()
    };
    CompressionLayer::new().quality(LEVEL).compress_when(wanted)
}

/// Leaves in `Accept-Encoding` the one coding to use, if any. The layer would answer 406 to a client
/// that takes no coding at all, after its request was carried out.
pub(super) fn settle(mut request: Request) -> Request {
    let best = best(request.headers()).filter(|_| !is_of_other_site(request.headers()));
    match best {
        Some(coding) => {
            let coding = HeaderValue::from_static(coding);
            request.headers_mut().insert(header::ACCEPT_ENCODING, coding);
        }
        None => drop(request.headers_mut().remove(header::ACCEPT_ENCODING)),
    }
    request
}

/// Marks an answer that is to be compressed, and holds the memory for that until it is sent. Without
/// memory it is sent as it is.
pub(super) async fn choose(State(api): State<Api>, request: Request, next: Next) -> Response {
    let route = request.extensions().get().map_or("", MatchedPath::as_str);
    let may =
        request.headers().contains_key(header::ACCEPT_ENCODING) && !SECRET_ROUTES.contains(&route);
    let response = next.run(request).await;
    if !may || !is_worth_it(&response) {
        return response;
    }
    let Ok(memory) = api.handle.memory().reserve_for_all(Pool::Answers, COMPRESSOR) else {
        return response;
    };
    let mut response = response.map(|body| Body::new(Holding::new(body, memory)));
    response.extensions_mut().insert(Wanted);
    response
}

/// Returns whether an answer is large enough, and whole: events of a stream must not wait in a
/// compressor.
fn is_worth_it(response: &Response) -> bool {
    response.body().size_hint().exact().is_some_and(|size| size >= LEAST)
}

/// Returns the coding that a client likes best; `None` if that is none at all.
fn best(headers: &HeaderMap) -> Option<&'static str> {
    let fields = headers.get_all(header::ACCEPT_ENCODING).iter();
    let listed: Vec<(&str, f64)> = fields
        .filter_map(|field| field.to_str().ok())
        .flat_map(|text| text.split(','))
        .map(weighed)
        .collect();
    let weight = |coding: &str| {
        let found = listed.iter().find(|(name, _)| name.eq_ignore_ascii_case(coding));
        found.map_or(0.0, |(_, weight)| *weight)
    };
    let all = CODINGS.map(|coding| (coding, weight(coding)));
    // Of equals this is the last.
    let best = all.into_iter().max_by(|(_, one), (_, other)| one.total_cmp(other));
    best.filter(|(coding, weight)| *weight > 0.0 && *coding != "identity").map(|(coding, _)| coding)
}

/// Reads `coding;q=0.5`; a weight that cannot be read is zero.
fn weighed(text: &str) -> (&str, f64) {
    let Some((coding, parameter)) = text.split_once(';') else { return (text.trim(), 1.0) };
    let weight = parameter.trim().strip_prefix("q=").and_then(|text| text.parse().ok());
    (coding.trim(), weight.filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coding_that_is_liked_best_is_used() {
        for (text, coding) in [
            ("gzip, deflate, br, zstd", Some("zstd")),
            ("gzip, deflate, br", Some("br")),
            ("GZIP", Some("gzip")),
            ("gzip;q=1.0, zstd;q=0.5", Some("gzip")),
            ("gzip;q=0.5, identity;q=0.1", Some("gzip")),
            ("gzip;q=0.5, identity", None),
            ("gzip;q=0", None),
            ("gzip;q=2, br;q=x", None),
            ("identity;q=0", None),
            ("*;q=0", None),
            ("*", None),
            ("deflate", None),
            ("", None),
        ] {
            let value = HeaderValue::from_static(text);
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, value)]);
            assert_eq!(best(&headers), coding, "{text}");
        }
        assert_eq!(best(&HeaderMap::new()), None);
    }
}
