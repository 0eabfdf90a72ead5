//! All routes, behind the layers that a request passes on its way to one.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, header};
use axum::middleware::from_fn_with_state;
use tower::util::{MapRequestLayer, option_layer};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::sensitive_headers::SetSensitiveHeadersLayer;
use tower_http::trace::TraceLayer;

use super::problem::{METHOD_NOT_ALLOWED, Problem, ROUTE_NOT_FOUND};
use super::roles::Roles;
use super::{Api, apart, audit, auth, compress, gate, memory, openapi, request};

/// The headers with secrets. Their values are left out of debug output, and of HTTP/2's table of
/// headers, since its use would betray their length.
const SENSITIVE: [HeaderName; 3] = [header::AUTHORIZATION, header::COOKIE, header::SET_COOKIE];

/// Makes the router: all routes of the API, with `pages` (the dashboard's routes) beside them,
/// behind the same gate, authentication, logging and request ids.
pub fn router(api: Api, pages: Router) -> Router {
    let (routes, document) = openapi::routes().split_for_parts();
    let api = Api { roles: Arc::new(Roles::of(&document, &openapi::ALIASES)), ..api };
    let trace = TraceLayer::new_for_http()
        .make_span_with(request::span)
        .on_request(())
        .on_response(request::log)
        .on_body_chunk(())
        .on_eos(())
        .on_failure(());
    openapi::with_aliases(routes)
        .with_state(api.clone())
        .merge(pages)
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(route_not_found)
        .layer(from_fn_with_state(api.clone(), apart::apart))
        .layer(from_fn_with_state(api.clone(), auth::authenticate))
        .layer(from_fn_with_state(api.clone(), memory::hold))
        .layer(option_layer(api.settings.origins.layer()))
        .layer(from_fn_with_state(api.clone(), gate::gate))
        .layer(from_fn_with_state(api.clone(), audit::record))
        .layer(CatchPanicLayer::custom(request::panicked))
        .layer(from_fn_with_state(api.clone(), request::complete))
        .layer(trace)
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(SetRequestIdLayer::x_request_id(api.clone()))
        .layer(MapRequestLayer::new(request::drop_unsafe_id))
        .layer(from_fn_with_state(api, compress::choose))
        .layer(compress::layer())
        .layer(MapRequestLayer::new(compress::settle))
        .layer(SetSensitiveHeadersLayer::new(SENSITIVE))
}

async fn method_not_allowed() -> Problem {
    Problem::new(&METHOD_NOT_ALLOWED, "the Allow header names the methods of this route")
}

async fn route_not_found() -> Problem {
    Problem::new(&ROUTE_NOT_FOUND, "GET /openapi.json names every route")
}
