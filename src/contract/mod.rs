//! The public contract: what clients send and are answered, without the ways it travels.
//!
//! [`Fields`] is the one strict reader of what clients write: of request bodies and of workflows.

mod fields;
#[cfg(test)]
mod tests;
mod value;

pub use fields::Fields;
pub use value::Value;
