//! Definitions, and workflows that are stored in versions.

use async_trait::async_trait;

use crate::model::{Namespace, Timestamp};

use super::Result;

/// A stored, versioned workflow.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkflowRow {
    /// Its name as it is stored: the key of its namespace ([`crate::model::Namespace::key`]).
    pub name: String,
    /// Its version: 1, 2, 3, …
    pub version: u32,
    /// Hash of its definition ([`Definitions::definition`]).
    pub definition: String,
    /// When this version was stored.
    pub created_at: Timestamp,
}

/// Definitions by hash, and stored workflows: versions of them by name.
#[async_trait]
pub trait Definitions: Send + Sync {
    /// The text of a definition by its hash.
    ///
    /// Definitions are never collected: a start may leave the text out, and a server of an older
    /// version beside this one does so without holding the row against a deletion.
    async fn definition(&self, hash: &str) -> Result<Option<String>>;

    /// Stores a definition as the next version of `name`, a key of its namespace, or finds the version
    /// that has this hash already if it is the newest. `true`: a new version was made.
    async fn save_workflow(
        &self,
        name: &str,
        hash: &str,
        text: &str,
        now: Timestamp,
    ) -> Result<(WorkflowRow, bool)>;

    /// A version of a stored workflow, the newest if none is named.
    async fn workflow(&self, name: &str, version: Option<u32>) -> Result<Option<WorkflowRow>>;

    /// The newest versions of a namespace's stored workflows in the order of their names, after the
    /// name `after`, a key.
    async fn workflows(
        &self,
        namespace: &Namespace,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<WorkflowRow>>;
}
