//! Hashes that tell a repeat of a request from another request.

use sha2::{Digest, Sha256};

use super::workflows::Source;
use crate::contract::{StoredName, WorkflowSource};
use crate::model::{Json, canonical_digest};
use crate::runtime::types::Invoke;

/// Returns the SHA-256 over parts in hex, each with its length so that no two lists read alike.
pub(in crate::runtime) fn hash(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(part.as_bytes());
    }
    crate::model::hex(&digest.finalize())
}

/// Returns the hash of what all invokes of one thread have in common: a workflow by its meaning,
/// and an input. It does not depend on the order of an object's members, which no client has to
/// keep.
pub(in crate::runtime) fn thread_hash(meaning: &str, input: &Json) -> String {
    hash(&[meaning, &canonical_digest(input)])
}

/// Returns the hash of everything that repeats under one idempotency key must have in common. A
/// stored workflow counts as it was named, so that a version added meanwhile does not make a repeat
/// another request.
pub(in crate::runtime) fn whole_hash(
    asked: &WorkflowSource,
    source: &Source,
    input: &Json,
    invoke: &Invoke,
) -> String {
    let workflow = match asked {
        WorkflowSource::Inline(_) => source.plan.meaning.clone(),
        WorkflowSource::Stored(StoredName { name, version: None }) => name.clone(),
        WorkflowSource::Stored(StoredName { name, version: Some(version) }) => {
            format!("{name}@{version}")
        }
    };
    let invoke = &invoke.request;
    let metadata = invoke.metadata.as_ref().map(canonical_digest).unwrap_or_default();
    let priority = invoke.priority.map(|priority| priority.to_string()).unwrap_or_default();
    // The empty part is where queues were: keys that an earlier version stored stay valid.
    hash(&[&workflow, &canonical_digest(input), &metadata, "", &priority])
}
