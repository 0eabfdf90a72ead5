//! The hosts that the server answers to, and the pages that may make a browser call it.

use super::*;
use crate::model::HostPort;

#[tokio::test]
async fn a_host_is_named_once_and_well_formed() {
    for bad in ["", "a b", "a/b", "a b/c", "u@localhost", "localhost:x", "localhost:80:80", "[::1"]
    {
        for path in ["/health/live", "/openapi.json", "/nope"] {
            let answer = send(app(&[]), asked("GET", path, &[("host", bad)])).await;
            answer.is_problem(400, "validation_failed");
        }
    }
    let mut without = request("GET", "/health/live");
    without.headers_mut().remove("host");
    send(app(&["k"]), without).await.is_problem(400, "validation_failed");
    let mut twice = request("GET", "/health/live");
    twice.headers_mut().append("host", "localhost".parse().unwrap());
    send(app(&[]), twice).await.is_problem(400, "validation_failed");
    let mut old = request("GET", "/health/live");
    old.headers_mut().remove("host");
    *old.version_mut() = axum::http::Version::HTTP_10;
    assert_eq!(send(app(&[]), old).await.status, 200);
}

#[tokio::test]
async fn without_keys_only_loopback_names_and_the_address_are_answered() {
    let here = || ApiSettings { address: HostPort::parse("box.lan"), ..ApiSettings::default() };
    let status = async |host: &str, path: &str, secrets: &[&str]| {
        let mut request = asked("GET", path, &[("host", host)]);
        request.headers_mut().insert("authorization", "Bearer k".parse().unwrap());
        send(app_with(secrets, here()), request).await.status
    };
    for own in
        ["localhost", "LocalHost:8080", "127.0.0.1:1", "127.8.8.8", "[::1]:8080", "box.lan:80"]
    {
        assert_eq!(status(own, "/openapi.json", &[]).await, 200, "{own}");
    }
    for other in [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:8080",
        "localhost.",
        "x.localhost",
        "0.0.0.0",
        "2130706433",
        "a.box.lan",
    ] {
        assert_eq!(status(other, "/openapi.json", &[]).await, 421, "{other}");
        assert_eq!(status(other, "/nope", &[]).await, 421, "{other}");
        assert_eq!(status(other, "/page", &[]).await, 421, "{other}");
        assert_eq!(status(other, "/health/live", &[]).await, 200, "{other}");
        assert_eq!(status(other, "/openapi.json", &["k"]).await, 200, "{other}");
    }
    // A target that is a whole URL takes precedence over the Host beside it.
    let both = asked("GET", "http://evil.example/openapi.json", &[]);
    send(app(&[]), both).await.is_problem(421, "misdirected");
}

#[tokio::test]
async fn with_keys_the_names_that_are_set_are_answered_and_no_others() {
    let named = || ApiSettings {
        hosts: ["flows.example", "10.0.0.7:8080"].map(|text| HostPort::parse(text).unwrap()).into(),
        ..ApiSettings::default()
    };
    for (host, path, expected) in [
        ("flows.example", "/openapi.json", 200),
        ("flows.example:444", "/openapi.json", 200),
        ("10.0.0.7:8080", "/openapi.json", 200),
        ("10.0.0.7", "/openapi.json", 421),
        ("localhost", "/openapi.json", 421),
        ("10.1.2.3:8080", "/health/live", 200),
    ] {
        let mut request = asked("GET", path, &[("host", host)]);
        request.headers_mut().insert("authorization", "Bearer k".parse().unwrap());
        assert_eq!(send(app_with(&["k"], named()), request).await.status, expected, "{host}");
    }
}

#[tokio::test]
async fn what_a_proxy_forwards_wants_keys() {
    for name in ["x-forwarded-for", "x-forwarded-host", "forwarded", "via", "x-real-ip"] {
        let forwarded = || asked("GET", "/openapi.json", &[(name, "1.2.3.4")]);
        send(app(&[]), forwarded()).await.is_problem(403, "forwarded");
        send(app(&["k"]), forwarded()).await.is_problem(401, "unauthenticated");
        let probe = asked("GET", "/health/live", &[(name, "1.2.3.4")]);
        assert_eq!(send(app(&[]), probe).await.status, 200);
    }
}

#[tokio::test]
async fn a_change_comes_from_no_page_but_the_servers_own() {
    for (host, origin, expected) in [
        ("localhost:80", "http://localhost", 400),
        ("localhost:8080", "http://localhost:8080", 400),
        ("[::1]:8080", "http://[::1]:8080", 400),
        ("localhost", "https://localhost", 400),
        ("localhost:8080", "http://localhost:8081", 403),
        ("localhost:8080", "http://127.0.0.1:8080", 403),
        ("localhost:8080", "http://localhost", 403),
        ("localhost", "http://evil.example", 403),
        ("localhost", "null", 403),
        ("localhost", "file://", 403),
        ("localhost", "", 403),
    ] {
        for (method, path) in [("POST", "/invoke/async"), ("DELETE", "/openapi.json")] {
            let sent = asked(method, path, &[("host", host), ("origin", origin)]);
            let expected = if method == "DELETE" && expected == 400 { 405 } else { expected };
            let answer = send(app(&[]), sent).await;
            assert_eq!(answer.status, expected, "{method} {host} {origin}: {}", answer.text);
        }
        let read = asked("GET", "/openapi.json", &[("host", host), ("origin", origin)]);
        assert_eq!(send(app(&[]), read).await.status, 200, "{origin}");
    }
    let mut twice = asked("POST", "/invoke/async", &[("origin", "http://localhost")]);
    twice.headers_mut().append("origin", "http://evil.example".parse().unwrap());
    send(app(&[]), twice).await.is_problem(403, "cross_site");
}

#[tokio::test]
async fn pages_of_a_named_origin_may_call_and_read_what_they_need() {
    let named = || ApiSettings {
        origins: Origins::Named(vec!["http://app.example".parse().unwrap()]),
        ..ApiSettings::default()
    };
    let ours = ("origin", "http://app.example");
    let preflight = [
        ours,
        ("access-control-request-method", "PATCH"),
        ("access-control-request-headers", "authorization,idempotency-key"),
    ];
    for path in ["/invoke/async", "/threads/t1", "/stream/t1", "/nope", "/page", "/health/live"] {
        let answer = send(app_with(&["k"], named()), asked("OPTIONS", path, &preflight)).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.headers["access-control-allow-origin"], "http://app.example");
        assert_eq!(answer.headers["access-control-allow-credentials"], "true");
        let headers = answer.headers["access-control-allow-headers"].to_str().unwrap();
        assert_eq!(headers, "authorization,idempotency-key");
        let methods = answer.headers["access-control-allow-methods"].to_str().unwrap();
        assert!(methods.contains("PATCH") && methods.contains("DELETE"), "{methods}");
        assert!(answer.headers.contains_key("access-control-max-age"));
    }
    let sent = asked("POST", "/invoke/async", &[ours, ("sec-fetch-site", "cross-site")]);
    let answer = send(app_with(&["k"], named()), sent).await;
    answer.is_problem(401, "unauthenticated");
    assert_eq!(answer.headers["access-control-allow-origin"], "http://app.example");
    let exposed = answer.headers["access-control-expose-headers"].to_str().unwrap();
    for name in ["location", "etag", "retry-after", "x-request-id", "idempotent-replayed"] {
        assert!(exposed.to_ascii_lowercase().contains(name), "{exposed}");
    }
    for foreign in ["http://app.example:81", "https://app.example", "http://evil.example", "null"] {
        let preflight = [("origin", foreign), preflight[1], preflight[2]];
        let answer =
            send(app_with(&["k"], named()), asked("OPTIONS", "/threads", &preflight)).await;
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{foreign}");
        let sent = asked("POST", "/invoke/async", &[("origin", foreign)]);
        send(app_with(&["k"], named()), sent).await.is_problem(403, "cross_site");
    }
}

#[tokio::test]
async fn pages_of_any_origin_may_call_without_cookies_where_that_was_said() {
    let any = || ApiSettings { origins: Origins::Any, ..ApiSettings::default() };
    let foreign = ("origin", "https://anywhere.example");
    let answer = send(app_with(&["k"], any()), asked("GET", "/openapi.json", &[foreign])).await;
    answer.is_problem(401, "unauthenticated");
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    assert!(!answer.headers.contains_key("access-control-allow-credentials"));
    let sent = asked("POST", "/invoke/async", &[foreign, ("sec-fetch-site", "cross-site")]);
    send(app_with(&["k"], any()), sent).await.is_problem(401, "unauthenticated");
}

#[tokio::test]
async fn without_origins_nothing_is_said_to_other_pages() {
    for method in ["GET", "OPTIONS"] {
        let sent = asked(method, "/openapi.json", &[("origin", "https://anywhere.example")]);
        let answer = send(app(&[]), sent).await;
        assert_eq!(answer.status, if method == "GET" { 200 } else { 405 });
        let told = answer.headers.keys().any(|name| name.as_str().starts_with("access-control"));
        assert!(!told, "{:?}", answer.headers);
    }
}

#[tokio::test]
async fn a_browser_is_asked_for_a_password_for_pages_alone() {
    let challenges = async |accept: &str| {
        let answer = send(app(&["k"]), asked("GET", "/stream/t1", &[("accept", accept)])).await;
        answer.is_problem(401, "unauthenticated");
        answer.headers.get_all("www-authenticate").iter().count()
    };
    assert_eq!(challenges("text/html").await, 2);
    assert_eq!(challenges("text/event-stream").await, 1);
    assert_eq!(challenges("Text/Event-Stream, */*").await, 1);
}

#[tokio::test]
async fn a_connection_beyond_the_bounds_is_answered_probes_alone() {
    for (path, expected) in [("/health/live", 200), ("/openapi.json", 503), ("/nope", 503)] {
        let mut request = request("GET", path);
        request.extensions_mut().insert(connections::Reserved);
        let answer = send(app(&[]), request).await;
        assert_eq!(answer.status, expected, "{path}");
        if expected == 503 {
            answer.is_problem(503, "too_many_connections");
            assert_eq!(answer.headers["retry-after"], "1");
        }
    }
}

#[tokio::test]
async fn caches_keep_nothing() {
    for path in ["/openapi.json", "/nope", "/page", "/health/live"] {
        for secrets in [&[][..], &["k"][..]] {
            let answer = send(app(secrets), request("GET", path)).await;
            assert_eq!(answer.headers["cache-control"], "no-store", "{path}");
        }
    }
}
