//! Pages of other origins that may call this server from a browser (CORS).

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowCredentials, AllowHeaders, AllowOrigin, CorsLayer};

/// The time that a browser may keep the answer to a preflight: a change of the setting shows within
/// it.
const MAX_AGE: Duration = Duration::from_mins(10);
/// The methods of the API's routes.
const METHODS: [Method; 6] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
/// The headers of answers that a page may read beside those it always may.
const EXPOSED: [HeaderName; 5] = [
    header::LOCATION,
    header::ETAG,
    header::RETRY_AFTER,
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("idempotent-replayed"),
];

/// The origins whose pages may call from a browser (`RETHREAD_CORS_ORIGINS`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// These origins, written as browsers write them.
    Named(Vec<HeaderValue>),
    /// All origins, without cookies.
    Any,
}

impl Default for Origins {
    fn default() -> Self {
        Self::Named(Vec::new())
    }
}

impl Origins {
    /// Returns whether pages of this origin may call.
    pub(super) fn allow(&self, origin: &HeaderValue) -> bool {
        match self {
            Self::Named(origins) => origins.contains(origin),
            Self::Any => true,
        }
    }

    /// Makes the layer that answers preflights and marks answers for these origins; `None` without
    /// any origin.
    pub(super) fn layer(&self) -> Option<CorsLayer> {
        let (origin, credentials) = match self {
            Self::Named(origins) if origins.is_empty() => return None,
            Self::Named(origins) => (AllowOrigin::list(origins.clone()), AllowCredentials::yes()),
            Self::Any => (AllowOrigin::any(), AllowCredentials::default()),
        };
        let layer = CorsLayer::new()
            .allow_origin(origin)
            .allow_credentials(credentials)
            .allow_methods(METHODS)
            // Any header may be sent: unknown ones have no effect.
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(EXPOSED)
            .max_age(MAX_AGE);
        Some(layer)
    }
}
