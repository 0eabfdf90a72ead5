//! [`Filter`] is where to begin.
#![doc = include_str!("../README.md")]

mod filter;
mod kind;
mod library;
mod limits;
pub mod meter;
mod natives;
mod nesting;
mod read;
mod regex;
pub mod stack;
mod survey;
mod text;
mod value;
mod write;

pub use filter::{Error, Filter};
pub use limits::{Limits, MAX_JSON_DEPTH};
pub use read::JsonFault;
pub use stack::with_large_stack;
