//! Converts errors on the way to an answer into failures.

use std::error::Error;
use std::io;

use url::Url;

use super::egress::EgressDenied;
use crate::executor::Redactor;
use crate::executor::text::{excerpt, invalid};
use crate::model::{Category, Failure, codes};

/// The largest number of characters of a cause that a message repeats.
const MAX_CAUSE: usize = 200;

impl From<EgressDenied> for Failure {
    fn from(denied: EgressDenied) -> Self {
        Self::permanent(codes::EGRESS_DENIED, Category::Configuration, denied.to_string())
    }
}

/// Converts an error of the client. No retry helps against a policy, a bad certificate or a request
/// that cannot be written; refused and broken connections, names that do not resolve and timeouts
/// may mend. The message leaves the URL out: its query may hold a secret.
pub(super) fn failure(error: &reqwest::Error, host: &str, redactor: &Redactor) -> Failure {
    if let Some(denied) = find::<EgressDenied>(error) {
        return denied.clone().into();
    }
    let cause = excerpt(&redactor.redact(&root(error).to_string()), MAX_CAUSE);
    if error.is_builder() {
        return invalid(format!("the request to {host} cannot be written: {cause}"));
    }
    if find::<rustls::Error>(error).is_some_and(is_certificate) {
        let message = format!("{host} has no trusted certificate: {cause}");
        return Failure::permanent(codes::CONNECTION_FAILED, Category::External, message);
    }
    let (category, what) = if error.is_timeout() {
        (Category::Timeout, "took too long")
    } else if error.is_connect() {
        (Category::External, "could not be made")
    } else {
        (Category::External, "broke")
    };
    let message = format!("the connection to {host} {what}: {cause}");
    Failure::recoverable(codes::CONNECTION_FAILED, category, message)
}

fn is_certificate(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(_))
}

/// Returns the first cause of that type. An `io::Error` shows the causes of the error that it
/// wraps, not that error itself, so those are opened on the way.
fn find<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn root<'e>(error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest
}

/// Returns the part of a URL that a message may repeat: the rest may hold secrets.
pub(super) fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
