//! Stored, versioned workflows.

use crate::model::Timestamp;

/// A stored, versioned workflow.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkflowRow {
    /// Its name as it is stored: the key of its namespace ([`crate::model::Namespace::key`]).
    pub name: String,
    /// Its version: 1, 2, 3, …
    pub version: u32,
    /// Hash of its definition ([`super::Store::definition`]).
    pub definition: String,
    /// When this version was stored.
    pub created_at: Timestamp,
}
