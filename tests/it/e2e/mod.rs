//! The real binary, from the outside: over HTTP, with signals, on every store.

mod bad_input;
mod crash;
mod graceful;
mod lifecycle;
mod payloads;
mod streams;
mod support;
mod workflows;
