//! Hashes that tell a repeat of a request from another request.

use sha2::{Digest, Sha256};

use super::workflows::Source;
use crate::model::{Json, canonical_digest};
use crate::runtime::types::{Invoke, WorkflowSource};

/// SHA-256 over parts, each with its length so that no two lists read alike; in hex.
pub(in crate::runtime) fn hash(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(part.as_bytes());
    }
    crate::model::hex(&digest.finalize())
}

/// Hash of what all invokes of one thread have in common: a workflow by its meaning, and an input. How
/// a client orders the members of an object is nothing that it could be held to.
pub(in crate::runtime) fn thread_hash(meaning: &str, input: &Json) -> String {
    hash(&[meaning, &canonical_digest(input)])
}

/// Hash of everything that a repeat under one idempotency key must have in common. A stored workflow
/// counts as it was named: a version that was added meanwhile makes a repeat no other request.
pub(in crate::runtime) fn whole_hash(
    asked: &WorkflowSource,
    source: &Source,
    input: &Json,
    invoke: &Invoke,
) -> String {
    let workflow = match asked {
        WorkflowSource::Inline(_) => source.plan.meaning.clone(),
        WorkflowSource::Stored { name, version: None } => name.clone(),
        WorkflowSource::Stored { name, version: Some(version) } => format!("{name}@{version}"),
    };
    let metadata = invoke.metadata.as_ref().map(canonical_digest).unwrap_or_default();
    let queue = invoke.queue.as_deref().unwrap_or("");
    let priority = invoke.priority.map(|priority| priority.to_string()).unwrap_or_default();
    hash(&[&workflow, &canonical_digest(input), &metadata, queue, &priority])
}
