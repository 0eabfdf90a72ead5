//! Finds the executor of a step.

use std::sync::Arc;

use super::exec::ExecExecutor;
use super::http::HttpExecutor;
use super::transform::TransformExecutor;
use super::{ExecutorSettings, StepExecutor, Webhooks};
use crate::definition::Action;
use crate::model::Clock;

/// Finds the executor of a step: [`Registry`], or a test's stand-in.
pub trait Executors: Send + Sync + std::fmt::Debug {
    /// Returns the executor of an action; `None` for a wait, which nobody works at.
    fn get(&self, action: &Action) -> Option<&dyn StepExecutor>;

    /// Returns the sender of webhooks; `None` if there is none, so that nobody can subscribe.
    fn webhooks(&self) -> Option<&dyn Webhooks> {
        None
    }
}

/// One executor for each kind of step that is performed in this process.
#[derive(Debug)]
pub struct Registry {
    http: HttpExecutor,
    exec: ExecExecutor,
    transform: TransformExecutor,
}

impl Registry {
    /// Makes the executors. A process-wide rustls provider must be installed before. Fails if the
    /// HTTP client cannot be made.
    pub fn new(settings: ExecutorSettings, clock: Arc<dyn Clock>) -> Result<Self, rustls::Error> {
        let limit = settings.max_output_bytes;
        let redactor = Arc::clone(&settings.redactor);
        Ok(Self {
            http: HttpExecutor::new(settings.egress.clone(), limit, clock, Arc::clone(&redactor))?
                .within(Arc::clone(&settings.memory), settings.max_idle_connections),
            transform: TransformExecutor::new(limit, Arc::clone(&settings.memory), redactor),
            exec: ExecExecutor::new(settings),
        })
    }
}

impl Executors for Registry {
    fn get(&self, action: &Action) -> Option<&dyn StepExecutor> {
        match action {
            Action::Http => Some(&self.http),
            Action::Exec { .. } => Some(&self.exec),
            Action::Transform { .. } => Some(&self.transform),
            Action::Wait(_) => None,
        }
    }

    fn webhooks(&self) -> Option<&dyn Webhooks> {
        Some(&self.http)
    }
}
