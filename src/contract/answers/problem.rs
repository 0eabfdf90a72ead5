//! Refusals, as every one of them is answered.

use serde::Serialize;
use utoipa::ToSchema;

use crate::model::{Category, Fault};

/// The body of every error (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Problem)]
pub struct ProblemDocument<'a> {
    /// Names the kind of problem.
    #[serde(rename = "type")]
    #[schema(format = "uri", example = "https://rethread.dev/problems/thread_not_found")]
    pub problem_type: String,
    /// The kind of problem, for a person.
    pub title: &'a str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What went wrong this time, for a person.
    pub detail: &'a str,
    /// The path of the request.
    pub instance: &'a str,
    /// The kind of problem, for a program.
    pub code: &'a str,
    /// The area it belongs to.
    pub category: Category,
    /// Whether the same request may succeed later.
    pub recoverable: bool,
    /// The `X-Request-Id` of the answer.
    pub request_id: &'a str,
    /// The faults of the request's body, up to a hundred and 64 KiB of them.
    #[schema(value_type = Vec<ProblemError>)]
    pub errors: &'a [Fault],
}

/// One fault of a request's body.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemError {
    /// JSON pointer (RFC 6901) into the request's body; one of more than 1,024 bytes is cut and ends in `…`.
    #[schema(example = "/workflow/steps/1/dependsOn/0")]
    pub pointer: String,
    /// What is wrong there and what is allowed; cut like the pointer.
    pub detail: String,
}
