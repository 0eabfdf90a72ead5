use std::num::NonZeroU32;

use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::IntoResponse;

use super::super::buckets::tests::HandClock;
use super::super::settings::{NoMetrics, Rate};
use super::*;

const LARGEST: usize = 8 * 1024;

#[expect(clippy::unnecessary_wraps, reason = "as quotas hold a rate")]
fn rate(per_second: u32, burst: u32) -> Option<Rate> {
    let number = |value| NonZeroU32::new(value).unwrap();
    Some(Rate { per_second: number(per_second), burst: number(burst) })
}

fn counters(key: Quotas, namespace: Quotas) -> (Arc<Counters>, Arc<HandClock>) {
    let clock = Arc::new(HandClock::default());
    let time = Arc::<HandClock>::clone(&clock);
    let counters = Counters::new((key, namespace), LARGEST, time, Arc::new(NoMetrics));
    (Arc::new(counters), clock)
}

fn holder(name: &str) -> Holder {
    Holder { name: Some(Arc::from(name)), namespace: Namespace::default() }
}

/// The code, the detail and the seconds to wait.
type Told = (&'static str, String, Option<String>);

fn told(problem: Problem) -> Told {
    let code = problem.kind().code;
    let document = serde_json::to_value(problem.document("", "")).unwrap();
    let detail = document["detail"].as_str().unwrap().to_owned();
    let response = problem.into_response();
    assert!(matches!(
        response.status(),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::PAYLOAD_TOO_LARGE
    ));
    let after = response.headers().get(RETRY_AFTER);
    (code, detail, after.map(|value| value.to_str().unwrap().to_owned()))
}

fn ask(counters: &Counters, name: &str, body: Option<u64>) -> Result<Admission, Told> {
    counters.admit(&holder(name), &Extensions::new(), body).map_err(told)
}

#[test]
fn a_key_over_its_rate_waits_as_long_as_it_is_told_and_others_are_not_touched() {
    let (counters, clock) =
        counters(Quotas { rate: rate(1, 3), ..Quotas::default() }, Quotas::default());
    for _ in 0..3 {
        ask(&counters, "a", None).unwrap();
    }
    let (code, detail, after) = ask(&counters, "a", None).unwrap_err();
    assert_eq!((code, after.as_deref()), ("quota_exceeded", Some("1")));
    assert!(detail.contains("the key's requests"), "{detail}");
    ask(&counters, "b", None).unwrap();
    clock.advance(Duration::from_secs(1));
    ask(&counters, "a", None).unwrap();
    ask(&counters, "a", None).unwrap_err();
}

#[test]
fn keys_of_a_namespace_share_its_rate_and_a_refusal_by_one_takes_nothing_of_the_other() {
    let key = Quotas { rate: rate(1, 2), ..Quotas::default() };
    let (counters, clock) = counters(key, Quotas { rate: rate(1, 3), ..Quotas::default() });
    ask(&counters, "a", None).unwrap();
    ask(&counters, "a", None).unwrap();
    // The key refuses these, and the namespace has one left all the same.
    for _ in 0..5 {
        assert!(ask(&counters, "a", None).unwrap_err().1.contains("the key's"));
    }
    ask(&counters, "b", None).unwrap();
    // The namespace refuses these, and the key has one left all the same.
    for _ in 0..5 {
        assert!(ask(&counters, "b", None).unwrap_err().1.contains("the namespace's"));
    }
    clock.advance(Duration::from_secs(1));
    ask(&counters, "b", None).unwrap();
}

#[test]
fn places_are_free_when_their_requests_are_over_and_a_refused_request_takes_none() {
    let key = Quotas { concurrency: Some(2), ..Quotas::default() };
    let (counters, _) =
        counters(key, Quotas { concurrency: Some(3), rate: rate(1, 4), ..Quotas::default() });
    let first = ask(&counters, "a", None).unwrap();
    let _second = ask(&counters, "a", None).unwrap();
    let (code, detail, after) = ask(&counters, "a", None).unwrap_err();
    assert_eq!((code, after.as_deref()), ("quota_exceeded", Some("1")));
    assert!(detail.contains("of the key"), "{detail}");
    let _third = ask(&counters, "b", None).unwrap();
    assert!(ask(&counters, "b", None).unwrap_err().1.contains("of the namespace"));
    drop(first);
    let fourth = ask(&counters, "b", None).unwrap();
    drop(fourth);
    // The rate is used up. The place that was taken before the rate was checked is free again.
    for _ in 0..5 {
        assert!(ask(&counters, "b", None).unwrap_err().1.contains("requests a second"));
    }
}

#[test]
fn announced_bytes_are_counted_before_they_come_and_a_body_that_never_fits_is_no_429() {
    let (counters, clock) =
        counters(Quotas { bytes: Some(2048), ..Quotas::default() }, Quotas::default());
    // A body of the largest size may come at once.
    ask(&counters, "a", Some(8 * 1024)).unwrap();
    let (_, detail, after) = ask(&counters, "a", Some(4 * 1024)).unwrap_err();
    assert_eq!(after.as_deref(), Some("2"));
    assert!(detail.contains("the key's bytes"), "{detail}");
    ask(&counters, "a", Some(0)).unwrap();
    clock.advance(Duration::from_secs(2));
    ask(&counters, "a", Some(4 * 1024)).unwrap();
    let (code, detail, after) = ask(&counters, "b", Some(8 * 1024 + 1)).unwrap_err();
    assert_eq!((code, after), ("payload_too_large", None));
    assert!(detail.contains("in vain"), "{detail}");
}

#[test]
fn bytes_of_unannounced_length_are_counted_as_they_come_and_the_wait_is_for_all_of_them() {
    let (counters, clock) =
        counters(Quotas { bytes: Some(1024), ..Quotas::default() }, Quotas::default());
    ask(&counters, "a", Some(4 * 1024)).unwrap();
    let body = Unannounced::new(&counters, holder("a"));
    for _ in 0..40 {
        body.came(100).unwrap();
    }
    assert_eq!(told(body.came(100).unwrap_err()).2.as_deref(), Some("5"));
    clock.advance(Duration::from_secs(5));
    let again = Unannounced::new(&counters, holder("a"));
    for _ in 0..41 {
        again.came(100).unwrap();
    }
}

#[test]
fn without_a_name_only_the_namespace_counts() {
    let quotas = |burst| Quotas { rate: rate(1, burst), ..Quotas::default() };
    let (counters, _) = counters(quotas(1), quotas(3));
    let nobody = Holder { name: None, namespace: Namespace::default() };
    for _ in 0..3 {
        counters.admit(&nobody, &Extensions::new(), None).unwrap();
    }
    let refused = counters.admit(&nobody, &Extensions::new(), None).unwrap_err();
    assert!(told(refused).1.contains("the namespace's"));
    let other = Holder { name: None, namespace: Namespace::parse("b").unwrap() };
    counters.admit(&other, &Extensions::new(), None).unwrap();
}

#[test]
fn the_log_is_told_once_a_second_of_each_quota() {
    let (counters, clock) = counters(Quotas::default(), Quotas::default());
    let tell = || [counters.tell(Kind::KeyRate), counters.tell(Kind::NamespaceRate)];
    assert_eq!(tell(), [Some(1), Some(1)]);
    assert_eq!(tell(), [None, None]);
    clock.advance(TOLD_EVERY);
    assert_eq!(tell(), [Some(2), Some(2)]);
}
