//! The checkpoints that clients see.

use sha2::{Digest, Sha256};

use crate::contract::Checkpoint;
use crate::model::{Event, hex};

/// Returns the checkpoint that an encoded event is, if it is one.
pub(in crate::runtime) fn checkpoint_of(text: &str) -> Option<Checkpoint> {
    let event = Event::decode(text).ok().filter(|event| event.body.event_type().checkpoint)?;
    Some(checkpoint(&event, text))
}

/// Converts an event that is a checkpoint into its form for clients.
pub(in crate::runtime) fn checkpoint(event: &Event, text: &str) -> Checkpoint {
    let operation = event.body.kind();
    Checkpoint {
        id: format!("{operation}-{}-{}", event.at.millis(), event.seq),
        seq: event.seq,
        operation: operation.to_owned(),
        step_id: event.body.step().cloned(),
        at: event.at,
        checksum: hex(&Sha256::digest(text.as_bytes())),
    }
}
