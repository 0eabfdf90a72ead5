//! Lists, page by page.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::{
    AuditItem, Checkpoint, Intervention, Notification, RecoveryItem, StoredWorkflow, ThreadItem,
};

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// The cursor of the next page; absent on the last.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// Makes a page of the first `limit` items of `found`, which was read with one item more: if
    /// that item is there, the next page starts at the `cursor` of this one's last item.
    pub fn cut(mut found: Vec<T>, limit: usize, cursor: impl FnOnce(&T) -> String) -> Self {
        let more = found.len() > limit;
        found.truncate(limit);
        let next_cursor = found.last().filter(|_| more).map(cursor);
        Self { items: found, next_cursor }
    }

    /// Returns the same page with each item converted.
    pub fn map<U>(self, shown: impl FnMut(T) -> U) -> Page<U> {
        let Self { items, next_cursor } = self;
        Page { items: items.into_iter().map(shown).collect(), next_cursor }
    }
}

/// An item of lists.
pub trait Listed: ToSchema {
    /// The name of the schema of a page of them.
    const PAGE: &'static str;
}

impl<T: Listed> PartialSchema for Page<T> {
    fn schema() -> RefOr<Schema> {
        let items = ArrayBuilder::new().items(Ref::from_schema_name(T::name()));
        let next = "Give this as `cursor` to get the next page; `null` on the last.";
        let text = SchemaType::Array(vec![Type::String, Type::Null]);
        let cursor = ObjectBuilder::new().schema_type(text).description(Some(next));
        ObjectBuilder::new()
            .description(Some("One page of a list."))
            .property("items", items.description(Some("The items.")))
            .required("items")
            .property("nextCursor", cursor)
            .into()
    }
}

impl<T: Listed> ToSchema for Page<T> {
    fn name() -> Cow<'static, str> {
        T::PAGE.into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((T::name().into(), T::schema()));
        T::schemas(schemas);
    }
}

macro_rules! pages {
    ($($Page:ident of $Item:ident,)+) => {$(
        /// A page of the list of these items.
        pub type $Page = Page<$Item>;

        impl Listed for $Item {
            const PAGE: &'static str = stringify!($Page);
        }
    )+};
}

pages! {
    AuditList of AuditItem,
    CheckpointList of Checkpoint,
    InterventionList of Intervention,
    NotificationList of Notification,
    RecoveryList of RecoveryItem,
    ThreadList of ThreadItem,
    WorkflowList of StoredWorkflow,
}
