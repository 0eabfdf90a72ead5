//! Everything that is tested from outside a module, in one binary so that it links once.
//!
//! Modules are `cfg(test)` so that clippy knows their helpers for test code.

#![expect(clippy::cognitive_complexity, reason = "a claim is read from top to bottom")]

#[cfg(test)]
mod support;

#[cfg(test)]
mod e2e;
#[cfg(test)]
mod generated;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod store_clock;
#[cfg(test)]
mod store_conformance;
#[cfg(test)]
mod store_differential;
#[cfg(test)]
mod store_history;
#[cfg(test)]
mod store_postgres;
#[cfg(test)]
mod store_retention;
#[cfg(test)]
mod store_role;
#[cfg(test)]
mod store_sqlite;
