//! Pages in a real browser: those that attack, those of other origins that call, and our own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::{HeaderMap, header};
use axum::response::Html;
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::support::browser::{Browser, Route};
use super::support::flows::workflow;
use super::support::{Home, PATIENCE, beside, eventually};

const KEY: &str = "0123456789abcdef-key";
/// Points its name at the victim, reads and starts what it can, and posts forms across sites.
const REBINDING: &str = include_str!("pages/rebinding.html");
/// Starts a thread on a server of another origin and follows it.
const CALLER: &str = include_str!("pages/caller.html");

/// A site whose pages attack, and what they report.
struct Site {
    address: SocketAddr,
    rebound: Arc<AtomicBool>,
    reports: mpsc::UnboundedReceiver<Value>,
}

impl Site {
    /// Serves this page at `/`.
    async fn start(page: String) -> Self {
        let (told, reports) = mpsc::unbounded_channel();
        let rebound = Arc::new(AtomicBool::new(false));
        let switch = Arc::clone(&rebound);
        let report = move |body: String| async move {
            told.send(serde_json::from_str(&body).unwrap()).unwrap();
        };
        // A connection a request, so that the name is looked up each time.
        let close = [("connection", "close")];
        let app = Router::new()
            .route("/", get(async move || (close, Html(page))))
            .route(
                "/rebind",
                get(async move || {
                    switch.store(true, Ordering::SeqCst);
                    (close, "")
                }),
            )
            .route("/report", post(report));
        Self { address: serve(app).await, rebound, reports }
    }

    /// Where names lead: `evil.example` to the victim once it was rebound, all others here.
    fn route(&self, victim: SocketAddr) -> Route {
        let (rebound, here) = (Arc::clone(&self.rebound), self.address);
        Arc::new(move |name, port| match name {
            "evil.example" if port == victim.port() && rebound.load(Ordering::SeqCst) => {
                Some(victim)
            }
            name if name.ends_with(".example") => Some(here),
            _ => None,
        })
    }

    async fn report(&mut self) -> Value {
        let report = tokio::time::timeout(PATIENCE, self.reports.recv()).await;
        report.expect("the page reports nothing").unwrap()
    }
}

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    beside(async move { axum::serve(listener, app).await });
    address
}

/// What the page says of its attack on a victim; `None` without a browser.
async fn attack(victim: SocketAddr) -> Option<Value> {
    let page = REBINDING.replace("VICTIM", &format!("http://{victim}"));
    let mut site = Site::start(page).await;
    let url = format!("http://evil.example:{}/", victim.port());
    let browser = Browser::open(&url, site.route(victim)).await?;
    let report = site.report().await;
    drop(browser);
    Some(report)
}

#[tokio::test]
async fn a_page_cannot_make_a_browser_use_a_server_without_keys() {
    // First a server that takes whatever comes, so that it is seen that the attack works.
    let (hit, mut hits) = mpsc::unbounded_channel();
    let naive = async move |headers: HeaderMap| {
        hit.send(headers).unwrap();
        "whatever you want"
    };
    let naive = serve(Router::new().fallback(naive)).await;
    let Some(report) = attack(naive).await else { return };
    assert_eq!(report["read"], "200 whatever you want", "{report}");
    assert_eq!(report["run"], "200 whatever you want", "{report}");
    assert_eq!(report["form"], "loaded", "{report}");
    let mut posts = 0;
    while let Ok(headers) = hits.try_recv() {
        posts += usize::from(headers.contains_key(header::ORIGIN));
    }
    assert_eq!(posts, 3, "a run, a simple request and a form");

    let server = Home::memory().await;
    let server = server.launch().set("RETHREAD_EXEC_ALLOW", "id").start().await;
    let client = server.client();
    let steps = json!([{ "id": "s", "kind": "sleep", "with": { "for": "1h" } }]);
    let body = json!({ "workflow": { "name": "w", "steps": steps }, "threadId": "v" });
    client.post("/invoke/async", &body).await.expect(202);
    let report = attack(server.addr).await.unwrap();
    for what in ["read", "run"] {
        let text = report[what].as_str().unwrap();
        assert!(text.starts_with("421") && !text.contains("uid="), "{what}: {report}");
    }
    assert_eq!(client.status("v").await["status"], "running", "{report}");
    let threads = client.get("/threads").await.json();
    assert_eq!(threads["items"].as_array().unwrap().len(), 1, "{threads}");
}

#[tokio::test]
async fn a_page_of_a_named_origin_calls_and_follows_in_a_browser() {
    let home = Home::memory().await;
    let launch = home.launch().set("RETHREAD_API_KEYS", &format!("ops:{KEY}"));
    let server = launch.set("RETHREAD_CORS_ORIGINS", "http://app.example").start().await;
    let body = json!({ "workflow": workflow("w"), "input": { "x": 1 } });
    let page = CALLER
        .replace("SERVER", &server.url())
        .replace("KEY", KEY)
        .replace("BODY", &body.to_string());
    for (origin, welcome) in [("http://app.example", true), ("http://other.example", false)] {
        let mut site = Site::start(page.clone()).await;
        let route = site.route(server.addr);
        let Some(browser) = Browser::open(&format!("{origin}/"), route).await else { return };
        let report = site.report().await;
        drop(browser);
        if welcome {
            assert_eq!(report["status"], 202, "{report}");
            assert!(report["location"].as_str().unwrap().contains("/status/"), "{report}");
            assert_eq!(report["last"], "workflow_complete", "{report}");
        } else {
            assert!(report["failed"].as_str().unwrap().contains("TypeError"), "{report}");
        }
    }
    let threads = server.client().with_key(KEY).get("/threads").await.json();
    assert_eq!(threads["items"].as_array().unwrap().len(), 1, "{threads}");
}

/// Whether the page shows what a page that is loaded now shows: `true`, or the parts that differ.
const AS_IF_LOADED_ANEW: &str = r##"(async () => {
  const text = await (await fetch(location.href)).text();
  const fresh = new DOMParser().parseFromString(text, "text/html");
  const parts = ["#status", "#progress", "#notes", "#values", "#steps", "#events"];
  for (const fold of document.querySelectorAll("details")) fold.open = false;
  const other = parts.filter((part) => !document.querySelector(part).isEqualNode(fresh.querySelector(part)));
  return other.length ? other.map((part) => document.querySelector(part).outerHTML) : true;
})()"##;

/// Waits until a part of the page has this text in it.
async fn shows(browser: &mut Browser, part: &str, wanted: &str) {
    let text = format!("document.querySelector({part:?})?.textContent ?? ''");
    eventually(&format!("{part} shows {wanted}"), async || {
        browser.evaluate(&text).await.as_str().unwrap().contains(wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_page_of_a_thread_shows_what_happens_as_it_happens() {
    let server = Home::memory().await.start().await;
    let client = server.client();
    let steps = json!([
        { "id": "wait", "kind": "signal", "with": { "name": "go" } },
        { "id": "ask", "kind": "approval", "dependsOn": ["wait"], "with": { "prompt": "Well?" } },
        { "id": "last", "kind": "transform", "dependsOn": ["ask"], "with": { "jq": "1" } },
    ]);
    let body =
        json!({ "workflow": { "name": "w", "steps": steps }, "threadId": "t", "input": "<i>" });
    client.post("/invoke/async", &body).await.expect(202);
    let url = format!("{}/ui/threads/t", server.url());
    let Some(mut browser) = Browser::open(&url, Arc::new(|_, _| None)).await else { return };
    shows(&mut browser, "#connection", "Following").await;
    shows(&mut browser, "#why", "signal go").await;
    shows(&mut browser, "[data-step=wait] .status", "waiting").await;
    client.post("/threads/t/signals/go", &json!({ "n": 1 })).await.expect(202);
    shows(&mut browser, "[data-step=wait] .status", "completed").await;
    // The person who is asked reads it without loading the page again.
    shows(&mut browser, "#why", "ask").await;
    shows(&mut browser, "#events", "intervention_opened").await;
    // What happens from now on does not fold what the reader unfolds.
    let unfold = "window.loadedOnce = true; document.querySelector('#values details').open = true";
    browser.evaluate(unfold).await;
    let open = client.get("/interventions?status=open").await.expect(200).json();
    let path = format!("/interventions/{}/resolve", open["items"][0]["id"].as_str().unwrap());
    client.post(&path, &json!({ "choice": "approve" })).await.expect(200);
    shows(&mut browser, "#connection", "The thread has ended").await;
    shows(&mut browser, "#status", "completed").await;
    shows(&mut browser, "#progress", "3/3").await;
    let kept = "window.loadedOnce && document.querySelector('#values details').open";
    assert_eq!(browser.evaluate(kept).await, true);
    assert_eq!(browser.evaluate(AS_IF_LOADED_ANEW).await, true);
}
