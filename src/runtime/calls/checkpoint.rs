//! Which events are checkpoints, and what is shown of one.

use sha2::{Digest, Sha256};

use crate::model::{Event, EventBody, hex};
use crate::runtime::types::Checkpoint;

/// Events that a thread can go on from: something was completed, decided or ended.
pub(in crate::runtime) fn is_checkpoint(body: &EventBody) -> bool {
    match body {
        EventBody::WorkflowStart(_)
        | EventBody::StepComplete(_)
        | EventBody::StepFailed(_)
        | EventBody::StepSkipped(_)
        | EventBody::StepEdited(_)
        | EventBody::CompensationComplete(_)
        | EventBody::SignalReceived(_)
        | EventBody::InterventionOpened(_)
        | EventBody::InterventionResolved(_)
        | EventBody::WorkflowPaused(_)
        | EventBody::WorkflowForked(_)
        | EventBody::WorkflowResumed(_)
        | EventBody::WorkflowRecovered(_)
        | EventBody::WorkflowComplete(_)
        | EventBody::WorkflowFailed(_)
        | EventBody::WorkflowAborted(_) => true,
        EventBody::StepStart(_)
        | EventBody::StepWaiting(_)
        | EventBody::InterventionEscalated(_)
        | EventBody::StepRetry(_)
        | EventBody::StepTimeoutWarning(_)
        | EventBody::StepStale(_)
        | EventBody::CompensationStart(_)
        | EventBody::CompensationFailed(_) => false,
    }
}

/// The checkpoint that an encoded event is, if it is one.
pub(in crate::runtime) fn checkpoint_of(text: &str) -> Option<Checkpoint> {
    let event = Event::decode(text).ok().filter(|event| is_checkpoint(&event.body))?;
    Some(checkpoint(&event, text))
}

/// What is shown of an event that is a checkpoint.
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
