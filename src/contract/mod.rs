//! The public contract: what clients send and are answered, without the ways it travels.
//!
//! [`Fields`] is the one strict reader of what clients write: of request bodies and of workflows.

mod answers;
mod fields;
mod names;
mod requests;
mod schemas;
mod secret;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod value;
mod workflow;

pub use answers::*;
pub use fields::Fields;
pub use requests::*;
pub use secret::SigningSecret;
pub use value::Value;
pub use workflow::*;
