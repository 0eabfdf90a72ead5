//! Errors as clients see them: RFC 9457 problem documents.
//!
//! Only this module chooses the HTTP status of an error. An error never contains internals (SQL,
//! paths, stacks). A [`Problem`] becomes a body in the outermost middleware (`request.rs`), which
//! alone knows the request id and the path.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::contract::ProblemDocument;
use crate::identity::Refusal;
use crate::model::{Category, Fault, Faults};
use crate::runtime::{Cause, Rejection, RuntimeError};

/// The prefix of every problem's `type`; the problem's code follows it. Nothing is fetched.
const TYPE_PREFIX: &str = "https://rethread.dev/problems/";
/// The media type of problem documents.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

/// The constant part of a problem.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    title: &'static str,
    category: Category,
    /// Whether the same request may succeed later.
    recoverable: bool,
}

macro_rules! kinds {
    ($($name:ident = $status:ident $code:literal $category:ident $recoverable:literal $title:literal;)+) => {
        $(pub(super) static $name: Kind = Kind {
            status: StatusCode::$status,
            code: $code,
            title: $title,
            category: Category::$category,
            recoverable: $recoverable,
        };)+
        /// Every kind of problem, for the documentation.
        pub(super) static KINDS: &[&Kind] = &[$(&$name),+];
    };
}

kinds! {
    VALIDATION_FAILED = BAD_REQUEST "validation_failed" Validation false "The request is not valid";
    MALFORMED_JSON = BAD_REQUEST "malformed_json" Validation false "The body is not valid JSON";
    UNAUTHENTICATED = UNAUTHORIZED "unauthenticated" Authentication false "The caller is not authenticated";
    FORBIDDEN = FORBIDDEN "forbidden" Authorization false "The caller may not do this";
    EXEC_NOT_ALLOWED = FORBIDDEN "exec_not_allowed" Authorization false "A program is not allowed";
    NOT_AN_APPROVER = FORBIDDEN "not_an_approver" Authorization false "Somebody else has to answer";
    CROSS_SITE = FORBIDDEN "cross_site" Authorization false "Another site's page sent this";
    FORWARDED = FORBIDDEN "forwarded" Authorization false "A proxy sent this to a server without keys";
    MISDIRECTED = MISDIRECTED_REQUEST "misdirected" Authorization false "The server does not go by this name";
    ROUTE_NOT_FOUND = NOT_FOUND "route_not_found" NotFound false "There is no such route";
    THREAD_NOT_FOUND = NOT_FOUND "thread_not_found" NotFound false "There is no such thread";
    WORKFLOW_NOT_FOUND = NOT_FOUND "workflow_not_found" NotFound false "There is no such workflow";
    METHOD_NOT_ALLOWED = METHOD_NOT_ALLOWED "method_not_allowed" Validation false "The route has no such method";
    REQUEST_TIMEOUT = REQUEST_TIMEOUT "request_timeout" Timeout true "The body did not arrive in time";
    SEQ_OUT_OF_RANGE = BAD_REQUEST "seq_out_of_range" Validation false "The thread has no such event";
    HISTORY_TOO_LARGE = PAYLOAD_TOO_LARGE "history_too_large" Resource false "The history is too long to be forked";
    THREAD_CONFLICT = CONFLICT "thread_conflict" Conflict false "The thread id is in use";
    THREAD_DELETING = CONFLICT "thread_deleting" Conflict true "The thread of this id is being removed";
    WRONG_STATE = CONFLICT "wrong_state" Conflict false "The thread's state does not allow this";
    NOTHING_TO_COMPENSATE = CONFLICT "nothing_to_compensate" Conflict false "Nothing is left to be compensated";
    COMPENSATION_UNDER_WAY = CONFLICT "compensation_under_way" Conflict false "The thread is being compensated";
    STEP_NOT_FOUND = NOT_FOUND "step_not_found" NotFound false "No such step";
    WRONG_STEP_STATE = CONFLICT "wrong_step_state" Conflict false "The step's state does not allow this";
    INTERVENTION_NOT_FOUND = NOT_FOUND "intervention_not_found" NotFound false "No such intervention";
    INTERVENTION_RESOLVED = CONFLICT "intervention_resolved" Conflict false "It was decided already";
    DIGEST_MISMATCH = CONFLICT "digest_mismatch" Conflict false "It is about something else";
    NOTIFICATION_NOT_FOUND = NOT_FOUND "notification_not_found" NotFound false "No such notification";
    TOO_MANY_NOTIFICATIONS = CONFLICT "too_many_notifications" Resource false "Too many notifications";
    ADDRESS_NOT_ALLOWED = FORBIDDEN "address_not_allowed" Authorization false "The server may not connect there";
    TOO_MANY_SIGNALS = TOO_MANY_REQUESTS "too_many_signals" RateLimit true "Too many signals wait to be taken";
    CHOICE_NOT_OFFERED = UNPROCESSABLE_ENTITY "choice_not_offered" Validation false "The choice is not offered";
    PRECONDITION_FAILED = PRECONDITION_FAILED "precondition_failed" Conflict false "Somebody acted first";
    BODY_TOO_LARGE = PAYLOAD_TOO_LARGE "payload_too_large" Resource false "The body is too large";
    UNSUPPORTED_MEDIA_TYPE = UNSUPPORTED_MEDIA_TYPE "unsupported_media_type" Validation false "The body has the wrong content type";
    IDEMPOTENCY_MISMATCH = UNPROCESSABLE_ENTITY "idempotency_mismatch" Conflict false "The idempotency key is in use";
    QUEUE_FULL = TOO_MANY_REQUESTS "queue_full" RateLimit true "Too many threads wait already";
    QUOTA_EXCEEDED = TOO_MANY_REQUESTS "quota_exceeded" RateLimit true "A quota is used up";
    TOO_MANY_WRONG_KEYS = TOO_MANY_REQUESTS "too_many_wrong_keys" RateLimit true "Too many wrong keys came from the address";
    INTERNAL = INTERNAL_SERVER_ERROR "internal" Internal false "A fault of this server";
    RECORD_DAMAGED = INTERNAL_SERVER_ERROR "record_damaged" Storage false "A stored record is damaged";
    STORAGE_UNAVAILABLE = SERVICE_UNAVAILABLE "storage_unavailable" Storage true "Storage cannot be reached";
    STORAGE_FULL = INSUFFICIENT_STORAGE "storage_full" Storage true "Storage is full";
    NOT_TAKEN = SERVICE_UNAVAILABLE "not_taken" Resource false "The call waits for a replica to act on it";
    OVERLOADED = SERVICE_UNAVAILABLE "overloaded" Resource true "The server has no memory left for this";
    TOO_MANY_CONNECTIONS = SERVICE_UNAVAILABLE "too_many_connections" Resource true "Too many connections";
    ISSUER_UNAVAILABLE = SERVICE_UNAVAILABLE "issuer_unavailable" Authentication true "Tokens cannot be checked now";
    NOT_READY = SERVICE_UNAVAILABLE "not_ready" Resource true "This replica cannot do its work now";
}

/// An error on its way to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    kind: &'static Kind,
    detail: String,
    errors: Vec<Fault>,
    retry_after: Option<Duration>,
    /// The failure behind it, which goes to the log alone.
    cause: Option<Cause>,
}

impl Problem {
    /// Makes a problem of a kind, with the detail of this case.
    pub(super) fn new(kind: &'static Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new(), retry_after: None, cause: None }
    }

    /// Returns the problem with this `Retry-After`.
    #[must_use]
    pub(super) fn retry_after(self, after: Duration) -> Self {
        Self { retry_after: Some(after), ..self }
    }

    /// Makes the problem of a body with these faults.
    pub(super) fn faults(errors: Vec<Fault>) -> Self {
        let mut faults = Faults::default();
        faults.extend(errors);
        let errors = faults.into_vec();
        let detail = match errors.as_slice() {
            [Fault { pointer, detail }] if pointer.is_empty() => detail.clone(),
            [Fault { pointer, detail }] => format!("{pointer}: {detail}"),
            many => format!("{} faults, listed in errors", many.len()),
        };
        Self { errors, ..Self::new(&VALIDATION_FAILED, detail) }
    }

    /// Makes the problem of a fault in the request outside its body.
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(&VALIDATION_FAILED, detail)
    }

    /// Makes the problem of a fault of this server; the details are in its log.
    pub(super) fn internal() -> Self {
        Self::new(&INTERNAL, "the server's log has the details under this request id")
    }

    /// Moves the faults into the detail, as they are not about a body.
    #[must_use]
    pub(super) fn without_pointers(mut self) -> Self {
        if !self.errors.is_empty() {
            let told = self.errors.iter().map(|fault| {
                let name = fault.pointer.trim_start_matches('/');
                if name.is_empty() {
                    fault.detail.clone()
                } else {
                    format!("{name}: {}", fault.detail)
                }
            });
            self.detail = told.collect::<Vec<_>>().join("; ");
            self.errors.clear();
        }
        self
    }

    /// Returns the detail of this case.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// Returns the kind of this problem.
    pub(super) fn kind(&self) -> &'static Kind {
        self.kind
    }

    /// Returns the body of the answer.
    pub(super) fn document<'a>(&'a self, path: &'a str, request: &'a str) -> ProblemDocument<'a> {
        ProblemDocument {
            problem_type: format!("{TYPE_PREFIX}{}", self.kind.code),
            title: self.kind.title,
            status: self.kind.status.as_u16(),
            detail: &self.detail,
            instance: path,
            code: self.kind.code,
            category: self.kind.category,
            recoverable: self.kind.recoverable,
            request_id: request,
            errors: &self.errors,
        }
    }
}

/// Returns the kind of a refusal by the machine.
const fn refused(rejection: &Rejection) -> &'static Kind {
    match rejection {
        Rejection::NotCurrent => &PRECONDITION_FAILED,
        Rejection::WrongState(_) => &WRONG_STATE,
        Rejection::NoStep(_) => &STEP_NOT_FOUND,
        Rejection::WrongStep(..) => &WRONG_STEP_STATE,
        Rejection::NoIntervention => &INTERVENTION_NOT_FOUND,
        Rejection::Resolved { .. } => &INTERVENTION_RESOLVED,
        Rejection::NothingToCompensate => &NOTHING_TO_COMPENSATE,
        Rejection::Compensating => &COMPENSATION_UNDER_WAY,
        Rejection::OtherDigest(_) => &DIGEST_MISMATCH,
        Rejection::TooManySignals => &TOO_MANY_SIGNALS,
        Rejection::NoSuchChoice(_) => &CHOICE_NOT_OFFERED,
        Rejection::NotAnApprover(_) => &NOT_AN_APPROVER,
    }
}

impl From<RuntimeError> for Problem {
    fn from(error: RuntimeError) -> Self {
        let (detail, cause) = (error.to_string(), error.cause());
        match error {
            RuntimeError::Invalid(errors) => Self::faults(errors),
            RuntimeError::ExecNotAllowed(errors) => {
                Self { errors, ..Self::new(&EXEC_NOT_ALLOWED, detail) }
            }
            RuntimeError::NotStarter => Self::new(&FORBIDDEN, detail),
            RuntimeError::ThreadNotFound => Self::new(&THREAD_NOT_FOUND, detail),
            RuntimeError::WorkflowNotFound => Self::new(&WORKFLOW_NOT_FOUND, detail),
            RuntimeError::ThreadConflict => Self::new(&THREAD_CONFLICT, detail),
            RuntimeError::ThreadDeleting { retry_after } => {
                Self { retry_after: Some(retry_after), ..Self::new(&THREAD_DELETING, detail) }
            }
            RuntimeError::IdempotencyMismatch => Self::new(&IDEMPOTENCY_MISMATCH, detail),
            RuntimeError::Refused { rejection, .. } => Self::new(refused(&rejection), detail),
            RuntimeError::NotificationNotFound => Self::new(&NOTIFICATION_NOT_FOUND, detail),
            RuntimeError::TooManyNotifications { .. } => Self::new(&TOO_MANY_NOTIFICATIONS, detail),
            RuntimeError::AddressNotAllowed(errors) => {
                Self { errors, ..Self::new(&ADDRESS_NOT_ALLOWED, detail) }
            }
            RuntimeError::TooLarge { .. } => Self::new(&BODY_TOO_LARGE, detail),
            RuntimeError::PreconditionFailed { .. } => Self::new(&PRECONDITION_FAILED, detail),
            RuntimeError::SeqOutOfRange { .. } => Self::new(&SEQ_OUT_OF_RANGE, detail),
            RuntimeError::HistoryTooLarge { .. } => Self::new(&HISTORY_TOO_LARGE, detail),
            RuntimeError::QueueFull { retry_after } => {
                Self { retry_after: Some(retry_after), ..Self::new(&QUEUE_FULL, detail) }
            }
            RuntimeError::Unavailable { retry_after, .. }
            | RuntimeError::StorageReadOnly { retry_after, .. } => Self {
                retry_after: Some(retry_after),
                cause,
                ..Self::new(&STORAGE_UNAVAILABLE, detail)
            },
            RuntimeError::StorageFull { retry_after, .. } => {
                let problem = Self::new(&STORAGE_FULL, detail);
                Self { retry_after: Some(retry_after), cause, ..problem }
            }
            RuntimeError::NotTaken { retry_after } => {
                Self { retry_after: Some(retry_after), ..Self::new(&NOT_TAKEN, detail) }
            }
            RuntimeError::Overloaded { retry_after } => {
                Self { retry_after: Some(retry_after), ..Self::new(&OVERLOADED, detail) }
            }
            RuntimeError::Corrupt => Self::new(&RECORD_DAMAGED, detail),
            RuntimeError::Internal => Self::internal(),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid(detail) => Self::new(&UNAUTHENTICATED, detail),
            Refusal::Unavailable { retry_after } => Self {
                retry_after: Some(retry_after),
                ..Self::new(
                    &ISSUER_UNAVAILABLE,
                    "the issuer of tokens cannot be asked for its keys; API keys are taken",
                )
            },
        }
    }
}

/// Makes an answer without its body, which the outermost middleware writes, with id and path.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.kind.status.into_response();
        if let Some(after) = self.retry_after {
            // Whole seconds, rounded up: 0 would invite a retry at once.
            let seconds = after.as_millis().div_ceil(1000).max(1);
            if let Ok(value) = HeaderValue::try_from(seconds.to_string()) {
                response.headers_mut().insert(header::RETRY_AFTER, value);
            }
        }
        if let Some(cause) = self.cause.clone() {
            response.extensions_mut().insert(cause);
        }
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ThreadStatus;

    #[test]
    fn every_refusal_of_the_runtime_has_the_contracts_status_and_code() {
        let wait = Duration::from_millis(1200);
        let refused = |rejection| RuntimeError::Refused { rejection, action: "deleted" };
        let table = [
            (RuntimeError::Invalid(Vec::new()), 400, "validation_failed"),
            (RuntimeError::ExecNotAllowed(Vec::new()), 403, "exec_not_allowed"),
            (RuntimeError::NotStarter, 403, "forbidden"),
            (RuntimeError::ThreadNotFound, 404, "thread_not_found"),
            (RuntimeError::WorkflowNotFound, 404, "workflow_not_found"),
            (RuntimeError::ThreadConflict, 409, "thread_conflict"),
            (RuntimeError::ThreadDeleting { retry_after: wait }, 409, "thread_deleting"),
            (RuntimeError::IdempotencyMismatch, 422, "idempotency_mismatch"),
            (refused(Rejection::WrongState(ThreadStatus::Running)), 409, "wrong_state"),
            (refused(Rejection::NotAnApprover("x".to_owned())), 403, "not_an_approver"),
            (refused(Rejection::NothingToCompensate), 409, "nothing_to_compensate"),
            (refused(Rejection::Compensating), 409, "compensation_under_way"),
            (RuntimeError::TooLarge { size: 2, limit: 1 }, 413, "payload_too_large"),
            (RuntimeError::PreconditionFailed { last_seq: 3 }, 412, "precondition_failed"),
            (RuntimeError::SeqOutOfRange { last_seq: 3 }, 400, "seq_out_of_range"),
            (RuntimeError::HistoryTooLarge { limit: 3 }, 413, "history_too_large"),
            (RuntimeError::QueueFull { retry_after: wait }, 429, "queue_full"),
            (
                RuntimeError::Unavailable { retry_after: wait, cause: String::new() },
                503,
                "storage_unavailable",
            ),
            (
                RuntimeError::StorageReadOnly { retry_after: wait, cause: String::new() },
                503,
                "storage_unavailable",
            ),
            (
                RuntimeError::StorageFull { retry_after: wait, cause: String::new() },
                507,
                "storage_full",
            ),
            (RuntimeError::NotTaken { retry_after: wait }, 503, "not_taken"),
            (RuntimeError::Overloaded { retry_after: wait }, 503, "overloaded"),
            (refused(Rejection::OtherDigest(None)), 409, "digest_mismatch"),
            (RuntimeError::Corrupt, 500, "record_damaged"),
            (RuntimeError::Internal, 500, "internal"),
        ];
        for (error, status, code) in table {
            let waits = matches!(status, 429 | 503 | 507) || code == "thread_deleting";
            let problem = Problem::from(error);
            assert_eq!((problem.kind.status.as_u16(), problem.kind.code), (status, code));
            let response = problem.into_response();
            let after = response.headers().get(header::RETRY_AFTER);
            assert_eq!(after.map(|value| value.to_str().unwrap()), waits.then_some("2"));
        }
    }

    #[test]
    fn a_single_fault_is_told_with_its_place() {
        let fault =
            |pointer: &str| Fault { pointer: pointer.to_owned(), detail: "must be 1".to_owned() };
        let detail = |pointer: &str| Problem::faults(vec![fault(pointer)]).detail;
        assert_eq!(detail("/input/n"), "/input/n: must be 1");
        assert_eq!(detail(""), "must be 1");
        assert_eq!(Problem::faults(vec![fault("/n")]).without_pointers().detail, "n: must be 1");
    }

    #[test]
    fn codes_are_unique() {
        let mut codes: Vec<_> = KINDS.iter().map(|kind| kind.code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), KINDS.len());
    }
}
