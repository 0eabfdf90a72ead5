//! Reads JSON bodies and path parameters, and turns everything wrong with them into a problem
//! document.

use std::time::Duration;

use axum::body::Body as HttpBody;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use futures_util::StreamExt;

use super::Api;
use super::memory::Held;
use super::problem::{
    BODY_TOO_LARGE, MALFORMED_JSON, Problem, REQUEST_TIMEOUT, UNSUPPORTED_MEDIA_TYPE,
};
use super::quota::Unannounced;
use crate::contract::Request as JsonRequest;
use crate::model::{Fault, Faults, Json, JsonFault, Namespace, ThreadId};

/// The longest time that a body may take to arrive: a slow sender must not hold memory and a
/// connection.
const BODY_DEADLINE: Duration = Duration::from_secs(30);
/// The longest `Idempotency-Key`, in characters: room for any id, small in an index.
const MAX_IDEMPOTENCY_KEY: usize = 255;

/// A request's JSON body, read whole.
pub(super) struct Body<T>(pub(super) T);

/// A request that is a JSON body.
pub(super) trait FromBody: JsonRequest + Send + Sync {
    /// Whether the body may be left out.
    const OPTIONAL: bool = false;
    /// Returns the faults inside the members' values, which the runtime would find if the body had
    /// no others, so that one answer names all faults.
    fn faults_within(
        &self,
        _api: &Api,
        _namespace: &Namespace,
    ) -> impl Future<Output = Vec<Fault>> + Send {
        std::future::ready(Vec::new())
    }
}

impl<T: FromBody> FromRequest<Api> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let namespace: Option<Namespace> = request.extensions().get().cloned();
        let json = match read_json(request, api).await? {
            Some(json) if !(T::OPTIONAL && json.is_null()) => json,
            Some(_) | None if T::OPTIONAL => {
                Json::trusted("{}".to_owned()).map_err(|_| Problem::internal())?
            }
            Some(_) | None => return Err(Problem::new(&MALFORMED_JSON, "a JSON body is needed")),
        };
        let mut faults = Faults::default();
        let read = T::read(&json, &mut faults);
        if let Some(request) = read {
            if faults.is_empty() {
                return Ok(Self(request));
            }
            let namespace = namespace.ok_or_else(Problem::internal)?;
            faults.extend(request.faults_within(api, &namespace).await);
        }
        Err(Problem::faults(faults.into_vec()))
    }
}

/// A request's JSON body as one value; `None` if there is none.
pub(super) struct WholeBody(pub(super) Option<Json>);

impl FromRequest<Api> for WholeBody {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        read_json(request, api).await.map(Self)
    }
}

impl WholeBody {
    /// Returns the value, or a problem if there is none.
    pub(super) fn required(self) -> Result<Json, Problem> {
        self.0.ok_or_else(|| Problem::new(&MALFORMED_JSON, "a JSON body is needed"))
    }
}

/// Reads the body as compact JSON of bounded size and depth; `None` if it is empty.
async fn read_json(request: Request, api: &Api) -> Result<Option<Json>, Problem> {
    let (parts, body) = request.into_parts();
    let held = parts.extensions.get::<Held>().cloned().unwrap_or_default();
    let namespace = parts.extensions.get::<Namespace>().cloned().unwrap_or_default();
    let whose = (api.handle.memory(), &namespace);
    let unannounced = parts.extensions.get::<Unannounced>();
    let came = |bytes| {
        unannounced.map_or(Ok(()), |quota| quota.came(bytes))?;
        held.came(whose, bytes)
    };
    let bytes = read_bytes(&parts.headers, body, (api.settings.max_body, &came)).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    check_media_type(&parts.headers)?;
    held.parsed(whose, &bytes)?;
    let malformed = |detail: String| Problem::new(&MALFORMED_JSON, detail);
    let text = std::str::from_utf8(&bytes).map_err(|fault| {
        malformed(format!("the body is not UTF-8 at byte {}", fault.valid_up_to()))
    })?;
    match Json::parse(text) {
        Ok(json) => Ok(Some(json)),
        Err(fault @ (JsonFault::Syntax(_) | JsonFault::Depth | JsonFault::LoneSurrogate)) => {
            Err(malformed(fault.to_string()))
        }
    }
}

/// Collects the body, however its length was announced, and stops at `limit` bytes. The layer of
/// tower-http that limits bodies knows the limit alone: here each chunk is charged to the caller's
/// quota and to the memory budget as well, in time, and a refusal is a problem document.
async fn read_bytes(
    headers: &HeaderMap,
    body: HttpBody,
    (limit, came): (usize, &(dyn Fn(usize) -> Result<(), Problem> + Sync)),
) -> Result<Vec<u8>, Problem> {
    let too_large = || Problem::new(&BODY_TOO_LARGE, format!("at most {limit} bytes are taken"));
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let announced = length.and_then(|digits| digits.parse::<usize>().ok());
    if announced.is_some_and(|announced| announced > limit) {
        return Err(too_large());
    }
    let collect = async {
        let mut bytes = Vec::new();
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| Problem::invalid("the body broke off"))?;
            if bytes.len() + chunk.len() > limit {
                return Err(too_large());
            }
            came(chunk.len())?;
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    };
    tokio::time::timeout(BODY_DEADLINE, collect).await.unwrap_or_else(|_| {
        let detail = format!("the body took longer than {} s", BODY_DEADLINE.as_secs());
        Err(Problem::new(&REQUEST_TIMEOUT, detail))
    })
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let refuse = |detail: &str| Err(Problem::new(&UNSUPPORTED_MEDIA_TYPE, detail));
    if headers.get(header::CONTENT_ENCODING).is_some_and(|value| value != "identity") {
        return refuse("the body must not be compressed");
    }
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let text = text.unwrap_or_default().to_ascii_lowercase();
    let (essence, parameters) = text.split_once(';').unwrap_or((&text, ""));
    let essence = essence.trim();
    let json = essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"));
    if !json {
        return refuse("the body must have Content-Type: application/json");
    }
    let charset = parameters.split(';').filter_map(|pair| pair.trim().strip_prefix("charset="));
    if charset.map(|name| name.trim_matches('"')).any(|name| name != "utf-8") {
        return refuse("the body must be UTF-8");
    }
    Ok(())
}

/// The namespace of the caller: nothing of another namespace is found.
pub(super) struct Within(pub(super) Namespace);

impl FromRequestParts<Api> for Within {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        parts.extensions.get().cloned().map(Self).ok_or_else(Problem::internal)
    }
}

/// The thread that the path names, one of the caller's namespace.
pub(super) struct ThreadPath(pub(super) ThreadId);

impl FromRequestParts<Api> for ThreadPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        thread_in_path(parts, api, "threadId").await.map(Self)
    }
}

/// Reads the thread that a parameter of the path names, one of the caller's namespace.
pub(super) async fn thread_in_path(
    parts: &mut Parts,
    api: &Api,
    name: &str,
) -> Result<ThreadId, Problem> {
    let text = path_parameter(parts, name).await?;
    let Within(namespace) = Within::from_request_parts(parts, api).await?;
    ThreadId::within(&namespace, &text).map_err(|fault| Problem::invalid(fault.to_string()))
}

/// Returns a parameter of the path, decoded.
pub(super) async fn path_parameter(parts: &mut Parts, name: &str) -> Result<String, Problem> {
    let params = match RawPathParams::from_request_parts(parts, &()).await {
        Ok(params) => params,
        Err(RawPathParamsRejection::InvalidUtf8InPathParam(_)) => {
            return Err(Problem::invalid("the path has a bad percent-encoding"));
        }
        Err(_) => return Err(Problem::internal()),
    };
    let found = params.iter().find(|(key, _)| *key == name);
    // No name has U+0000, and not every database can compare with it.
    if found.is_some_and(|(_, value)| value.contains('\0')) {
        return Err(Problem::invalid("the path has U+0000"));
    }
    found.map(|(_, value)| value.to_owned()).ok_or_else(Problem::internal)
}

/// Returns the W3C trace context of a request. A malformed one is ignored, as the standard asks
/// (<https://www.w3.org/TR/trace-context/#traceparent-header>).
pub(super) fn traceparent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    let hex = text.bytes().all(|b| b == b'-' || b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    (hex && lengths == [2, 32, 16, 2]).then(|| text.to_owned())
}

/// Reads the `Idempotency-Key` of a request.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let visible = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if text.is_empty() || text.len() > MAX_IDEMPOTENCY_KEY || !visible {
        return Err(Problem::invalid(format!(
            "Idempotency-Key must be 1 to {MAX_IDEMPOTENCY_KEY} printable ASCII characters"
        )));
    }
    Ok(Some(text.to_owned()))
}
