//! A workflow that is only checked.

use utoipa::ToSchema;

use crate::contract::workflow::authored;
use crate::contract::{Fields, Value, WorkflowDefinition};
use crate::model::{Faults, Json, Pointer};

/// A workflow to be checked, with an input for it if one is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkflowCheck {
    /// The workflow.
    pub workflow: Json,
    /// An input to check against its `inputSchema`.
    pub input: Option<Json>,
    /// Where the workflow stands in the request.
    pub at: Pointer,
}

impl WorkflowCheck {
    /// Reads a body and tells its two forms apart: a workflow has no member `workflow`. `None` if
    /// there are faults.
    pub fn read(body: Json, faults: &mut Faults) -> Option<Self> {
        let fields = Fields::body(&body, faults)?;
        let Some(workflow) = fields.get("workflow").map(Value::to_json) else {
            // Its own reader refuses what is given twice, and says so by the same words.
            *faults = Faults::default();
            return Some(Self { workflow: body, input: None, at: Pointer::root() });
        };
        let input = fields.exact("input").map(Value::to_json);
        fields.allow(WorkflowWithInput::MEMBERS, faults);
        let at = Pointer::root().key("workflow");
        faults.is_empty().then_some(Self { workflow, input, at })
    }
}

authored! {
    /// A workflow with an input to check against it.
    #[serde(deny_unknown_fields)]
    pub struct WorkflowWithInput {
        /// The workflow.
        workflow: WorkflowDefinition,
        /// An input to check against its `inputSchema`.
        #[schema(nullable = false)]
        input: Option<serde_json::Value>,
    }
}

/// A workflow, by itself or with an input.
#[derive(ToSchema)]
#[serde(untagged)]
pub enum ValidateRequest {
    /// With an input.
    WithInput(Box<WorkflowWithInput>),
    /// By itself.
    Workflow(Box<WorkflowDefinition>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workflow_is_found_by_itself_or_beside_an_input() {
        let read = |text: &str| {
            let mut faults = Faults::default();
            WorkflowCheck::read(Json::parse(text).unwrap(), &mut faults)
                .ok_or_else(|| faults.into_vec())
        };
        let workflow = Json::parse(r#"{"name":"w","steps":[]}"#).unwrap();
        let bare = WorkflowCheck { workflow, input: None, at: Pointer::root() };
        assert_eq!(read(bare.workflow.as_str()), Ok(bare.clone()));
        let both = r#"{"workflow":{"name":"w","steps":[]},"input":null}"#;
        let at = Pointer::root().key("workflow");
        assert_eq!(read(both), Ok(WorkflowCheck { input: Some(Json::null()), at, ..bare }));
        assert_eq!(read(r#"{"workflow":{},"inptu":1}"#).unwrap_err()[0].pointer, "/inptu");
        assert_eq!(read("7").unwrap_err()[0].pointer, "");
        assert!(read(r#"{"name":"w","name":"v"}"#).is_ok());
    }
}
