//! The operations: one file each, with the types of its request and of its answer.

pub(super) mod abort;
pub(super) mod audit;
pub(super) mod checkpoints;
pub(super) mod control;
pub(super) mod diagnostics;
pub(super) mod diff;
pub(super) mod events;
pub(super) mod explain;
mod explain_answer;
pub(super) mod fork;
pub(super) mod health;
pub(super) mod interventions;
pub(super) mod invoke;
pub(super) mod monitor;
pub(super) mod notification;
pub(super) mod notifications;
pub(super) mod pause;
pub(super) mod recoveries;
pub(super) mod resolve;
pub(super) mod resume;
pub(super) mod signal;
pub(super) mod stats;
pub(super) mod status;
pub(super) mod steps;
pub(super) mod stream_token;
pub(super) mod thread;
pub(super) mod threads;
pub(super) mod validate;
pub(super) mod workflow;
pub(super) mod workflows;

/// Names the page type of a list, so that the API's document has a schema for each.
macro_rules! list_of {
    ($item:ident as $name:ident) => {
        /// One page of a list.
        #[derive(Debug, serde::Serialize, utoipa::ToSchema)]
        #[serde(rename_all = "camelCase")]
        pub(in crate::api) struct $name {
            /// The items.
            items: Vec<$item>,
            /// Give this as `cursor` to get the next page; `null` on the last.
            next_cursor: Option<String>,
        }

        impl From<crate::runtime::Page<$item>> for axum::Json<$name> {
            fn from(page: crate::runtime::Page<$item>) -> Self {
                axum::Json($name { items: page.items, next_cursor: page.next_cursor })
            }
        }
    };
}
use list_of;
