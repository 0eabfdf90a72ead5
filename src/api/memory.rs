//! The memory of a request: its body while it is handled, its answer until the client has received
//! it. A request without room is refused with 503. Health and metrics are small and hold nothing,
//! so they are always answered.

use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::holding::Holding;
use super::problem::Problem;
use crate::model::{Namespace, lock};
use crate::observe::{Memory, Overloaded, Pool, Reservation};
use crate::runtime::RuntimeError;

/// The size below which answers are not counted, in bytes: the connection itself takes more.
const SMALL_ANSWER: u64 = 8 * 1024;
/// The bytes of memory for each byte of a body that is handled: one as it came, one as it is kept.
const PER_BYTE: usize = 2;
/// The bytes of memory for each parsed value of a body.
const PER_VALUE: usize = 96;

/// The memory of one request's body, until the request is answered.
#[derive(Debug, Clone, Default)]
pub(super) struct Held(Arc<Mutex<Option<Reservation>>>);

impl Held {
    /// Counts more bytes of a body that have arrived.
    pub(super) fn came(
        &self,
        whose: (&Arc<Memory>, &Namespace),
        bytes: usize,
    ) -> Result<(), Problem> {
        self.grow(whose, bytes.saturating_mul(PER_BYTE))
    }

    /// Counts the values that a body is parsed into.
    pub(super) fn parsed(
        &self,
        whose: (&Arc<Memory>, &Namespace),
        body: &[u8],
    ) -> Result<(), Problem> {
        // Each value but the first of a list or an object comes after a comma.
        let values = body.iter().filter(|byte| matches!(byte, b',' | b':' | b'[' | b'{')).count();
        self.grow(whose, values.saturating_mul(PER_VALUE))
    }

    /// Releases the memory of the body, which is gone; the answer may take longer.
    pub(super) fn release(&self) {
        *lock(&self.0) = None;
    }

    fn grow(
        &self,
        (memory, namespace): (&Arc<Memory>, &Namespace),
        bytes: usize,
    ) -> Result<(), Problem> {
        // A panic while the lock was held cannot leave a number half changed.
        let mut held = lock(&self.0);
        let grown = match &mut *held {
            Some(reservation) => reservation.grow(bytes),
            none => memory.reserve(Pool::Requests, namespace, bytes).map(|new| *none = Some(new)),
        };
        grown.map_err(refused)
    }
}

/// Returns the refusal as clients see it.
pub(super) fn refused(refused: Overloaded) -> Problem {
    RuntimeError::from(refused).into()
}

/// A smaller answer to a request that has changed something, for when there is no memory for the
/// whole one: a refusal would read as if nothing had happened.
#[derive(Debug, Clone)]
pub(super) struct Smaller(pub(super) StatusCode, pub(super) Bytes);

/// Holds the memory of a request until it is answered, and that of the answer until the client has
/// received it.
pub(super) async fn hold(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path == "/metrics" || path.split('/').nth(1) == Some("health") {
        return next.run(request).await;
    }
    let held = Held::default();
    request.extensions_mut().insert(held.clone());
    let is_safe = request.method().is_safe();
    let response = next.run(request).await;
    drop(held);
    let Some(size) = response.body().size_hint().exact().filter(|size| *size > SMALL_ANSWER) else {
        return response;
    };
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let namespace = response.extensions().get::<Namespace>().cloned().unwrap_or_default();
    let memory = api.handle.memory();
    match memory.reserve(Pool::Answers, &namespace, size) {
        Ok(reservation) => response.map(|body| Body::new(Holding::new(body, reservation))),
        Err(error) if is_safe => refused(error).into_response(),
        Err(_overloaded) => {
            if let Some(Smaller(status, body)) = response.extensions().get::<Smaller>().cloned() {
                return smaller(response, status, body);
            }
            let noted = memory.note_for(Pool::Answers, &namespace, size);
            response.map(|body| Body::new(Holding::new(body, noted)))
        }
    }
}

fn smaller(mut response: Response, status: StatusCode, body: Bytes) -> Response {
    *response.status_mut() = status;
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(body);
    response
}
