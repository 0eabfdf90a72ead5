//! Replaced by the real modules.
#[derive(Debug)]
pub struct Condition;
#[derive(Debug)]
pub struct Filter;
#[derive(Debug)]
pub struct InputSchema;
#[derive(Debug)]
pub struct Template;
