//! The state that every handler needs.

use std::sync::Arc;

use super::guessers::Guessers;
use super::quota::Counters;
use super::roles::Roles;
use super::settings::ApiSettings;
use crate::model::{Clock, Entropy};
use crate::runtime::Handle;

/// The state that every handler needs; cheap to clone.
#[derive(Debug, Clone)]
pub struct Api {
    pub(super) handle: Handle,
    pub(super) settings: Arc<ApiSettings>,
    pub(super) roles: Arc<Roles>,
    pub(super) guessers: Arc<Guessers>,
    pub(super) counters: Arc<Counters>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
}

impl Api {
    /// Puts together what the handlers need.
    pub fn new(
        handle: Handle,
        settings: ApiSettings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let metrics = Arc::clone(&settings.metrics);
        let time = || Arc::clone(&clock);
        let guessers = Guessers::new(settings.wrong_keys, time(), Arc::clone(&metrics));
        let counters = Counters::new(settings.quotas, settings.max_body, time(), metrics);
        let (guessers, counters) = (Arc::new(guessers), Arc::new(counters));
        let (settings, roles) = (Arc::new(settings), Arc::default());
        Self { handle, settings, roles, guessers, counters, clock, entropy }
    }
}
