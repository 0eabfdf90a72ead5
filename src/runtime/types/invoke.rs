//! Requests of faces that start a thread or control one.

use crate::contract::InvokeRequest;
use crate::model::{Json, Namespace, Role, Seq};

/// A request to start (or continue) a thread.
#[derive(Debug, Clone)]
pub struct Invoke {
    /// The body of the request. Its thread always belongs to `namespace`, whatever its id says.
    pub request: InvokeRequest,
    /// The namespace of the thread, its workflow and its idempotency key: the caller's own.
    pub namespace: Namespace,
    /// An idempotency key: requests that repeat it within 24 h lead to one thread.
    pub idempotency_key: Option<String>,
    /// The caller: an API key's name, or `anonymous`.
    pub by: String,
    /// The caller's role; `None` where nobody needs a key.
    pub role: Option<Role>,
    /// The W3C trace context of the request (`traceparent`), passed on by every http attempt.
    pub traceparent: Option<String>,
}

/// The actor who changes a thread, the reason, and the version that the change is based on.
#[derive(Debug, Clone, Default)]
pub struct Control {
    /// An API key's name; where nobody needs one, the name that the request gave, or `anonymous`.
    pub by: String,
    /// The person on whose behalf the caller acts, as the request says.
    pub on_behalf_of: Option<String>,
    /// The role of the key; `None` where nobody needs one.
    pub role: Option<Role>,
    /// The reason, if one was given.
    pub reason: Option<String>,
    /// The version the caller saw (`If-Match`).
    pub if_match: Option<Seq>,
    /// An idempotency key: requests that repeat it are one command.
    pub idempotency_key: Option<String>,
}

impl Control {
    /// The same change, for a reason that the body of the request gave.
    pub(in crate::runtime) fn because(self, reason: Option<String>) -> Self {
        Self { reason, ..self }
    }
}

/// A signal to a thread.
#[derive(Debug, Clone)]
pub struct Signal {
    /// Its name.
    pub name: String,
    /// Its payload.
    pub payload: Json,
}
