//! Performs `http` steps: the request, its redirects, and the outcome of the answer.

use std::sync::Arc;

use async_trait::async_trait;
use reqwest::Response;
use reqwest::header::HOST;

use super::client::Client;
use super::expect::Expected;
use super::fault::{self, host_and_port};
use super::idle::{Idle, MAX_IDLE_CONNECTIONS};
use super::names::Names;
use super::request::{self, Outgoing};
use super::{EgressPolicy, answer, redirect};
use crate::executor::text::invalid;
use crate::executor::{Attempt, AttemptError, Redactor, StepExecutor};
use crate::model::{Clock, Failure, Json};
use crate::observe::Memory;

/// The largest number of redirects followed: more are a loop, or as good as one.
const MAX_REDIRECTS: usize = 10;

/// Performs `http` steps.
#[derive(Debug)]
pub(in crate::executor) struct HttpExecutor {
    pub(super) client: Client,
    pub(super) egress: Arc<EgressPolicy>,
    pub(super) names: Arc<Names>,
    pub(super) clock: Arc<dyn Clock>,
    max_output_bytes: usize,
    pub(super) redactor: Arc<Redactor>,
}

#[async_trait]
impl StepExecutor for HttpExecutor {
    async fn execute(&self, attempt: Attempt) -> Result<Json, AttemptError> {
        let (request, expected) = request::read(&attempt)?;
        let answer = self.send(request, &expected, &attempt).await?;
        if answer::is_expected(&answer, &expected) {
            attempt.room.take(answer::head_bytes(answer.headers())).await?;
            let bounds = (self.max_output_bytes, &attempt.room, &*self.redactor);
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
    /// Makes the executor and its HTTP client.
    pub(in crate::executor) fn new(
        egress: EgressPolicy,
        max_output_bytes: usize,
        clock: Arc<dyn Clock>,
        redactor: Arc<Redactor>,
    ) -> Result<Self, rustls::Error> {
        let egress = Arc::new(egress);
        let names = Names::of_the_system();
        let idle = Idle::new(MAX_IDLE_CONNECTIONS, Arc::new(Memory::boundless()));
        let client = Client::new(&egress, &names, idle)?;
        Ok(Self { client, egress, names, clock, max_output_bytes, redactor })
    }

    /// Returns the same executor with another resolver, and connections of its own.
    #[cfg(test)]
    pub(super) fn asking(self, names: Arc<Names>) -> Self {
        let idle = Idle::new(MAX_IDLE_CONNECTIONS, Arc::new(Memory::boundless()));
        let client = Client::new(&self.egress, &names, idle).unwrap();
        Self { client, names, ..self }
    }

    /// Returns the same executor, with memory for connections taken from a budget, and at most so many kept.
    pub(in crate::executor) fn within(self, memory: Arc<Memory>, max_idle: usize) -> Self {
        let client = self.client.keeping(Idle::new(max_idle, memory));
        Self { client, ..self }
    }

    /// Sends the request and follows redirects, but not those that the step expects to see.
    /// The head of each answer is a sign of life.
    async fn send(
        &self,
        first: Outgoing,
        expected: &Expected,
        attempt: &Attempt,
    ) -> Result<Response, Failure> {
        // One address may serve many names: the policy has judged only the name in the URL.
        if first.headers.contains_key(HOST) && *self.egress != EgressPolicy::Open {
            let detail = "headers: Host is taken from the URL where RETHREAD_EGRESS is not open";
            return Err(invalid(detail));
        }
        let secret = attempt.holds_secrets || self.finds_secret(&first);
        let mut request = first;
        for _ in 0..=MAX_REDIRECTS {
            self.egress.judge(&request.url)?;
            let host = host_and_port(&request.url);
            let answer = self.client.send(&attempt.thread_id.namespace(), request.clone()).await;
            let answer =
                answer.map_err(|error| fault::unanswered(&error, &host, &self.redactor))?;
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

    /// Returns whether a request holds a secret that came by another way than its step's template.
    fn finds_secret(&self, request: &Outgoing) -> bool {
        let finds = |bytes: &[u8]| self.redactor.finds(&String::from_utf8_lossy(bytes));
        self.redactor.finds(request.url.as_str())
            || request.headers.values().any(|value| finds(value.as_bytes()))
            || request.body.as_deref().is_some_and(finds)
    }
}
