//! All routes by all roles.

use std::collections::BTreeMap;

use utoipa::openapi::PathItem;
use utoipa::openapi::path::Operation;

use super::*;
use crate::model::{Namespace, Role};

/// The routes that want more than a reader, as `docs/operations.md` lists them.
const MORE: [(&str, &str, &str); 22] = [
    ("POST", "/invoke", "invoker"),
    ("POST", "/invoke/async", "invoker"),
    ("POST", "/api/invoke/async", "invoker"),
    ("POST", "/workflows/validate", "invoker"),
    ("POST", "/threads/{threadId}/signals/{name}", "invoker"),
    ("POST", "/threads/{threadId}/fork", "invoker"),
    ("POST", "/threads/{threadId}/resume", "invoker"),
    ("POST", "/threads/{threadId}/pause", "invoker"),
    ("POST", "/threads/{threadId}/abort", "invoker"),
    ("POST", "/threads/{threadId}/steps/{stepId}/retry", "invoker"),
    ("POST", "/threads/{threadId}/steps/{stepId}/skip", "invoker"),
    ("POST", "/threads/{threadId}/steps/{stepId}/output", "invoker"),
    ("POST", "/interventions/{interventionId}/resolve", "operator"),
    ("DELETE", "/threads/{threadId}", "admin"),
    ("GET", "/audit", "admin"),
    ("POST", "/workflows", "admin"),
    ("POST", "/notifications", "admin"),
    ("PATCH", "/notifications/{notificationId}", "admin"),
    ("DELETE", "/notifications/{notificationId}", "admin"),
    ("POST", "/notifications/{notificationId}/test", "admin"),
    ("GET", "/health/live", ""),
    ("GET", "/health/ready", ""),
];

#[tokio::test]
async fn every_route_lets_in_the_role_it_names_and_no_lesser_one() {
    let mut more: BTreeMap<_, _> =
        MORE.iter().map(|(method, path, role)| ((*method, (*path).to_owned()), *role)).collect();
    let app = with_roles();
    for (path, item) in &openapi().paths.paths {
        for (method, operation) in operations(item) {
            let told = role_of(operation);
            let wanted = more.remove(&(method, path.clone())).unwrap_or("reader");
            assert_eq!(told.unwrap_or_default(), wanted, "{method} {path}");
            let least = Role::parse(wanted);
            for caller in Role::ALL {
                let answer = call(&app, method, path, Some(caller)).await;
                let refused = least.is_some_and(|least| caller < least);
                assert_eq!(
                    is_forbidden(&answer),
                    refused,
                    "{method} {path} by {caller}: {}",
                    answer.text
                );
                if refused {
                    let words = format!("wants the role {wanted}");
                    assert!(
                        answer.json["detail"].as_str().unwrap().contains(&words),
                        "{}",
                        answer.text
                    );
                }
            }
            let nobody = call(&app, method, path, None).await;
            assert_eq!(nobody.status == 401, least.is_some(), "{method} {path} by nobody");
        }
    }
    assert!(more.is_empty(), "not routed: {more:?}");
}

#[tokio::test]
async fn every_role_sees_pages_and_hears_what_is_no_route() {
    let app = with_roles();
    for role in Role::ALL {
        assert_eq!(call(&app, "GET", "/page", Some(role)).await.status, 200);
        assert_eq!(call(&app, "HEAD", "/openapi.yaml", Some(role)).await.status, 200);
        assert_eq!(call(&app, "GET", "/nope", Some(role)).await.status, 404);
        assert_eq!(call(&app, "PUT", "/threads", Some(role)).await.status, 405);
    }
}

fn operations(item: &PathItem) -> Vec<(&'static str, &Operation)> {
    let all = [
        ("GET", &item.get),
        ("PUT", &item.put),
        ("POST", &item.post),
        ("PATCH", &item.patch),
        ("DELETE", &item.delete),
    ];
    all.into_iter().filter_map(|(method, one)| Some((method, one.as_ref()?))).collect()
}

fn role_of(operation: &Operation) -> Option<&str> {
    operation.extensions.as_ref()?.get("x-required-role")?.as_str()
}

fn is_forbidden(answer: &Answer) -> bool {
    answer.status == 403 && answer.json["code"] == "forbidden"
}

/// Makes a server that has a key of each role.
fn with_roles() -> Router {
    let key = |role: Role| ApiKey::new(role.as_str(), &format!("{role}-secret"));
    let keys = Role::ALL.map(|role| key(role).granted(role, Namespace::default()));
    with_keys(ApiSettings { keys: Keys::new(keys.into()), ..ApiSettings::default() })
}

/// Sends an empty request with the key of this role. Streams are not read: they have no end.
async fn call(app: &Router, method: &str, path: &str, role: Option<Role>) -> Answer {
    let path: Vec<&str> =
        path.split('/').map(|part| if part.starts_with('{') { "t1" } else { part }).collect();
    let mut request = request(method, &path.join("/"));
    if let Some(role) = role {
        let key = format!("Bearer {role}-secret").parse().unwrap();
        request.headers_mut().insert("authorization", key);
    }
    let (parts, body) = app.clone().oneshot(request).await.unwrap().into_parts();
    let stream = parts.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
    answer(parts, if stream { Body::empty() } else { body }).await
}
