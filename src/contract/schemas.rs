//! The schemas of the model's types: the model itself knows of no document.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::model::{
    Category, Compensation, Failure, ForkPoint, InterventionKind, NotCompensated, RecoveryCause,
    RecoveryStrategy, StepStatus, ThreadStatus,
};

/// Describes enums by the names that the model lists.
macro_rules! words {
    ($($Words:ident: $about:literal,)+) => {$(
        impl PartialSchema for $Words {
            fn schema() -> RefOr<Schema> {
                let words = $Words::ALL.map($Words::as_str);
                let schema = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words));
                schema.description(Some($about)).into()
            }
        }

        impl ToSchema for $Words {}
    )+};
}

words! {
    Category: "What area a failure or problem belongs to; clients branch on it.",
    InterventionKind: "What an intervention is about.",
    RecoveryCause: "Why another incarnation took a thread over, as far as the evidence tells.",
    RecoveryStrategy: "How a thread was rebuilt.",
    StepStatus: "Where a step stands.",
    ThreadStatus: "Where a thread stands.",
}

/// Describes structs member by member; one that lacks a description does not compile.
macro_rules! members {
    ($(
        $(#[$about:meta])*
        $Object:ident { $($(#[$member:meta])* $field:ident: $Type:ty,)+ }
    )+) => {$(
        const _: () = {
            $(#[$about])*
            #[derive(ToSchema)]
            #[serde(rename_all = "camelCase")]
            #[expect(dead_code, reason = "it has the schema alone")]
            struct Described { $($(#[$member])* $field: $Type,)+ }

            impl PartialSchema for $Object {
                fn schema() -> RefOr<Schema> {
                    let _all = |$Object { $($field: _,)+ }: Self| ();
                    Described::schema()
                }
            }

            impl ToSchema for $Object {
                fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                    Described::schemas(schemas);
                }
            }
        };
    )+};
}

members! {
    /// Why an attempt, a step or a thread failed; the `error` of a status document.
    Failure {
        /// What happened, as a stable identifier.
        code: String,
        /// The area it belongs to.
        category: Category,
        /// What happened, for a person.
        message: String,
        /// Whether trying again may help.
        recoverable: bool,
        /// The step it happened in.
        step_id: Option<String>,
        /// The number of the attempt it happened in.
        attempt: Option<u32>,
    }

    /// What of a thread was undone, and what was not.
    Compensation {
        /// The steps that are undone, those that completed last first.
        completed: Vec<String>,
        /// The completed steps with a compensation that are not, in the same order.
        left: Vec<NotCompensated>,
    }

    /// A completed step that was not undone.
    NotCompensated {
        /// The step.
        step_id: String,
        /// Why the last attempt failed; `null` where none has.
        error: Option<Failure>,
    }

    /// A point of another thread's journal that a thread was forked at.
    ForkPoint {
        /// The other thread.
        thread_id: String,
        /// The last event that both have.
        seq: u64,
    }
}
