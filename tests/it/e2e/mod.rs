//! The real binary, from the outside: over HTTP, with signals, on every store.

mod auth;
mod bad_input;
mod crash;
mod examples;
mod fallback;
mod graceful;
mod kinds;
mod lifecycle;
mod lists;
mod operations;
mod payloads;
mod promise;
mod replicas;
mod retries;
mod safety;
mod streams;
mod support;
mod verify;
mod workflows;
