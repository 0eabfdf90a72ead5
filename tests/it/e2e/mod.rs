//! The real binary, from the outside: over HTTP, with signals, on every store.

mod lifecycle;
mod support;
mod workflows;
