//! The `http` step: one request, its redirects, one answer.
//!
//! Every hop is judged by the egress policy before it is made, names by the resolver of the
//! client. Dropping the attempt closes its connection.

mod answer;
mod client;
mod egress;
mod expect;
mod fault;
mod redirect;
mod request;
mod webhook;

use std::sync::Arc;

use async_trait::async_trait;
use reqwest::{Client, Response};
use url::Url;

pub use client::egress_client;
pub use egress::{EgressDenied, EgressPolicy, EgressRule};
pub use webhook::{Webhook, WebhookFault, Webhooks};

use super::room::Room;
use super::{Attempt, AttemptError, Redactor, StepExecutor};
use crate::model::{Clock, Failure, Json};
use crate::observe::Memory;
use expect::Expected;
use request::Outgoing;

/// Most redirects followed: more is a loop, or as good as one.
const MAX_REDIRECTS: usize = 10;

/// Performs `http` steps.
#[derive(Debug)]
pub(super) struct HttpExecutor {
    client: Client,
    egress: Arc<EgressPolicy>,
    clock: Arc<dyn Clock>,
    max_output_bytes: usize,
    memory: Arc<Memory>,
    redactor: Arc<Redactor>,
}

#[async_trait]
impl StepExecutor for HttpExecutor {
    async fn execute(&self, attempt: Attempt) -> Result<Json, AttemptError> {
        let (request, expected) = request::read(&attempt)?;
        let answer = self.send(request, &expected, &attempt).await?;
        if answer::is_expected(&answer, &expected) {
            let mut room = Room::new(&self.memory);
            let bounds = (self.max_output_bytes, &mut room, &*self.redactor);
            Ok(answer::output(answer, bounds, &attempt.pulse).await?)
        } else {
            Err(answer::unexpected(answer, self.clock.now(), &self.redactor).await)
        }
    }

    fn target(&self, attempt: &Attempt) -> Option<String> {
        request::target(&attempt.with).map(|url| host_and_port(&url))
    }
}

impl HttpExecutor {
    /// Makes the executor and its connection pool.
    pub(super) fn new(
        egress: EgressPolicy,
        max_output_bytes: usize,
        clock: Arc<dyn Clock>,
        redactor: Arc<Redactor>,
    ) -> Result<Self, reqwest::Error> {
        let egress = Arc::new(egress);
        let (client, memory) = (egress_client(&egress)?, Arc::new(Memory::boundless()));
        Ok(Self { client, egress, clock, max_output_bytes, memory, redactor })
    }

    /// The same, taking memory for answers from a budget.
    pub(super) fn within(self, memory: Arc<Memory>) -> Self {
        Self { memory, ..self }
    }

    /// Sends the request and follows redirects, but not those that the step expects to see.
    /// The head of each answer is a sign of life.
    async fn send(
        &self,
        first: Outgoing,
        expected: &Expected,
        attempt: &Attempt,
    ) -> Result<Response, Failure> {
        let secret = attempt.holds_secrets || self.finds_secret(&first);
        let mut request = first;
        for _ in 0..=MAX_REDIRECTS {
            self.egress.judge(&request.url)?;
            let host = host_and_port(&request.url);
            let answer = self.client.execute(build(&request)).await;
            let answer = answer.map_err(|error| fault::failure(&error, &host, &self.redactor))?;
            attempt.pulse.beat();
            if answer::is_expected(&answer, expected) {
                return Ok(answer);
            }
            match redirect::follow(&request, &answer, secret)? {
                Some(next) => request = next,
                None => return Ok(answer),
            }
        }
        Err(redirect::refused(&format!("there were more than {MAX_REDIRECTS}")))
    }

    /// Whether a request holds a secret that came by another way than its step's template.
    fn finds_secret(&self, request: &Outgoing) -> bool {
        let finds = |bytes: &[u8]| self.redactor.finds(&String::from_utf8_lossy(bytes));
        self.redactor.finds(request.url.as_str())
            || request.headers.values().any(|value| finds(value.as_bytes()))
            || request.body.as_deref().is_some_and(finds)
    }
}

fn build(request: &Outgoing) -> reqwest::Request {
    let mut built = reqwest::Request::new(request.method.clone(), request.url.clone());
    *built.headers_mut() = request.headers.clone();
    *built.body_mut() = request.body.clone().map(reqwest::Body::from);
    built
}

/// What a message says of a URL: the rest of it may hold secrets.
fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
