//! The state that every page needs.

use std::sync::Arc;

use crate::model::Clock;
use crate::runtime::Handle;

/// The state that every page needs; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Dashboard {
    pub(super) handle: Handle,
    pub(super) clock: Arc<dyn Clock>,
}
