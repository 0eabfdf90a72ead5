//! The operations: one file each, with the shapes it takes and gives.

pub(super) mod abort;
pub(super) mod checkpoints;
pub(super) mod control;
pub(super) mod events;
pub(super) mod health;
pub(super) mod invoke;
pub(super) mod invoke_body;
pub(super) mod monitor;
pub(super) mod resume;
pub(super) mod schema;
pub(super) mod status;
pub(super) mod stream_token;
pub(super) mod thread;
pub(super) mod threads;
pub(super) mod validate;
pub(super) mod workflow;
pub(super) mod workflows;

use axum::Json as JsonAnswer;
use serde::Serialize;
use utoipa::ToSchema;

use crate::runtime::Page;

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct List<T> {
    /// The items.
    items: Vec<T>,
    /// Give this as `cursor` to get the next page; `null` on the last.
    next_cursor: Option<String>,
}

impl<T> From<Page<T>> for JsonAnswer<List<T>> {
    fn from(page: Page<T>) -> Self {
        JsonAnswer(List { items: page.items, next_cursor: page.next_cursor })
    }
}
