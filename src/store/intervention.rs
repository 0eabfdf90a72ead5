//! The index of interventions: those that wait for a person, and those that people have decided.
//!
//! Written with the append whose events open or resolve them; the journal holds the truth.

use async_trait::async_trait;

use crate::model::{Json, Namespace, ThreadId, Timestamp};

use super::Result;

/// An intervention as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterventionRow {
    /// Its id as it is stored, unique among all threads: the key of its namespace
    /// ([`Namespace::key`]).
    pub id: String,
    /// The thread that waits.
    pub thread_id: ThreadId,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it was resolved; `None` while it is open.
    pub resolved_at: Option<Timestamp>,
    /// All else about it, opaque to the store.
    pub body: Json,
}

/// Which interventions a list wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InterventionFilter {
    /// Only those of this namespace.
    pub namespace: Namespace,
    /// Only open (`true`) or resolved (`false`) ones.
    pub open: Option<bool>,
    /// Only those of this thread.
    pub thread: Option<ThreadId>,
    /// Only those older than this one: (opened at, id) of the last item seen.
    pub before: Option<(Timestamp, String)>,
}

/// How many interventions there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InterventionCounts {
    /// Interventions that wait for a person.
    pub open: u64,
    /// Interventions that a person has resolved, of threads that are still kept.
    pub resolved: u64,
}

/// The index of interventions; writes change it ([`super::Side::Index`]).
#[async_trait]
pub trait Interventions: Send + Sync {
    /// An intervention by its id.
    async fn intervention(&self, id: &str) -> Result<Option<InterventionRow>>;

    /// Interventions, newest first, at most `limit`.
    async fn interventions(
        &self,
        filter: &InterventionFilter,
        limit: usize,
    ) -> Result<Vec<InterventionRow>>;

    /// How many interventions a namespace has.
    async fn intervention_counts(&self, namespace: &Namespace) -> Result<InterventionCounts>;
}
