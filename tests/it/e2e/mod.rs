//! The real binary, from the outside: over HTTP, with signals, on every store.

mod auth;
mod bad_input;
mod crash;
mod examples;
mod graceful;
mod lifecycle;
mod operations;
mod payloads;
mod streams;
mod support;
mod workflows;
