//! A thread's journal, page by page.

use serde::Serialize;
use utoipa::ToSchema;

use crate::model::{Json, Seq};

/// A stretch of a thread's journal.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventList {
    /// The events, in order: the very records that the stream sends.
    #[schema(value_type = Vec<EventDocument>)]
    pub items: Vec<Json>,
    /// Give this as `after` to read on; `null` if this page reaches the last event.
    pub next_cursor: Option<String>,
    /// The number of the thread's last event.
    #[schema(value_type = u64)]
    pub last_seq: Seq,
}

impl EventList {
    /// Makes the answer of these events, which end with the one of number `last`, if there is any, of
    /// a journal with this head.
    pub fn new(items: Vec<Json>, last: Option<Seq>, head: Seq) -> Self {
        let next_cursor = last.filter(|last| *last < head).map(|last| last.to_string());
        Self { items, next_cursor, last_seq: head }
    }
}

/// One record of a thread's journal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
#[serde(rename_all = "camelCase")]
pub struct EventDocument {
    /// What happened, such as `step_complete`.
    #[serde(rename = "type")]
    #[schema(example = "step_complete")]
    pub kind: String,
    /// The thread.
    pub thread_id: String,
    /// Its number within the thread: 1, 2, 3, … with no gaps.
    pub seq: u64,
    /// The step it happened in.
    #[schema(required)]
    pub step_id: Option<String>,
    /// The attempt it happened in.
    #[schema(required)]
    pub attempt: Option<u32>,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// The rest, by type.
    #[schema(value_type = Object)]
    pub data: String,
}
