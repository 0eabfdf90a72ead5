//! What programs that steps start are given and bounded by.

use super::parse;
use super::reader::Reader;
use crate::definition::VariablePolicy;

/// Settings of programs.
#[derive(Debug, Clone)]
pub struct ProgramSettings {
    /// Variables that steps may give them.
    pub variables: VariablePolicy,
}

/// Reads everything before it gives up on anything, so that all faults are named.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<ProgramSettings> {
    let variables = reader.read_optional("exec_env", "names of variables, or PREFIX_*", |text| {
        VariablePolicy::widened(parse::list(text))
    });
    Some(ProgramSettings { variables: variables.ok()?.unwrap_or_default() })
}
