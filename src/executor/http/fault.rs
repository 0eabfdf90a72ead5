//! Converts errors on the way to an answer into failures.

use std::error::Error;
use std::io;

use url::Url;

use super::client::Unanswered;
use super::connection::MAX_HEAD;
use super::egress::EgressDenied;
use crate::executor::Redactor;
use crate::executor::text::{excerpt, invalid, too_large};
use crate::model::{Category, Failure, codes};

/// The largest number of characters of a cause that a message repeats.
const MAX_CAUSE: usize = 200;

impl From<EgressDenied> for Failure {
    fn from(denied: EgressDenied) -> Self {
        Self::permanent(codes::EGRESS_DENIED, Category::Configuration, denied.to_string())
    }
}

/// Converts the error of a request without an answer. No retry helps against a policy, a bad
/// certificate, an answer whose head is too large or a request that cannot be written; refused and
/// broken connections, names that do not resolve and timeouts may mend. The message leaves the URL
/// out: its query may hold a secret.
pub(super) fn unanswered(error: &Unanswered, host: &str, redactor: &Redactor) -> Failure {
    match error {
        Unanswered::Unwritable(cause) => {
            let cause = excerpt(&redactor.redact(&cause.to_string()), MAX_CAUSE);
            invalid(format!("the request to {host} cannot be written: {cause}"))
        }
        Unanswered::Connect(_) => failure(error, "could not be made", (host, redactor)),
        Unanswered::Broke(_) | Unanswered::Silent(_) => broke(error, host, redactor),
    }
}

/// Converts the error of a connection that broke.
pub(super) fn broke(error: &(dyn Error + 'static), host: &str, redactor: &Redactor) -> Failure {
    failure(error, "broke", (host, redactor))
}

fn failure(
    error: &(dyn Error + 'static),
    what: &str,
    (host, redactor): (&str, &Redactor),
) -> Failure {
    if let Some(denied) = find::<EgressDenied>(error) {
        return denied.clone().into();
    }
    if find::<hyper::Error>(error).is_some_and(hyper::Error::is_parse_too_large) {
        return too_large("the head of the answer", MAX_HEAD);
    }
    let cause = excerpt(&redactor.redact(&root(error).to_string()), MAX_CAUSE);
    if find::<rustls::Error>(error).is_some_and(is_certificate) {
        let message = format!("{host} has no trusted certificate: {cause}");
        return Failure::permanent(codes::CONNECTION_FAILED, Category::External, message);
    }
    let (category, what) = if chain(error).any(is_late) {
        (Category::Timeout, "took too long")
    } else {
        (Category::External, what)
    };
    let message = format!("the connection to {host} {what}: {cause}");
    Failure::recoverable(codes::CONNECTION_FAILED, category, message)
}

fn is_certificate(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(_))
}

fn is_late(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
        || error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_timeout)
}

/// Returns the first cause of that type.
fn find<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    chain(error).find_map(<dyn Error>::downcast_ref)
}

/// Returns an error and its causes. An `io::Error` shows the causes of the error that it wraps, not
/// that error itself, so those are opened on the way.
fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| cause(*error))
}

fn cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    match wrapped {
        Some(inner) => Some(inner),
        None => error.source(),
    }
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
