//! The schemas of the words for states, from the lists that the model keeps of them.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::model::{StepStatus, ThreadStatus};

macro_rules! words {
    ($($State:ident: $about:literal,)+) => {$(
        impl PartialSchema for $State {
            fn schema() -> RefOr<Schema> {
                let words = $State::ALL.iter().map(|state| state.as_str());
                let schema = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words));
                schema.description(Some($about)).into()
            }
        }

        impl ToSchema for $State {}
    )+};
}

words! {
    ThreadStatus: "Where a thread stands.",
    StepStatus: "Where a step stands.",
}
