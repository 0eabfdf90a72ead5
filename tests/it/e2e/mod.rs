//! The real binary, from the outside: over HTTP, with signals, on every store.

mod auth;
mod bad_input;
mod crash;
mod disks;
mod examples;
mod graceful;
mod kinds;
mod lifecycle;
mod lists;
mod operations;
mod outages;
mod overload;
mod payloads;
mod promise;
mod replicas;
mod retries;
mod safety;
mod streams;
mod support;
mod workflows;
