//! The router as clients see it, where no runtime is needed: requests that are refused at the door.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::get;
use base64::Engine;
use serde_json::Value;
use tower::ServiceExt;
use uuid::Uuid;

use super::*;
use crate::model::{Clock, Entropy, Timestamp};
use crate::runtime::Handle;

mod compression;
mod edge;
mod fuzz;
mod roles;

const BIG: usize = 200;

#[tokio::test]
async fn what_is_not_there_is_a_problem_with_id_and_path_but_no_query() {
    let answer = send(app(&[]), request("GET", "/nope?token=secret")).await;
    answer.is_problem(404, "route_not_found");
    assert_eq!(answer.json["instance"], "/nope");
    assert_eq!(answer.json["requestId"], "00000000-0000-7000-8000-000000000000");
    assert!(!answer.text.contains("secret"));
}

#[tokio::test]
async fn a_wrong_method_names_the_right_ones() {
    for (method, path, allowed) in [
        ("GET", "/invoke/async", "POST"),
        ("PUT", "/threads/t1", "DELETE"),
        ("POST", "/status/t1", "GET"),
    ] {
        let answer = send(app(&[]), request(method, path)).await;
        answer.is_problem(405, "method_not_allowed");
        assert!(answer.headers["allow"].to_str().unwrap().contains(allowed), "{path}");
    }
}

#[tokio::test]
async fn a_safe_request_id_comes_back_and_another_is_replaced() {
    for (sent, kept) in [("abc-1.2_3", true), ("a b", false), ("", false)] {
        let mut request = request("GET", "/nope");
        request.headers_mut().insert("x-request-id", sent.parse().unwrap());
        let answer = send(app(&[]), request).await;
        assert_eq!(answer.headers["x-request-id"] == sent, kept, "{sent}");
    }
}

#[tokio::test]
async fn with_keys_every_route_but_the_probe_wants_one() {
    for (method, path) in [
        ("GET", "/threads"),
        ("POST", "/invoke/async"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("GET", "/health"),
        ("GET", "/nope"),
        ("PUT", "/threads"),
        ("GET", "/page"),
    ] {
        let answer = send(app(&["k"]), request(method, path)).await;
        answer.is_problem(401, "unauthenticated");
        assert!(answer.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    }
    assert_eq!(send(app(&["k"]), request("GET", "/health/live")).await.status, 200);
}

#[tokio::test]
async fn a_key_opens_the_api_and_in_a_browser_the_pages() {
    let open = async |method: &str, path: &str, authorization: String| {
        let mut request = request(method, path);
        request.headers_mut().insert("authorization", authorization.parse().unwrap());
        send(app(&["k"]), request).await.status
    };
    let basic = || format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("me:k"));
    assert_eq!(open("GET", "/openapi.yaml", "Bearer k".to_owned()).await, 200);
    assert_eq!(open("GET", "/openapi.yaml", "Bearer x".to_owned()).await, 401);
    assert_eq!(open("GET", "/page", basic()).await, 200);
    assert_eq!(open("POST", "/invoke/async", basic()).await, 401);
    assert_eq!(open("POST", "/invoke/async", "Bearer k".to_owned()).await, 400);
}

#[tokio::test]
async fn a_page_of_another_site_can_change_nothing() {
    for (site, method, status) in [
        ("cross-site", "POST", 403),
        ("same-site", "POST", 403),
        ("same-origin", "POST", 400),
        ("cross-site", "GET", 400),
    ] {
        let path = if method == "POST" { "/invoke/async" } else { "/threads?limit=0" };
        let mut request = request(method, path);
        request.headers_mut().insert("sec-fetch-site", site.parse().unwrap());
        assert_eq!(send(app(&[]), request).await.status, status, "{site} {method}");
    }
}

/// Makes a request with these headers; a `host` replaces the usual one.
fn asked(method: &str, path: &str, headers: &[(&'static str, &str)]) -> Request<Body> {
    let mut request = request(method, path);
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    request
}

#[tokio::test]
async fn bodies_that_are_no_json_are_told_apart() {
    let table: [(&[u8], &str, u16, &str); 9] = [
        (b"{", "application/json", 400, "malformed_json"),
        (b"", "application/json", 400, "malformed_json"),
        (b"{\"input\":\"\xff\"}", "application/json", 400, "malformed_json"),
        (b"{\"input\":\"\\ud800\"}", "application/json", 400, "malformed_json"),
        (b"[]", "application/json", 400, "validation_failed"),
        (b"{}", "application/json; charset=latin-1", 415, "unsupported_media_type"),
        (b"{}", "text/plain", 415, "unsupported_media_type"),
        (b"{\"a\":1}", "application/vnd.x+json; charset=UTF-8", 400, "validation_failed"),
        (&[b' '; BIG + 1], "application/json", 413, "payload_too_large"),
    ];
    for (body, media_type, status, code) in table {
        let answer = send(app(&[]), post("/invoke/async", media_type, body)).await;
        answer.is_problem(status, code);
    }
}

#[tokio::test]
async fn a_body_of_unannounced_length_is_bounded_too() {
    let chunks = (0..5).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 100])));
    let body = Body::from_stream(futures_util::stream::iter(chunks));
    let mut request = post("/invoke", "application/json", b"");
    *request.body_mut() = body;
    send(app(&[]), request).await.is_problem(413, "payload_too_large");
}

#[tokio::test]
async fn every_fault_of_a_body_has_its_pointer() {
    let body = br#"{"workfow":"x","threadId":"-","priority":"high"}"#;
    let answer = send(app(&[]), post("/invoke/async", "application/json", body)).await;
    answer.is_problem(400, "validation_failed");
    let errors = answer.json["errors"].as_array().unwrap();
    let pointers: Vec<_> = errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, ["/threadId", "/workflow", "/priority", "/workfow"]);
}

#[tokio::test]
async fn whether_to_compensate_is_true_or_false_and_the_thread_has_to_be_there() {
    for (body, status, code) in [
        (r#"{"compensate":"yes"}"#, 400, "validation_failed"),
        (r#"{"compensat":true}"#, 400, "validation_failed"),
        (r#"{"compensate":true}"#, 404, "thread_not_found"),
    ] {
        let request = post("/threads/t1/abort", "application/json", body.as_bytes());
        send(app(&[]), request).await.is_problem(status, code);
    }
}

#[tokio::test]
async fn bad_ids_parameters_and_headers_are_refused_with_the_rule() {
    let table = [
        ("/status/-x", "", "thread id"),
        ("/status/%ff", "", "percent-encoding"),
        ("/status/a%20b", "", "thread id"),
        ("/status/t1?outptus=false", "", "outptus"),
        ("/status/t1?at=0", "", "at:"),
        ("/threads?limit=0", "", "limit:"),
        ("/threads?status=done", "", "completed"),
        ("/threads?workflow=%zz", "", "percent-encoding"),
        ("/threads?workflow=%00", "", "U+0000"),
        ("/workflows/a%00b", "", "U+0000"),
        ("/stream/t1?after=x", "", "after:"),
        ("/stream/t1", "x", "Last-Event-ID"),
        ("/workflows/w@3?version=4", "", "versions"),
    ];
    for (path, last_event_id, told) in table {
        let mut request = request("GET", path);
        if !last_event_id.is_empty() {
            request.headers_mut().insert("last-event-id", last_event_id.parse().unwrap());
        }
        let answer = send(app(&[]), request).await;
        answer.is_problem(400, "validation_failed");
        assert!(answer.json["detail"].as_str().unwrap().contains(told), "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_panic_is_a_problem_and_the_server_lives_on() {
    let answer = send(app(&[]), request("GET", "/panics")).await;
    answer.is_problem(500, "internal");
    assert!(!answer.text.contains("secret detail"));
}

#[tokio::test]
async fn every_documented_path_is_routed_and_every_alias_with_it() {
    let document = openapi();
    for (path, item) in &document.paths.paths {
        let path = path.replace("{threadId}", "-").replace("{name}", "-");
        // No route has PUT: a path with a route answers 405, one without answers 404.
        let answer = send(app(&[]), request("PUT", &path)).await;
        answer.is_problem(405, "method_not_allowed");
        let allowed = answer.headers["allow"].to_str().unwrap();
        assert_eq!(item.get.is_some(), allowed.contains("GET"), "{path}");
        assert_eq!(item.post.is_some(), allowed.contains("POST"), "{path}");
        assert_eq!(item.patch.is_some(), allowed.contains("PATCH"), "{path}");
        assert_eq!(item.delete.is_some(), allowed.contains("DELETE"), "{path}");
    }
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
    json: Value,
}

impl Answer {
    #[track_caller]
    fn is_problem(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status, self.json["code"].as_str()),
            (status, Some(code)),
            "{}",
            self.text
        );
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.json["status"], status);
        assert_eq!(self.json["requestId"], self.headers["x-request-id"].to_str().unwrap());
        assert!(self.json["type"].as_str().unwrap().ends_with(&format!("/problems/{code}")));
    }
}

async fn send(app: Router, request: Request<Body>) -> Answer {
    let (parts, body) = app.oneshot(request).await.unwrap().into_parts();
    answer(parts, body).await
}

async fn answer(parts: axum::http::response::Parts, body: Body) -> Answer {
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let json = serde_json::from_str(&text).unwrap_or_default();
    Answer { status: parts.status.as_u16(), headers: parts.headers, text, json }
}

fn request(method: &str, path: &str) -> Request<Body> {
    let request = Request::builder().method(method).uri(path).header("host", "localhost");
    request.body(Body::empty()).unwrap()
}

fn post(path: &str, media_type: &str, body: &[u8]) -> Request<Body> {
    let request = Request::builder().method("POST").uri(path).header("content-type", media_type);
    let request = request.header("host", "localhost");
    request.body(Body::from(body.to_vec())).unwrap()
}

/// Makes the router over a runtime that none of these tests reaches.
fn app(secrets: &[&str]) -> Router {
    app_with(secrets, ApiSettings::default())
}

/// Makes the router with settings of its own.
fn app_with(secrets: &[&str], settings: ApiSettings) -> Router {
    let keys = secrets.iter().map(|secret| ApiKey::new("tester", secret)).collect();
    with_keys(ApiSettings { keys: Keys::new(keys), ..settings })
}

/// Makes the router with keys of its own.
fn with_keys(settings: ApiSettings) -> Router {
    let pages = Router::new()
        .route("/page", get(async || "a page"))
        .route("/panics", get(async || -> StatusCode { panic!("secret detail") }));
    with_pages(settings, pages)
}

/// Makes the router without keys, with pages of its own.
fn app_beside(pages: Router) -> Router {
    with_pages(ApiSettings::default(), pages)
}

fn with_pages(settings: ApiSettings, pages: Router) -> Router {
    let settings = ApiSettings { max_body: BIG, ..settings };
    router(
        Api::new(
            Handle::unreached(Arc::new(Fixed), Arc::new(Fixed)),
            settings,
            Arc::new(Fixed),
            Arc::new(Fixed),
        ),
        pages,
    )
}

#[derive(Debug)]
struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(0)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

impl Entropy for Fixed {
    fn uuid(&self, _: Timestamp) -> Uuid {
        Uuid::from_u128(0x7000_8000_0000_0000_0000)
    }

    fn unit(&self) -> f64 {
        0.5
    }
}
