//! The real binary, from the outside: over HTTP, with signals, on every store.

mod auth;
mod bad_input;
mod crash;
mod definitions;
mod diagnostics;
mod examples;
mod fallback;
mod graceful;
mod heartbeats;
mod kinds;
mod lifecycle;
mod lists;
mod operations;
mod payloads;
mod poison;
mod pooler;
mod presence;
mod promise;
mod replica_feed;
mod replicas;
mod retries;
mod safety;
mod streams;
mod support;
mod verify;
mod workflows;
